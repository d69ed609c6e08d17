"""Reads conversations from JSON arrays or JSON lines, and replaces image placeholders in texts by image numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightweave.core.errors import DataError, did_you_mean
from sightweave.data.reading import image_marks, json_stream, row_files
from sightweave.data.reading.embedded_images import picture
from sightweave.data.reading.file_names import files, split_of
from sightweave.data.reading.row_files import Row, RowError, shown

MARK = "<image>"
"""Placeholder for an image in a user's text."""
_UNREAD = ("video", "videos", "audio", "audios")
_FIRST_LINE = 4 << 20
_OTHER_PARTS = ("video", "video_url", "audio", "audio_url", "input_audio")
_IMAGE_KEYS = ("image", "image_url", "path", "url", "value", "bytes")
"""Keys under which a part of type image may hold its image."""
_NAMED = re.compile(r"(?:Picture \d{1,3}: ?)?<img>([^<>\n]{1,1000})</img>")
"""Matches the path of an image inside a text, in the style of Qwen-VL."""
_COLUMNS = {
    *("id", "image", "images", "system", "tools", "objects", "split"),
    *("conversations", "messages", "prompt", "completion", "query", "response", "history"),
    *("from", "value", "role", "content", "loss", "tool_calls"),
}
"""Fields of rows and turns that are read, or that are known not to hold images."""
_HINTS = {"conversations", "messages", "completion", "response"}
"""Fields of which every conversation has at least one; a file that contains none of them is not parsed."""


class Marks:
    """Numbers the images of one row in the order in which its turns use them.

    Args:
        column: Images of the row, to which its placeholders refer in order.
        unread: Names of columns that look like images but are not read, for messages.
        is_named_inside: Whether ``<img>a.jpg</img>`` in a user's text refers to an image.
    """

    def __init__(
        self, column: Sequence[Any], unread: Sequence[str] = (), *, is_named_inside: bool = False
    ) -> None:
        self.column, self.num_marks, self.is_named_inside = list(column), 0, is_named_inside
        self.unread = list(unread)
        self.images: list[Any] = []
        """All images used so far, indexed by image number."""

    def next(self) -> int:
        """Uses the next image of the column and returns its image number."""
        image = self.column[self.num_marks] if self.num_marks < len(self.column) else None
        self.num_marks += 1
        return self.inside(image)

    def inside(self, image: Any) -> int:
        """Adds an image that is contained in a turn and returns its image number."""
        self.images.append(image)
        return len(self.images) - 1

    def text(self, text: str) -> list[str | int]:
        """Splits a user's text at its placeholders; returns texts and image numbers in order.

        Line breaks next to a placeholder are removed with it. In a row without images, a placeholder is ordinary text.
        """
        if self.is_named_inside and _NAMED.search(text):
            return self._named(text)
        if not self.column:
            return [text]

        first, *others = text.split(MARK)
        found: list[str | int] = [first.rstrip("\n") if others else first]
        for index, piece in enumerate(others):
            found += [self.next(), piece.lstrip("\n")]
            if index + 1 < len(others):
                found[-1] = str(found[-1]).rstrip("\n")
        return found

    def _named(self, text: str) -> list[str | int]:
        """Splits a text at each ``<img>path</img>``; words such as ``Picture 1:`` before it are removed too."""
        found: list[str | int] = []
        end = 0
        for match in _NAMED.finditer(text):
            found.append(text[end : match.start()].strip("\n"))
            found.append(self.inside(picture(match[1].strip(), "query")))
            end = match.end()
        return [*found, text[end:].lstrip("\n")]

    def place(self, turns: Sequence[dict[str, Any]]) -> list[Any]:
        """Returns all images after the last turn, and checks that the placeholders used each of them.

        A single image without a placeholder is put at the start of the first user turn, as in LLaVA.

        Raises:
            RowError: The number of placeholders differs from the number of images.
        """
        user = next((turn for turn in turns if turn["role"] == "user"), None)
        if not self.num_marks and len(self.column) == 1 and user is not None:
            user["content"] = [self.next(), *user["content"]]

        if self.num_marks != len(self.column):
            both = f"{self.num_marks} marks, {len(self.column)} images"
            message = (
                f"{self.num_marks} {MARK} placeholders in the user turns but {len(self.column)} images; each "
                f"image needs one.{image_marks.hint(self.unread)}"
            )
            raise RowError("image_marks", "images", both, message)
        return self.images


