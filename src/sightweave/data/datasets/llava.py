"""LLaVA's conversations, and the multimodal ShareGPT format of LLaMA-Factory, which differs in a few columns.

Visual Instruction Tuning (Liu et al. 2023, arXiv:2304.08485); LlamaFactory (Zheng et al. 2024, arXiv:2403.13372). Files are
JSON arrays or JSON lines. ``<image>`` in a user's turn refers to the next image. A tool's output (``observation``) is read
as a user turn, and a tool call (``function_call``) as an assistant turn; the list of tools is appended to the system prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import did_you_mean
from sightweave.data.reading import chat_turns
from sightweave.data.reading.file_names import among
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig

_ROLES = {
    **dict.fromkeys(("human", "user", "observation"), "user"),
    **dict.fromkeys(("gpt", "assistant", "function_call"), "assistant"),
    "system": "system",
}


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in chat_turns.candidates(path, _is_ours)]
    return f"conversations in {among(found)}" if found else ""


def _is_ours(file: Path) -> bool:
    first, keys = chat_turns.fields(file)
    return "conversations" in first and "messages" not in first and {"from", "value"} <= keys


@config
class Config(FilesConfig):
    """A folder with conversations and images, or one file of conversations."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per conversation."""
        found = chat_turns.conversation_files(Path(self.path).expanduser(), _is_ours, "conversations")
        return chat_turns.rows(found, split, partial(_values, ratings=tuple(self.min_quality)))


def _values(row: dict[str, Any], ratings: tuple[str, ...]) -> dict[str, Any]:
    unread = chat_turns.unread(row)
    marks = chat_turns.Marks(chat_turns.column(row), unread)

    given = row.get("conversations")
    if given is None:
        raise RowError("missing_field", "conversations", None, f"missing. The row has: {', '.join(row)}.")
    if not isinstance(given, list) or not given:
        raise RowError("wrong_type", "conversations", given, f"must be a list of turns (got {shown(given)}).")

    turns = [_turn(one, f"conversations[{number}]", marks) for number, one in enumerate(given)]
    return {
        "id": row.get("id"),
        "images": marks.place(turns),
        "unread": unread,
        "turns": chat_turns.with_system(turns, _system(row)),
        "quality": {name: row[name] for name in ratings if name in row},
    }


def _turn(one: Any, field: str, marks: chat_turns.Marks) -> dict[str, Any]:
    if not isinstance(one, dict) or "from" not in one or "value" not in one:
        raise RowError("wrong_type", field, one, f"a turn needs from and value (got {shown(one)}).")
    speaker, value = one["from"], one["value"]

    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        message = f"unknown speaker {shown(speaker)}. {did_you_mean(str(speaker), _ROLES)}"
        raise RowError("bad_role", field, speaker, message)

    if isinstance(value, list) and value:
        parts = [chat_turns.part(part, f"{field}.value[{n}]", role, marks) for n, part in enumerate(value)]
        return {"role": role, "content": parts}
    if not isinstance(value, str):
        message = f"value must be text or a list of parts (got {shown(value)})."
        raise RowError("wrong_type", field, value, message)
    # Only placeholders in the user's texts refer to images.
    return {"role": role, "content": marks.text(value) if role == "user" else [value]}


def _system(row: dict[str, Any]) -> Any:
    """The row's system prompt, followed by the list of tools that the assistant may call."""
    system, tools = row.get("system"), row.get("tools")
    if not tools or not isinstance(system, str | None):
        return system

    listing = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
    return f"{system}\n{listing}" if system else listing
