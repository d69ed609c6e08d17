"""The user's own data: a folder with images and a ``data.jsonl`` (or CSV), or records given as Python objects.

Each row has ``image`` (or ``images``, a list, which may be empty) and one or more of these::

    caption | captions                                             (optional: prompt)
    question, answer | answers                                     (optional: options, rationale | steps, type)
    source, target | targets, source_language, target_language
    turns: [{role, content}]                                       (content: text, or a list of texts and image numbers)
    task: reading, signs                                           (optional: with_places)
    task: image_translation, signs, target_language                (optional: source_language, target_image)

where ``signs`` is a list of text regions in their plain-text form (``core/text_regions.py``); and optionally ``id``,
``split`` (train, validation, test), ``tags`` and ``regions``. In a CSV, a list is written as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightweave.core.config import build, config
from sightweave.core.errors import DataError
from sightweave.data.reading import row_files
from sightweave.data.reading.choice_columns import Convention, resolved
from sightweave.data.reading.dataset import Record, is_record
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.reader import Reader
from sightweave.data.reading.records import FIELDS
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import split_name
from sightweave.data.reading.table import Table

_TEXT_COLUMNS = {"caption", "captions", "question", "source", "turns", "signs"}
"""Columns of which every row has at least one."""


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    try:
        file = row_files.find(path)
        first = next(iter(row_files.read(file)), None)
    except DataError:
        return ""

    values = first.values if first is not None else None
    keys = set(values) & {*FIELDS, "signs"} if isinstance(values, dict) else set()
    is_ours = bool({"image", "images"} & keys) and bool(keys & _TEXT_COLUMNS)
    return f"rows with {', '.join(sorted(keys))} in {file.name}" if is_ours else ""


@config
class Config(FilesConfig):
    """A folder with images and a data.jsonl or data.csv (or any single .jsonl or .csv file), or the path of that file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields all rows; the split of a row is in its ``split`` column."""
        file = row_files.find(Path(self.path).expanduser())
        return _resolved(lambda: row_files.read(file))

    def reader(self, *, probe: bool = True) -> Reader:
        """Creates the reader: misspelt column names are errors, and images are not searched for in other folders."""
        file = row_files.find(Path(self.path).expanduser())
        root = Path(self.image_root).expanduser() if self.image_root is not None else file.parent
        if not root.is_dir():
            raise DataError(f"image_root {str(root)!r}: folder not found.")
        return Reader(self.rules(), str(file), folder=Folder(root, search=False), check=True, probe=probe)


def from_folder(path: str | Path, *, split: str = "train", **options: Any) -> Table:
    """Reads a dataset from a folder or a file of rows.

    Args:
        path: The folder, or the file of rows.
        split: Split to read.
        options: Fields of `Config`.

    Raises:
        DataError: As for `Config.build`.
    """
    return _config(path, options).build(split=split)


def from_records(
    records: Iterable[Mapping[str, Any] | Record], *, split: str = "train", **options: Any
) -> Table:
    """Makes a dataset from Python objects.

    The ``image`` of a dict may be a path, a data URL, base64, the bytes of a file, an array or a Pillow image. If the option
    `image_root` is given, paths are relative to that folder and must not leave it; otherwise, any path is accepted.

    Args:
        records: Rows as dicts, or records of the tasks.
        split: Split to read.
        options: Fields of `Config`.

    Raises:
        DataError: As for `Config.build`, or `records` is not a list.
    """
    if isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise DataError(f"records: expected a list of dicts or records (got {type(records).__name__}).")

    settings = _config("records", options)
    root = Path(settings.image_root).expanduser().resolve() if settings.image_root is not None else None
    reader = Reader(settings.rules(), "records", root=root, check=True)
    all_records = list(records)
    reader.read(_resolved(lambda: _object_rows(all_records)))
    return reader.finish(split_name(split))


def _config(path: str | Path, options: Mapping[str, Any]) -> Config:
    values = {name: str(one) if isinstance(one, Path) else one for name, one in options.items()}
    return build(Config, {**values, "path": str(path)}, where="own")


def _resolved(read: Callable[[], Iterator[Row]]) -> Generator[Row]:
    """Yields rows in which options are a list and answers are the texts of options, whichever columns held them.

    Args:
        read: Returns an iterator over the rows. It is called again if an answer is ambiguous, since only all rows together
            show how answers refer to options.
    """
    convention = Convention(lambda: (row.values for row in read() if isinstance(row.values, Mapping)))
    for row in read():
        if not isinstance(row.values, Mapping):
            yield row
            continue

        try:
            values: Any = resolved(row.values, convention)
        except RowError as error:
            values = error
        yield replace(row, values=values)


def _object_rows(records: Iterable[Any]) -> Iterator[Row]:
    for index, values in enumerate(records):
        if isinstance(values, Mapping) or is_record(values):
            yield Row(index, values)
        else:
            message = f"a record must be a dict or a task's Record (got {shown(values)})."
            yield Row(index, RowError("wrong_type", "", values, message))