def part(one: Any, field: str, role: str, marks: Marks, filled: Callable[[str], str] = str) -> str | int:
    """The text of a part, or its image number if it is an image, which may be in the part itself or in the row's column.

    Args:
        one: The part: a text, or an object with a ``type``.
        field: Name of the field, for messages.
        role: Role of the turn.
        marks: Numbers the images of the row.
        filled: Replaces the placeholders for objects and boxes in a text.

    Raises:
        RowError: The part has another type, or it is an image that is not in a user turn or cannot be read.
    """
    if isinstance(one, str):
        return filled(one)
    if not isinstance(one, dict):
        message = f"a part must be a JSON object with a type (got {shown(one)})."
        raise RowError("wrong_type", field, one, message)

    # Text parts. The type of a part without a ``type`` is given by its key.
    names = ("text", "image", "image_url", *_OTHER_PARTS)
    kind = one.get("type") or next((name for name in names if one.get(name) is not None), None)
    if kind == "text":
        text = one["value"] if one.get("text") is None and "value" in one else one.get("text")
        if not isinstance(text, str):
            raise RowError("wrong_type", field, one, f"a part of type text needs a text (got {shown(one)}).")
        return filled(text)

    # Of other parts, only images in user turns are supported.
    if kind in _OTHER_PARTS:
        message = "video and audio are not supported yet; leave such rows out."
        raise RowError("unsupported_media", field, kind, message)
    if kind not in ("image", "image_url"):
        message = f"unknown part type {shown(kind)}. {did_you_mean(str(kind), names[:3])}"
        raise RowError("bad_part", field, kind, message)
    if role != "user":
        message = f"an image in a {role} turn; images are supported in user turns only."
        raise RowError("unsupported_media", field, role, message)

    # The image that the part contains, or else the next one of the row.
    given = [one[name] for name in _IMAGE_KEYS if one.get(name) is not None]
    if not given and kind == "image":
        return marks.next()
    if one.get("image") is None and one.get("bytes") is not None:
        return marks.inside(picture({"bytes": one["bytes"]}, field))
    return marks.inside(picture(given[0] if given else None, field))


def column(values: dict[str, Any]) -> list[Any]:
    """The images in a row's ``images`` or ``image`` column, either of which may hold one image or a list.

    Raises:
        RowError: Both fields are present, or the row has video or audio, which are not supported.
    """
    for name in _UNREAD:
        if values.get(name):
            message = "video and audio are not supported yet; leave such rows out."
            raise RowError("unsupported_media", name, values[name], message)

    many, one = values.get("images"), values.get("image")
    if many is not None and one is not None:
        raise RowError(
            "duplicate_field", "images", many, "image and images are both given; keep only one of them."
        )
    given = one if many is None else many
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def unread(row: dict[str, Any]) -> list[str]:
    """Names of columns of a row, and of fields of its turns, that look like images but are not read."""
    found = image_marks.unread(row, _COLUMNS)
    for name in ("conversations", "messages", "prompt"):
        found += image_marks.unread_in_turns(row.get(name), _COLUMNS - {"image", "images"}, name)
    return found


