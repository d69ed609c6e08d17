"""Captions in a table with the columns ``filepath`` and ``title``, as OpenCLIP trains from.

OpenCLIP (Cherti et al. 2022, arXiv:2212.07143). Tabs or commas; further columns are not read. A path that starts with
the root's own is taken as one below it; others that are absolute are refused.
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
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".tsv", ".csv") if _delimiter(file)]
    return f"filepath and title in {among(found)}" if found else ""


def _delimiter(file: Path) -> str:
    return next((one for one in _DELIMITERS if {"filepath", "title"} <= set(tsv_files.head(file, one))), "")


@config
class Config(FilesConfig):
    """A folder with such a table and the pictures, or the table."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per table row."""
        root = Path(self.path).expanduser()
        found = [(file, one) for file in files(root, ".tsv", ".csv") if (one := _delimiter(file))]
        if not found:
            raise DataError(
                f"{root}: no .tsv or .csv found with the columns filepath and title in its first line."
            )
        folder = str(self.pictures().root) + "/"
        for file, delimiter in found:
            name = split_below(file, root)
            if split and name and name != split:
                continue
            for record in tsv_files.records(file, delimiter):
                cells = record.cells
                if isinstance(cells, RowError):
                    yield Row(record.line, cells, str(file))
                    continue
                image = cells.get("filepath")
                values = {
                    "image": image.removeprefix(folder) if image is not None else None,
                    "caption": cells.get("title"),
                }
                if name:
                    values["split"] = name
                yield Row(record.line, values, str(file))
