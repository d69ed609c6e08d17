"""Rows of JSON lines or CSV, each with its line, and whatever is wrong with them said in full."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sightweave.core import places
from sightweave.core.errors import DataError
from sightweave.data.reading import delimited

MAX_LINE_BYTES = 100_000_000
"""A longer line is no row: it is skipped without being held in memory."""
_FIRST_LINE = 4 << 20
"""Bytes of a line by which a file is recognised."""
BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 64
"""Lists and mappings inside one another; Python's own limit is met somewhere behind the parser, and ends everything."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one row."""

    file: str
    line: int
    """Counted from 1; for records given as Python objects the index, from 0."""
    code: str
    """A short fixed name, such as ``missing_field`` or ``image_truncated``."""
    field: str
    """Empty where the whole row is wrong."""
    value: str
    """What stood there, shortened."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"

    def to_json(self) -> str:
        """One line for a quarantine file."""
        return json.dumps(asdict(self), ensure_ascii=True)


class RowError(DataError):
    """One row is wrong; who knows its file and line makes a `Fault` of it."""

    def __init__(self, code: str, field: str, value: object, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.value = shown(value)


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read, or why it could not be."""

    line: int
    """In a file of lines counted from 1, in other files the number of the row there, from 0."""
    values: Any
    """A mapping of fields, a task's record, or a `RowError`."""
    file: str = ""
    """Which file; empty where the source has only one."""
    places: tuple[tuple[str, int], ...] = ()
    """All (file, line) that it was made of, where that is not one line of `file`; a picture as a row is (picture, 0)."""

    def __post_init__(self) -> None:
        if isinstance(self.values, RowError):
            # Else it would hold the frames that it came through, and these the files that they read.
            self.values.__traceback__ = None


def shown(value: object) -> str:
    """A value as messages show it: short, on one line, and never with an object's address."""
    if not isinstance(value, str | int | float | bool | list | tuple | dict | type(None)):
        return type(value).__name__
    try:
        text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or nested too deep
        return type(value).__name__
    return text if len(text) <= _SHOWN + 2 else text[:_SHOWN] + "..."


def find(path: Path) -> Path:
    """The file of rows: the path itself, or the one in a folder.

    Raises:
        DataError: none, or more than one and none of them called ``data``.
    """
    if path.is_file():
        if path.suffix.lower() not in (".jsonl", ".csv") and not _is_lines(path):
            raise DataError(f"{path}: a file of rows ends in .jsonl or .csv (got {path.suffix!r}).")
        return path
    if not path.is_dir():
        if not path.exists():
            raise DataError(places.no_data(path))
        raise DataError(f"{path}: neither a file nor a folder.")
    for name in ("data.jsonl", "data.csv"):
        if (path / name).is_file():
            return path / name
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in (".jsonl", ".csv") and p.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found[:10])
        raise DataError(
            f"{path}: {len(found)} data files ({names}) and none is data.jsonl; give the path of the one to read."
        )
    lines = [one for one in sorted(path.glob("*.json")) if _is_lines(one)]
    if len(lines) == 1:
        return lines[0]
    near = ", ".join(p.name for p in sorted(path.glob("*.json"))[:3] if p not in lines)
    hint = f" ({near} is JSON, not JSON lines)" if near else ""
    raise DataError(
        f"{path}: no data.jsonl or data.csv found{hint}. Write one row per line, "
        'such as {"image": "1.jpg", "caption": "A dog."}.'
    )


def _is_lines(path: Path) -> bool:
    """Whether a file named ``.json`` holds JSON lines: its first line is a whole object, and another one follows."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            first, second = file.readline(_FIRST_LINE), file.readline(_FIRST_LINE)
        is_object = isinstance(json.loads(first.decode("utf-8-sig")), dict)
    except (OSError, ValueError, RecursionError):
        return False
    return is_object and second.lstrip().startswith(b"{")


def read(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """All rows of a file, in order; blank lines are none.

    Raises:
        DataError: the file cannot be read as a whole: a JSON array, or a CSV without a usable head.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None
    with file:
        for row in (_read_csv if path.suffix.lower() == ".csv" else _read_jsonl)(path, file, max_line_bytes):
            yield replace(row, file=str(path))


def lines(file: BinaryIO, max_line_bytes: int) -> Iterator[tuple[int, int, bytes | RowError]]:
    """Number, byte offset and content of each line; only a line feed ends one."""
    number = offset = 0
    while line := file.readline(max_line_bytes + 1):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) <= max_line_bytes or line.endswith(b"\n"):
            skip = len(BOM) if number == 1 and line.startswith(BOM) else 0
            yield number, start + skip, line[skip:]
            continue
        while not line.endswith(b"\n") and (line := file.readline(max_line_bytes)):
            offset += len(line)
        size = offset - start
        yield (
            number,
            start,
            RowError("line_too_long", "", "", f"{size} bytes in one line; the maximum is {max_line_bytes}."),
        )


