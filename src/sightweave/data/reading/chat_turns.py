"""Conversations in JSON: rows from an array or from lines, and marks in texts that become numbers of pictures."""

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
"""Stands in a user's text where a picture belongs."""
_UNREAD = ("video", "videos", "audio", "audios")
_FIRST_LINE = 4 << 20
_OTHER_PARTS = ("video", "video_url", "audio", "audio_url", "input_audio")
_PLACES = ("image", "image_url", "path", "url", "value", "bytes")
"""Where a part of type image says which picture it is."""
_NAMED = re.compile(r"(?:Picture \d{1,3}: ?)?<img>([^<>\n]{1,1000})</img>")
"""How Qwen-VL names a picture where it stands."""
_COLUMNS = {
    *("id", "image", "images", "system", "tools", "objects", "split"),
    *("conversations", "messages", "prompt", "completion", "query", "response", "history"),
    *("from", "value", "role", "content", "loss", "tool_calls"),
}
"""Fields of rows and of turns that are read, or that hold no picture of the row's own."""
_HINTS = {"conversations", "messages", "completion", "response"}
"""Every row has one of them; a file without any is not parsed to be recognised."""


class Marks:
    """Numbers the pictures of one row in the order in which its turns name them.

    Args:
        column: The row's own pictures, which marks stand for one after the other.
        unread: Columns that look like pictures and are not read, for messages.
        is_named_inside: Whether ``<img>a.jpg</img>`` in a user's text is a picture.
    """

    def __init__(
        self, column: Sequence[Any], unread: Sequence[str] = (), *, is_named_inside: bool = False
    ) -> None:
        self.column, self.num_marks, self.is_named_inside = list(column), 0, is_named_inside
        self.unread = list(unread)
        self.images: list[Any] = []
        """Pictures in the order of their numbers."""

    def next(self) -> int:
        """The number of the next picture of the column."""
        image = self.column[self.num_marks] if self.num_marks < len(self.column) else None
        self.num_marks += 1
        return self.inside(image)

    def inside(self, image: Any) -> int:
        """The number of a picture that a turn brought itself."""
        self.images.append(image)
        return len(self.images) - 1

    def text(self, text: str) -> list[str | int]:
        """A user's text, with numbers where it had marks; line breaks that touch a mark belong to the mark.

        In a row without pictures of its own a mark is ordinary text.
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
        """A text with numbers where it names pictures; the words ``Picture 1:`` before a name belong to it."""
        found: list[str | int] = []
        end = 0
        for match in _NAMED.finditer(text):
            found += [text[end : match.start()].strip("\n"), self.inside(picture(match[1].strip(), "query"))]
            end = match.end()
        return [*found, text[end:].lstrip("\n")]

    def place(self, turns: Sequence[dict[str, Any]]) -> list[Any]:
        """All pictures; a single one without any mark is put first, as LLaVA does.

        Raises:
            RowError: as many marks as pictures are needed.
        """
        user = next((turn for turn in turns if turn["role"] == "user"), None)
        if not self.num_marks and len(self.column) == 1 and user is not None:
            user["content"] = [self.next(), *user["content"]]
        if self.num_marks != len(self.column):
            both = f"{self.num_marks} marks, {len(self.column)} images"
            message = (
                f"{self.num_marks} {MARK} placeholders in the user turns but {len(self.column)} images; each "
                "image needs one."
                f"{image_marks.hint(self.unread)}"
            )
            raise RowError("image_marks", "images", both, message)
        return self.images


def part(one: Any, field: str, role: str, marks: Marks, filled: Callable[[str], str] = str) -> str | int:
    """A text, or the number of a picture: the next of the row's own, or one that the part brings.

    Args:
        one: A text, or an object with ``type``.
        field: Where it stands, for messages.
        role: Who says it.
        marks: Numbers the pictures.
        filled: Makes a text of one with marks for things and boxes.

    Raises:
        RowError: another type, a picture that the user did not send, or one that is not read.
    """
    if isinstance(one, str):
        return filled(one)
    if not isinstance(one, dict):
        raise RowError(
            "wrong_type", field, one, f"a part must be a JSON object with a type (got {shown(one)})."
        )
    names = ("text", "image", "image_url", *_OTHER_PARTS)
    kind = one.get("type") or next((name for name in names if one.get(name) is not None), None)
    if kind == "text":
        text = one["value"] if one.get("text") is None and "value" in one else one.get("text")
        if not isinstance(text, str):
            raise RowError("wrong_type", field, one, f"a part of type text needs a text (got {shown(one)}).")
        return filled(text)
    if kind not in ("image", "image_url"):
        if kind in _OTHER_PARTS:
            raise RowError(
                "unsupported_media", field, kind, "video and sound are not read yet; leave such rows out."
            )
        message = f"unknown part type {shown(kind)}. {did_you_mean(str(kind), names[:3])}"
        raise RowError("bad_part", field, kind, message)
    if role != "user":
        message = f"an image in a {role} turn; images are supported in user turns only."
        raise RowError("unsupported_media", field, role, message)
    given = [one[name] for name in _PLACES if one.get(name) is not None]
    if not given and kind == "image":
        return marks.next()
    if one.get("image") is None and one.get("bytes") is not None:
        return marks.inside(picture({"bytes": one["bytes"]}, field))
    return marks.inside(picture(given[0] if given else None, field))


def column(values: dict[str, Any]) -> list[Any]:
    """The pictures that a row names in ``images`` or ``image``, be it one or a list.

    Raises:
        RowError: both are there, or media of a kind that is not read.
    """
    for name in _UNREAD:
        if values.get(name):
            message = "video and sound are not read yet; leave such rows out."
            raise RowError("unsupported_media", name, values[name], message)
    many, one = values.get("images"), values.get("image")
    if many is not None and one is not None:
        raise RowError("duplicate_field", "images", many, "image and images are both given.")
    given = one if many is None else many
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def unread(row: dict[str, Any]) -> list[str]:
    """Columns of a row, and fields of its turns, that look like pictures and are not read."""
    found = image_marks.unread(row, _COLUMNS)
    for name in ("conversations", "messages", "prompt"):
        found += image_marks.unread_in_turns(row.get(name), _COLUMNS - {"image", "images"}, name)
    return found


def with_system(turns: list[dict[str, Any]], text: Any) -> list[dict[str, Any]]:
    """The turns after a row's ``system`` column, unless they bring a system turn of their own.

    Words of the assistant that come before any question are kept as context and not learnt.

    Raises:
        RowError: the column holds no text.
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
    """The file itself, or all files of JSON and JSON lines below a folder that are of one kind.

    Raises:
        DataError: none; `what` says what was looked for.
    """
    found = [path] if path.is_file() else candidates(path, is_ours)
    if not found:
        raise DataError(
            f"{path}: no JSON array or JSON lines of {what} found; give the path of the file if there is one."
        )
    return found


