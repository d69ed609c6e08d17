"""Captions in a table with the columns ``filepath`` and ``title``, as used for training with OpenCLIP.

OpenCLIP (Cherti et al. 2022, arXiv:2212.07143). Columns are separated by tabs or commas; other columns are not read.
Absolute paths must be below the image root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import tsv_files
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.table_layouts import split_below

_DELIMITERS = ("\t", ",")


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".tsv", ".csv") if _delimiter(file)]
    return f"filepath and title in {among(found)}" if found else ""


def _delimiter(file: Path) -> str:
    """The delimiter of a table with the columns ``filepath`` and ``title``; empty for other files."""
    for delimiter in _DELIMITERS:
        if {"filepath", "title"} <= set(tsv_files.head(file, delimiter)):
            return delimiter
    return ""


@config
class Config(FilesConfig):
    """A folder with images and a table of captions, or the path of the table."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per table row."""
        root = Path(self.path).expanduser()
        delimiters: dict[Path, str] = {}
        for file in files(root, ".tsv", ".csv"):
            if delimiter := _delimiter(file):
                delimiters[file] = delimiter
        if not delimiters:
            raise DataError(
                f"{root}: no .tsv or .csv found with the columns filepath and title in its first line."
            )

        image_root = f"{self.pictures().root}/"
        for file, delimiter in delimiters.items():
            name = split_below(file, root)
            if not split or not name or name == split:
                yield from _read_table(file, delimiter, name, image_root)


def _read_table(file: Path, delimiter: str, split: str, image_root: str) -> Iterator[Row]:
    for record in tsv_files.records(file, delimiter):
        cells = record.cells
        if isinstance(cells, RowError):
            yield Row(record.line, cells, str(file))
            continue

        image = cells.get("filepath")
        values = {
            "image": image.removeprefix(image_root) if image is not None else None,
            "caption": cells.get("title"),
        }
        if split:
            values["split"] = split
        yield Row(record.line, values, str(file))