def _text(line: bytes, offset: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise RowError(
            "bad_encoding",
            "",
            f"0x{byte:02x}",
            f"not UTF-8: byte 0x{byte:02x} at byte {offset + error.start} of the file; save the file as UTF-8.",
        ) from None


def _read_jsonl(path: Path, file: BinaryIO, max_line_bytes: int) -> Iterator[Row]:
    is_first = True
    for number, offset, line in lines(file, max_line_bytes):
        if isinstance(line, RowError):
            yield Row(number, line)
            continue
        if not line.strip():
            continue
        if is_first and line.lstrip().startswith(b"["):
            raise DataError(
                f"{path}:{number}: a JSON array; write one object per line, without brackets and commas around them."
            )
        is_first = False
        try:
            yield Row(number, _parse(_text(line, offset)))
        except RowError as error:
            yield Row(number, error)


def _parse(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise RowError(
            "bad_json",
            "",
            text.strip(),
            f"not JSON: {error.msg} at column {error.colno} (got {shown(text.strip())}).",
        ) from None
    except RowError:
        raise
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        what = "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"
        raise RowError("bad_json", "", text.strip(), f"invalid JSON: {what}.") from None
    if isinstance(values, dict) and is_too_deep(text, values):
        raise RowError("bad_json", "", text.strip(), "invalid JSON: nested too deeply.")
    if not isinstance(values, dict):
        raise RowError(
            "wrong_type", "", values, f"a row must be a JSON object such as {{...}} (got {shown(values)})."
        )
    return values


def is_too_deep(text: str, value: Any) -> bool:
    """Whether a parsed value holds lists and mappings more than `MAX_DEPTH` deep; `text` is what it was parsed from."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for values in inner for one in values if isinstance(one, list | dict) and one]
        if not level:
            return False
    return True


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping from the pairs of a JSON object; for ``object_pairs_hook``.

    Raises:
        RowError: a key is given twice, so that one of its two values would be lost.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            both = f"{shown(values[key])} and {shown(value)}"
            raise RowError(
                "duplicate_field", key, value, f"given twice ({both}); for several values, use a list."
            )
        values[key] = value
    return values


def no_constant(name: str) -> Any:
    """None for ``NaN`` and ``Infinity``, which are not JSON and which pandas writes where there is no value."""
    return None


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value: tables that went through pandas say by NaN that there is none."""
    return {name: one for name, one in values.items() if not isinstance(one, float) or not math.isnan(one)}


def _read_csv(path: Path, file: BinaryIO, max_line_bytes: int) -> Iterator[Row]:
    wrong: list[RowError] = []
    """What is wrong with the lines of the row that is being read."""

    def checked() -> Iterator[tuple[int, int, bytes | ValueError]]:
        for number, offset, line in lines(file, max_line_bytes):
            if not isinstance(line, RowError):
                try:
                    _text(line, offset)
                except RowError as error:
                    wrong.append(error)
            yield number, offset, line

    first = file.readline(max_line_bytes).removeprefix(BOM)
    file.seek(0)
    head: list[str] = []
    try:
        for found in delimited.extents(checked(), delimited.delimiter_of(first), max_bytes=max_line_bytes):
            values = found.cells
            if wrong:
                values = wrong.pop(0)
                wrong.clear()
            if found.is_blank:
                continue
            if not head and not isinstance(values, list):
                raise DataError(f"{path}:{found.line}: {values}")
            if not isinstance(values, list):
                yield Row(found.line, of_malformed(values))
                continue
            cells = [cell.decode("utf-8") for cell in values]
            if not head:
                head = _head(path, found.line, cells)
            elif len(cells) != len(head):
                message = f"{len(cells)} values for {len(head)} columns; quote values that contain a comma."
                yield Row(found.line, RowError("bad_csv", "", cells, message))
            else:
                yield Row(found.line, {k: _cell(v) for k, v in zip(head, cells, strict=True) if v.strip()})
    except delimited.UnclosedQuote as error:
        raise DataError(f"{path}:{error.line}: not CSV: {error}") from None


def of_malformed(error: ValueError) -> RowError:
    """Why a row of delimited text has no cells, as a fault of that row."""
    return error if isinstance(error, RowError) else RowError("bad_csv", "", "", str(error))


def _head(path: Path, number: int, cells: list[str]) -> list[str]:
    head = [cell.strip() for cell in cells]
    twice = sorted({name for name in head if head.count(name) > 1})
    if twice:
        raise DataError(
            f"{path}:{number}: column {twice[0]!r} appears twice in the first row; column names must be unique."
        )
    return head


def _cell(text: str) -> Any:
    """A list or a mapping where the cell holds one in JSON, else the text as it is."""
    if text.strip()[:1] in ("[", "{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # brackets of another meaning, or nested too deep
            return text
        return text if is_too_deep(text, value) else value
    return text