def with_system(turns: list[dict[str, Any]], text: Any) -> list[dict[str, Any]]:
    """Adds a system turn with the row's ``system`` column in front of the turns, unless they already start with one.

    Assistant turns before the first user turn are kept as context and are not trained on.

    Raises:
        RowError: The ``system`` column does not hold a text.
    """
    if text is not None and not isinstance(text, str):
        raise RowError("wrong_type", "system", text, f"must be text (got {shown(text)}).")

    for turn in turns:
        if turn["role"] == "user":
            break
        if turn["role"] == "assistant":
            turn["learn"] = False

    if text and text.strip() and (not turns or turns[0]["role"] != "system"):
        return [{"role": "system", "content": [text]}, *turns]
    return turns


def conversation_files(path: Path, is_ours: Callable[[Path], bool], what: str) -> list[Path]:
    """The given file, or all JSON and JSON lines files of a format below a folder.

    Args:
        path: A file, which is returned without checks, or a folder.
        is_ours: Tells whether a file is in the format.
        what: Name of the format's rows, for the message.

    Raises:
        DataError: The folder has no files in the format.
    """
    found = [path] if path.is_file() else candidates(path, is_ours)
    if not found:
        raise DataError(
            f"{path}: no JSON array or JSON lines of {what} found; give the path of the file if there is one."
        )
    return found


def candidates(path: Path, is_ours: Callable[[Path], bool]) -> list[Path]:
    """The JSON and JSON lines files at or below a path for which `is_ours` returns True."""
    return [file for file in files(path, ".json", ".json.gz", ".jsonl") if is_ours(file)]


def fields(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Finds the field names of a file's first row, and the keys at any depth in its first and last rows.

    Both are empty for a file without conversations. The field names are also empty if a row has ``file_name``, because such
    files belong to another format (a folder of images).
    """
    kind, keys = json_stream.glance(file)
    if not keys & _HINTS:
        return frozenset(), frozenset()

    try:
        if kind == "array":
            first = next(iter(json_stream.elements(file)), None)
        elif file.suffix.lower() != ".gz":  # compressed JSON lines are not supported
            with json_stream.opened(file) as opened:
                first = json.loads(opened.readline(_FIRST_LINE))
        else:
            return frozenset(), frozenset()
    except DataError:  # reading the rows reports what is wrong
        first = None
    except (OSError, EOFError, ValueError, RecursionError):  # an object over several lines is not a row
        return frozenset(), frozenset()

    if isinstance(first, dict):
        return (frozenset() if "file_name" in first else frozenset(first)), keys
    return (keys if kind == "array" else frozenset()), keys


def rows(
    found: Sequence[Path], split: str, make: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Row]:
    """Yields the rows of several files, mapped to the common fields.

    Args:
        found: The files: JSON arrays, whose rows are numbered from 0, or JSON lines, whose rows are numbered from 1.
        split: Split to read; files named after another split are skipped. Empty means all.
        make: Maps the fields of one row to the common fields, or raises a `RowError`.

    Raises:
        DataError: A file cannot be read at all.
    """
    for file in found:
        name = split_of(file)
        if split and name and name != split:
            continue
        for row in _read(file):
            yield _mapped(row, name, make)


def _read(file: Path) -> Iterator[Row]:
    kind, _ = json_stream.glance(file)
    if kind == "object" and file.suffix.lower() == ".gz":
        raise DataError(
            f"{file}: compressed JSON lines; decompress the file first (compressed JSON arrays are supported)."
        )

    if kind == "object" or (not kind and file.suffix.lower() == ".jsonl"):
        for row in row_files.read(file):
            yield replace(row, file=str(file))
    else:
        for number, values in enumerate(json_stream.elements(file)):
            yield Row(number, values, str(file))


def _mapped(row: Row, split: str, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Row:
    """Maps a row to the common fields; if that fails, the returned row holds the error."""
    values = row.values
    if isinstance(values, RowError):
        return row

    try:
        if not isinstance(values, dict):
            raise RowError("wrong_type", "", values, f"a row must be a JSON object (got {shown(values)}).")
        made = make(values)
    except RowError as error:
        return replace(row, values=error)
    return replace(row, values={**made, "split": split} if split else made)
