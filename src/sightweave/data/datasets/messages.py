"""Messages with roles and contents, as used by Transformers, TRL, the OpenAI API, LLaMA-Factory and ms-swift.

The format follows SWIFT (Zhao et al. 2024, arXiv:2408.05517) and the documentation of TRL and Transformers. Files are JSON
arrays or JSON lines. A row has ``messages``, or ``prompt`` and ``completion``, or ``query``, ``response`` and ``history``.
The content of a message is a text, or a list of parts of type text, image or image_url. The ``<image>`` placeholders in a
user's texts refer to the row's ``images``. A query may contain ``<img>a.jpg</img>`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import MediaError, did_you_mean
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.data.reading import chat_turns
from sightweave.data.reading.embedded_images import picture
from sightweave.data.reading.file_names import among
from sightweave.data.reading.grounding_objects import Objects
from sightweave.data.reading.image_paths import Folder, Inside
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TOOLS = ("tool", "function", "tool_call", "tool_response", "ipython")


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in chat_turns.candidates(path, _is_ours)]
    return f"messages in {among(found)}" if found else ""


def _is_ours(file: Path) -> bool:
    first, keys = chat_turns.fields(file)
    if "messages" in first:
        return "conversations" not in first and {"role", "content"} <= keys
    return {"prompt", "completion"} <= first or {"query", "response"} <= first


@config
class Config(FilesConfig):
    """A folder with messages and images, or one file of messages."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per conversation."""
        found = chat_turns.conversation_files(Path(self.path).expanduser(), _is_ours, "messages")
        make = partial(_values, folder=self.pictures(), ratings=tuple(self.min_quality))
        return chat_turns.rows(found, split, make)


def _values(row: dict[str, Any], folder: Folder, ratings: tuple[str, ...]) -> dict[str, Any]:
    # Collect the images that the row lists. A SWIFT query may name them in its text instead, in the style of Qwen-VL.
    images = [picture(one, "images") for one in chat_turns.column(row)]
    unread = chat_turns.unread(row)
    is_named_inside = row.get("query") is not None and not images
    marks = chat_turns.Marks(images, unread, is_named_inside=is_named_inside)
    objects = Objects(row.get("objects"), partial(_size, images, folder))

    turns = [_turn(one, field, marks, objects) for field, one in _messages(row)]
    found = marks.place(turns)

    return {
        "id": row.get("id"),
        "images": found,
        "unread": unread,
        "turns": chat_turns.with_system(turns, row.get("system")),
        # Regions do not record their image, so they are only used if there is a single one.
        "regions": objects.regions() if len(found) == 1 else [],
        "quality": {name: row[name] for name in ratings if name in row},
    }


def _messages(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """All messages of a row, each preceded by the name of its field, such as ``messages[0]``."""
    if row.get("messages") is not None:
        return _field_messages(row, "messages", "")
    if row.get("prompt") is not None:
        return _field_messages(row, "prompt", "user") + _field_messages(row, "completion", "assistant")
    if row.get("query") is not None:
        asked = _history(row) + _field_messages(row, "query", "user")
        return asked + _field_messages(row, "response", "assistant")

    have = ", ".join(row) or "nothing"
    message = (
        f"missing; a row needs messages, prompt and completion, or query and response. The row has: {have}."
    )
    raise RowError("missing_field", "messages", None, message)


def _field_messages(row: dict[str, Any], name: str, role: str) -> list[tuple[str, Any]]:
    """The messages in one field, which holds a text by `role` or a list of messages; empty if the field is missing."""
    given = row.get(name)
    if given is None:
        return []
    if isinstance(given, str) and role:
        return [(name, {"role": role, "content": given})]
    if not isinstance(given, list) or not given:
        raise RowError("wrong_type", name, given, f"must be a list of messages (got {shown(given)}).")
    return [(f"{name}[{number}]", one) for number, one in enumerate(given)]


def _history(row: dict[str, Any]) -> list[tuple[str, Any]]:
    given = row.get("history") or []
    if not isinstance(given, list) or not all(isinstance(one, list) and len(one) == 2 for one in given):
        message = f"must be a list of query and response pairs (got {shown(given)})."
        raise RowError("wrong_type", "history", given, message)

    messages: list[tuple[str, Any]] = []
    for number, (query, response) in enumerate(given):
        field = f"history[{number}]"
        messages.append((field, {"role": "user", "content": query}))
        messages.append((field, {"role": "assistant", "content": response}))
    return messages


def _turn(one: Any, field: str, marks: chat_turns.Marks, objects: Objects) -> dict[str, Any]:
    if not isinstance(one, dict) or "role" not in one or "content" not in one:
        raise RowError("wrong_type", field, one, f"a message needs role and content (got {shown(one)}).")
    speaker, content = one["role"], one["content"]

    # Map the role to one of ours.
    if speaker in _TOOLS or one.get("tool_calls"):
        raise RowError("bad_role", field, speaker, "tool calls are not supported; remove such rows.")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        message = f"unknown role {shown(speaker)}. {did_you_mean(str(speaker), _ROLES)}"
        raise RowError("bad_role", field, speaker, message)

    # Read the content; only placeholders in the user's texts refer to images.
    pieces: list[str | int]
    if isinstance(content, str):
        text = objects.filled(content)
        pieces = marks.text(text) if role == "user" else [text]
    elif isinstance(content, list):
        pieces = []
        for number, part in enumerate(content):
            place = f"{field}.content[{number}]"
            pieces.append(chat_turns.part(part, place, role, marks, objects.filled))
    else:
        message = f"content must be text or a list of parts (got {shown(content)})."
        raise RowError("wrong_type", field, content, message)

    loss = one.get("loss")
    return {"role": role, "content": pieces, "learn": loss is None or bool(loss)}


def _size(images: list[Inside | str], folder: Folder, number: Any) -> tuple[int, int]:
    """Reads the width and height in pixels of image `number` from its header."""
    if not isinstance(number, int) or not 0 <= number < len(images):
        message = f"image {shown(number)} of {len(images)}; images are numbered from 0."
        raise RowError("wrong_type", "objects.image_id", number, message)

    image = images[number]
    if isinstance(image, Inside):
        medium = Medium(image.data, image.key)
    else:
        path = folder.find(image)
        medium = Medium(folder.root / path, path)

    try:
        info = image_files.probe(medium)
    except MediaError as error:
        raise RowError(error.code, "images", medium.key, str(error)) from None
    return info.width, info.height