def candidates(path: Path, is_ours: Callable[[Path], bool]) -> list[Path]:
    """Files of JSON and JSON lines that are of one kind."""
    return [file for file in files(path, ".json", ".json.gz", ".jsonl") if is_ours(file)]


def fields(file: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the first row's fields, and of keys at any depth; empty where there are no rows of this family.

    Rows that name their picture in ``file_name`` belong to a folder of pictures, which is another format.
    """
    kind, keys = json_stream.glance(file)
    if not keys & _HINTS:
        return frozenset(), frozenset()
    try:
        if kind == "array":
            first = next(iter(json_stream.elements(file)), None)
        elif file.suffix.lower() != ".gz":  # lines are read unpacked
            with json_stream.opened(file) as opened:
                first = json.loads(opened.readline(_FIRST_LINE))
        else:
            return frozenset(), frozenset()
    except DataError:  # reading it says what is wrong
        first = None
    except (OSError, EOFError, ValueError, RecursionError):  # an object over many lines is no row
        return frozenset(), frozenset()
    if isinstance(first, dict):
        return (frozenset() if "file_name" in first else frozenset(first)), keys
    return (keys if kind == "array" else frozenset()), keys


def rows(
    found: Sequence[Path], split: str, make: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Row]:
    """Rows of several files, each made into the common fields.

    Args:
        found: The files: JSON arrays, numbered from 0, or JSON lines, numbered from 1.
        split: Files whose name says another one are skipped; empty means all.
        make: Turns the fields of one row into the common fields, or raises a `RowError`.

    Raises:
        DataError: a file is broken as a whole.
    """
    for file in found:
        name = split_of(file)
        if split and name and name != split:
            continue
        for row in _read(file):
            yield _made(row, name, make)


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


def _made(row: Row, split: str, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Row:
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
