"""Reads the rows of parquet files, Arrow files and Arrow streams in batches of bounded size.

Files are not trusted: record batches are validated before any cell is read, and extension types are rejected, because some
of them run code (pyarrow's own Python extension type contains a pickle).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from sightweave.core.errors import DataError
from sightweave.data.reading.row_files import RowError

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather")
"""Suffixes of parquet and Arrow files."""
_BATCH_BYTES = 32 << 20
_MAX_ROWS = 64
"""Maximum rows per batch. With dictionary encoding, a few bytes per row may expand to a large image, and the sizes in the
footer do not show this."""
_HARMLESS = ("arrow.json", "arrow.uuid", "arrow.bool8")
"""Extension types that are only labels for plain values. They are accepted, but their columns are not read."""
_END = b"\xff\xff\xff\xff\0\0\0\0"


def form_of(path: Path) -> str:
    """Detects a file's format from its first bytes: ``parquet``, ``file`` (Arrow with a footer) or ``stream`` (Arrow).

    Returns an empty text for any other file.

    Raises:
        DataError: The file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None

    if head == b"ARROW1":
        return "file"
    forms = {b"PAR1": "parquet", b"PARE": "parquet", b"\xff\xff\xff\xff": "stream"}
    return forms.get(head[:4], "")


def schema(path: Path) -> Any:
    """The Arrow schema of a parquet or Arrow file.

    Raises:
        DataError: The file has another format, is truncated or damaged, or has duplicate columns or extension types.
    """
    import pyarrow as pa

    try:
        return _opened(path)[1]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _broken(path, error) from None


def columns(path: Path) -> dict[str, str]:
    """Type of each readable column by its name; empty if the file cannot be read."""
    try:
        found = schema(path)
    except DataError:
        return {}
    return {field.name: str(field.type) for field in found if _is_plain(field.type)}


def rows(path: Path, only: Container[str] | None = None) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Yields the number of each row, counted from 0, with its cells by column, or with an error.

    Only columns of texts, bytes, numbers, and lists or structs of these are read.

    Args:
        path: A parquet file, Arrow file or Arrow stream.
        only: Names of the columns to read; None means all.

    Raises:
        DataError: As for `schema`, or a part of the file is damaged. The message gives the row group or batch, and the
            column.
    """
    number = 0
    for batch in _batches(path, only):
        named = list(zip(batch.schema.names, batch.columns, strict=True))
        for index in range(batch.num_rows):
            yield number, _row(named, index)
            number += 1


def _row(named: list[tuple[str, Any]], index: int) -> dict[str, Any] | RowError:
    import pyarrow as pa

    values = {}
    for name, column in named:
        try:
            values[name] = column[index].as_py()
        except UnicodeDecodeError as error:
            return RowError("bad_encoding", name, "", f"not UTF-8: {error.reason}.")
        except (pa.ArrowException, ValueError, OverflowError) as error:
            return RowError("bad_value", name, "", f"cannot be read: {error}.")
    return values


def _batches(path: Path, only: Container[str] | None) -> Iterator[Any]:
    import pyarrow as pa

    try:
        file, found = _opened(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _broken(path, error) from None

    wanted = []
    for field in found:
        if _is_plain(field.type) and (only is None or field.name in only):
            wanted.append(field.name)

    if hasattr(file, "iter_batches"):  # a parquet file
        for group in range(file.num_row_groups):
            yield from _of_group(path, file, group, wanted)
        return

    for number, batch in enumerate(_of_messages(path, file)):
        try:
            batch = batch.select(wanted)
            batch.validate(full=True)  # in a damaged file, offsets may point outside the buffers
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"{path}: batch {number}: {_short(error)}.") from None
        yield batch


def _of_group(path: Path, file: Any, group: int, wanted: list[str]) -> Iterator[Any]:
    """Yields the batches of one row group of a parquet file."""
    import pyarrow as pa

    about = file.metadata.row_group(group)
    bytes_per_row = max(1, about.total_byte_size // max(1, about.num_rows))
    size = min(_MAX_ROWS, max(1, _BATCH_BYTES // bytes_per_row))

    count = 0
    try:
        for batch in file.iter_batches(size, row_groups=[group], columns=wanted, use_threads=False):
            count += batch.num_rows
            yield batch
    except (pa.ArrowException, OSError, ValueError) as error:
        column = _bad_column(file, group, wanted)
        raise DataError(f"{path}: row group {group}{column}: {_short(error)}.") from None

    if count != about.num_rows:
        raise DataError(f"{path}: row group {group}: {count} rows, but {about.num_rows} in the footer.")


def _bad_column(file: Any, group: int, wanted: list[str]) -> str:
    """Names the first unreadable column of a row group, for a message; empty if each column can be read alone."""
    import pyarrow as pa

    for name in wanted:
        try:
            for _ in file.iter_batches(64, row_groups=[group], columns=[name], use_threads=False):
                pass
        except (pa.ArrowException, OSError, ValueError):
            return f", column {name!r}"
    return ""


def _of_messages(path: Path, file: Any) -> Iterator[Any]:
    """Yields the record batches of an Arrow file or stream."""
    import pyarrow as pa

    number = 0
    try:
        if hasattr(file, "num_record_batches"):
            for number in range(file.num_record_batches):
                yield file.get_batch(number)
        else:
            for batch in file:
                yield batch
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: batch {number}: {_short(error)}.") from None


def _opened(path: Path) -> tuple[Any, Any]:
    """Opens a file; returns its pyarrow reader and its schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Open the file with the reader for its format.
    form = form_of(path)
    if form == "parquet":
        # Without pre-buffering, a row group of gigabytes is read page by page.
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
        found = file.schema_arrow
    elif form == "file":
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        found = file.schema
    elif form == "stream":
        _check_end(path)
        file = pa.ipc.open_stream(pa.memory_map(str(path)))
        found = file.schema
    else:
        raise DataError(f"{path}: neither a parquet nor an Arrow file (judging by its first bytes).")

    # Check the columns before any of them is read.
    names = list(found.names)
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(
            f"{path}: column {duplicate!r} appears twice in the schema; column names must be unique."
        )
    for field in found:
        _check_field(path, field, field.name)
    return file, found


def _check_end(path: Path) -> None:
    """Checks the end marker of an Arrow stream; without it, a stream truncated between two batches would go unnoticed."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read(8)
    if tail != _END:
        raise DataError(f"{path}: the stream has no end marker, so it is truncated; copy the file again.")


def _check_field(path: Path, field: Any, place: str) -> None:
    """Raises `DataError` for extension types in a column or its inner fields; `place` is the dotted name of the field."""
    import pyarrow as pa

    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        name = kind.extension_name
    if name and name not in _HARMLESS:
        has_pickle = "py_extension" in name or "pickle" in name
        why = "it contains a pickle, which runs code" if has_pickle else "unknown"
        raise DataError(
            f"{path}: column {place!r}: extension type {name!r} is refused ({why}); store the column as plain values."
        )

    if pa.types.is_dictionary(kind) or name:
        return
    for index in range(kind.num_fields):
        inner = kind.field(index)
        _check_field(path, inner, f"{place}.{inner.name}")


def _is_plain(kind: Any) -> bool:
    """Whether an Arrow type consists of texts, bytes, numbers, and lists or structs of these."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if types.is_struct(kind):
        return all(_is_plain(kind.field(index).type) for index in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)

    texts = (types.is_string, types.is_large_string, types.is_string_view)
    data = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return any(check(kind) for check in (*texts, *data, *numbers))


def _broken(path: Path, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(f"{path}: incomplete {form_of(path) or 'file'}: {_short(error)}; copy it again.")


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
