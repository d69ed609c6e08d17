"""The Cauldron and FineVision: parquet files with columns for the images and the turns of conversations.

What matters when building vision-language models? (Laurencon et al. 2024, arXiv:2405.02246); FineVision: Open Data Is
All You Need (Wiedmann et al. 2025, arXiv:2510.17269). The images are put before the first turn. Rating columns hold one
number per pair of turns (or per row); with ``min_quality``, turns with lower ratings are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import arrow_files, table_columns, table_layouts
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.source import FilesConfig


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = _files(path)
    if not found or not table_layouts.is_turns(arrow_files.columns(found[0])):
        return ""
    return f"images and texts of user and assistant in {among([file.name for file in found])}"


def _files(path: Path) -> list[Path]:
    return [file for file in files(path, ".parquet", ".pq") if not file.name.lower().startswith("metadata.")]


@config
class Config(FilesConfig):
    """A folder with parquet files, a folder with one such folder per part of the collection, or one file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one conversation per table row."""
        root = Path(self.path).expanduser()
        layouts = table_layouts.Layouts()
        found = _files(root)
        if not found:
            raise DataError(f"{root}: no parquet files found.")

        for file in found:
            name = table_layouts.split_below(file, root)
            if split and name and name != split:
                continue

            types = {field.name: str(field.type) for field in arrow_files.schema(file)}
            for column in ("images", "texts"):
                if column not in types:
                    raise DataError(f"{file}: no column {column!r}; the columns are {', '.join(types)}.")
            layouts.check(file, name, types)

            label = file.name if file == root else file.relative_to(root).as_posix()
            yield from _read_file(file, label, name)


def _read_file(file: Path, label: str, split: str) -> Iterator[Row]:
    part = label.rpartition("/")[0]
    for number, cells in arrow_files.rows(file):
        try:
            if isinstance(cells, RowError):
                raise cells
            if cells["texts"] is None:
                raise RowError("missing_field", "texts", None, "is null; a row needs at least one turn.")
            images = table_columns.images({"images": cells["images"]}, f"{label}#{number}")
            values = table_columns.fields(cells, num_images=len(images))
        except RowError as error:
            yield Row(number, error, str(file))
            continue

        values["images"] = images
        values.setdefault("id", f"{label}#{number}")
        kind = part or values["tags"].get("source")
        if kind:
            values["tags"].setdefault("type", kind)
        if split:
            values.setdefault("split", split)
        yield Row(number, values, str(file))
