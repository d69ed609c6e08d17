"""Reads rows of JSON lines or CSV files, each with its line number and either its values or an error."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sightweave.core import places
from sightweave.core.errors import DataError
from sightweave.data.reading import delimited

MAX_LINE_BYTES = 100_000_000
"""Maximum size of a line in bytes; longer lines are skipped without being held in memory."""
_FIRST_LINE = 4 << 20
"""Maximum number of bytes of a line that are read to recognise a file's format."""
BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 64
"""Maximum nesting depth of lists and mappings. Deeper values could be parsed, but would later exceed Python's recursion
limit."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """A bad row: its position, and what is wrong with it."""

    file: str
    line: int
    """Line number, counted from 1; for records given as Python objects, the index, counted from 0."""
    code: str
    """Short name of the fault that never changes, such as ``missing_field`` or ``image_truncated``."""
    field: str
    """Name of the wrong field; empty if the whole row is wrong."""
    value: str
    """Value of the field, shortened."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"

    def to_json(self) -> str:
        """The fault as a JSON object on one line, for a quarantine file."""
        return json.dumps(asdict(self), ensure_ascii=True)


class RowError(DataError):
    """A row is invalid. The caller, which knows the file and the line, converts this error to a `Fault`."""

    def __init__(self, code: str, field: str, value: object, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.value = shown(value)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: its values, or the error if it could not be read."""

    line: int
    """Line number, counted from 1, in a file of lines; index of the row, counted from 0, in other files."""
    values: Any
    """A mapping of fields, a task's record, or a `RowError`."""
    file: str = ""
    """Path of the file; empty if the source has only one file."""
    places: tuple[tuple[str, int], ...] = ()
    """The (file, line) pairs from which the row was made; empty if it was made from one line of `file`. The pair of an image
    without annotations is (image, 0)."""

    def __post_init__(self) -> None:
        if isinstance(self.values, RowError):
            # The traceback would keep its frames alive, and with them the files that are open there.
            self.values.__traceback__ = None


def shown(value: object) -> str:
    """Formats a value for a message: shortened and on one line; objects are shown by the name of their type."""
    if not isinstance(value, str | int | float | bool | list | tuple | dict | type(None)):
        return type(value).__name__
    try:
        text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    except (ValueError, RecursionError):  # a number with thousands of digits, or deep nesting
        return type(value).__name__
    return text if len(text) <= _SHOWN + 2 else text[:_SHOWN] + "..."


def find(path: Path) -> Path:
    """Finds the file of rows at a path, which is the file itself or a folder that contains it.

    Raises:
        DataError: There is no file of rows, or the folder has several and none of them is called ``data``.
    """
    if path.is_file():
        if not _has_rows_suffix(path) and not _is_json_lines(path):
            raise DataError(f"{path}: a file of rows ends in .jsonl or .csv (got {path.suffix!r}).")
        return path
    if not path.is_dir():
        if not path.exists():
            raise DataError(places.no_data(path))
        raise DataError(f"{path}: neither a file nor a folder.")

    # A folder has a file called data, or a single file of rows.
    for name in ("data.jsonl", "data.csv"):
        if (path / name).is_file():
            return path / name

    found = sorted(one for one in path.iterdir() if _has_rows_suffix(one) and one.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.name for one in found[:10])
        raise DataError(
            f"{path}: {len(found)} data files ({names}) and none is data.jsonl; give the path of the one to read."
        )

    # Otherwise, a single .json file is accepted if it holds JSON lines.
    json_files = sorted(path.glob("*.json"))
    json_lines = [one for one in json_files if _is_json_lines(one)]
    if len(json_lines) == 1:
        return json_lines[0]

    others = ", ".join(one.name for one in json_files[:3] if one not in json_lines)
    hint = f" ({others} is JSON, not JSON lines)" if others else ""
    raise DataError(
        f"{path}: no data.jsonl or data.csv found{hint}. Write one row per line, "
        'such as {"image": "1.jpg", "caption": "A dog."}.'
    )


def _has_rows_suffix(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".csv")


def _is_json_lines(path: Path) -> bool:
    """Whether a ``.json`` file holds JSON lines: its first line is a complete object, and the next one starts another."""
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
    """Yields all rows of a JSON lines or CSV file in order; blank lines are skipped.

    Raises:
        DataError: The file cannot be opened, is a JSON array, or is a CSV file with an invalid header or an open quote.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None

    read_rows = _read_csv if path.suffix.lower() == ".csv" else _read_jsonl
    with file:
        for row in read_rows(path, file, max_line_bytes):
            yield replace(row, file=str(path))


def lines(file: BinaryIO, max_line_bytes: int) -> Iterator[tuple[int, int, bytes | RowError]]:
    """Yields the number, byte offset and content of each line, or an error in place of a line that is too long.

    Only a line feed ends a line. Lines are numbered from 1; a byte order mark at the start of the file is skipped.
    """
    number = offset = 0
    while line := file.readline(max_line_bytes + 1):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) <= max_line_bytes or line.endswith(b"\n"):
            skip = len(BOM) if number == 1 and line.startswith(BOM) else 0
            yield number, start + skip, line[skip:]
            continue

        # Skip the rest of a line that is too long, reading a bounded number of bytes at a time.
        while line and not line.endswith(b"\n"):
            line = file.readline(max_line_bytes)
            offset += len(line)
        message = f"{offset - start} bytes in one line; the maximum is {max_line_bytes}."
        yield number, start, RowError("line_too_long", "", "", message)


def _text(line: bytes, offset: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"0x{line[error.start]:02x}"
        message = (
            f"not UTF-8: byte {byte} at byte {offset + error.start} of the file; save the file as UTF-8."
        )
        raise RowError("bad_encoding", "", byte, message) from None


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
        message = f"not JSON: {error.msg} at column {error.colno} (got {shown(text.strip())})."
        raise RowError("bad_json", "", text.strip(), message) from None
    except RowError:
        raise
    except RecursionError:
        raise RowError("bad_json", "", text.strip(), "invalid JSON: nested too deeply.") from None
    except ValueError:  # Python limits the number of digits
        message = "invalid JSON: a number with too many digits."
        raise RowError("bad_json", "", text.strip(), message) from None

    if not isinstance(values, dict):
        message = f"a row must be a JSON object such as {{...}} (got {shown(values)})."
        raise RowError("wrong_type", "", values, message)
    if is_too_deep(text, values):
        raise RowError("bad_json", "", text.strip(), "invalid JSON: nested too deeply.")
    return values


def is_too_deep(text: str, value: Any) -> bool:
    """Whether lists and mappings in a parsed value are nested deeper than `MAX_DEPTH`.

    Args:
        text: The JSON text of the value, which rules out deep nesting cheaply in most cases.
        value: The parsed value.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False

    level = [value]
    for _ in range(MAX_DEPTH):
        next_level = []
        for outer in level:
            values = outer.values() if isinstance(outer, dict) else outer
            next_level += [one for one in values if isinstance(one, list | dict) and one]
        level = next_level
        if not level:
            return False
    return True


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes a dict from the pairs of a JSON object and rejects duplicate keys; an ``object_pairs_hook`` for `json`.

    Raises:
        RowError: A key is given twice, so that one of its values would be lost.
    """
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            both = f"{shown(values[key])} and {shown(value)}"
            message = f"given twice ({both}); for several values, use a list."
            raise RowError("duplicate_field", key, value, message)
        values[key] = value
    return values


def no_constant(name: str) -> Any:
    """Returns None for ``NaN`` and ``Infinity``, which pandas writes for missing values although they are not valid JSON."""
    return None


def without_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the fields without those that are NaN, which pandas uses for missing values."""
    return {name: one for name, one in values.items() if not isinstance(one, float) or not math.isnan(one)}


def _read_csv(path: Path, file: BinaryIO, max_line_bytes: int) -> Iterator[Row]:
    # Detect the delimiter from the first line.
    first_line = file.readline(max_line_bytes).removeprefix(BOM)
    file.seek(0)
    delimiter = delimited.delimiter_of(first_line)

    undecodable: list[RowError] = []
    checked = _checked_lines(file, max_line_bytes, undecodable)
    header: list[str] = []
    try:
        for found in delimited.extents(checked, delimiter, max_bytes=max_line_bytes):
            # A row is bad as a whole if one of its lines is not UTF-8.
            values = found.cells
            if undecodable:
                values = undecodable[0]
                undecodable.clear()
            if found.is_blank:
                continue

            # A malformed row is an error in that row only, but a malformed header makes the whole file unreadable.
            if not isinstance(values, list):
                if not header:
                    raise DataError(f"{path}:{found.line}: {values}")
                yield Row(found.line, of_malformed(values))
                continue

            cells = [cell.decode("utf-8") for cell in values]
            if header:
                yield Row(found.line, _csv_fields(header, cells))
            else:
                header = _csv_header(path, found.line, cells)
    except delimited.UnclosedQuote as error:
        raise DataError(f"{path}:{error.line}: not CSV: {error}") from None


def _checked_lines(
    file: BinaryIO, max_line_bytes: int, undecodable: list[RowError]
) -> Iterator[tuple[int, int, bytes | ValueError]]:
    """Yields the same as `lines`, and appends an error to `undecodable` for each line that is not UTF-8."""
    for number, offset, line in lines(file, max_line_bytes):
        if not isinstance(line, RowError):
            try:
                _text(line, offset)
            except RowError as error:
                undecodable.append(error)
        yield number, offset, line


def of_malformed(error: ValueError) -> RowError:
    """Converts an error in a row of delimited text to a `RowError`."""
    return error if isinstance(error, RowError) else RowError("bad_csv", "", "", str(error))


def _csv_header(path: Path, number: int, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    duplicates = sorted(name for name, count in Counter(header).items() if count > 1)
    if duplicates:
        raise DataError(
            f"{path}:{number}: column {duplicates[0]!r} appears twice in the first row; column names must be unique."
        )
    return header


def _csv_fields(header: list[str], cells: list[str]) -> dict[str, Any] | RowError:
    """The non-empty cells of a row by column, or an error if their number is wrong."""
    if len(cells) != len(header):
        message = f"{len(cells)} values for {len(header)} columns; quote values that contain a comma."
        return RowError("bad_csv", "", cells, message)
    return {name: _parse_cell(cell) for name, cell in zip(header, cells, strict=True) if cell.strip()}


def _parse_cell(text: str) -> Any:
    """Parses a cell that holds a JSON list or mapping; any other text is returned unchanged."""
    if text.strip()[:1] not in ("[", "{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the brackets are ordinary text, or nested too deeply
        return text
    return text if is_too_deep(text, value) else value
