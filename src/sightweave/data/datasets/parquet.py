"""Parquet or Arrow files with an image column, as on the Hugging Face Hub and in lmms-lab's evaluation sets.

Datasets: A Community Library for Natural Language Processing (Lhoest et al. 2021, arXiv:2109.02846); LMMs-Eval (Zhang et
al. 2024, arXiv:2407.12772). Images are bytes, paths, or structs of both; texts are captions, questions with answers, or
turns. Class names are read from the file's schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import arrow_files, table_columns, table_layouts
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.source import FilesConfig


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = _files(path)
    if not found:
        return ""
    try:
        schema = arrow_files.schema(found[0])
    except DataError:  # the error is reported when the rows are read
        return f"{found[0].name}, which is unreadable"

    # Parquet files with The Cauldron's layout are left to the kind ``cauldron``.
    types = {field.name: str(field.type) for field in schema}
    if table_layouts.is_turns(types) and found[0].suffix.lower() in (".parquet", ".pq"):
        return ""

    images = table_layouts.image_columns(list(types))
    texts = table_layouts.text_columns(list(types))
    if not images or not texts:
        return ""
    return f"columns {', '.join([*images, *texts])} in {among([file.name for file in found])}"


def recognise_pictures(path: Path) -> str:
    """A short description of tables without texts, or with an image column of unknown name; empty if there are none."""
    found = _files(path)
    types = arrow_files.columns(found[0]) if found else {}
    if _is_images_only(types):
        return f"images only in {among([file.name for file in found])}"

    unread = table_layouts.picture_like(types)
    is_unknown = bool(unread) and not table_layouts.image_columns(list(types))
    if is_unknown and table_layouts.text_columns(list(types)):
        return f"images in columns not called image ({', '.join(unread)})"
    return ""


def _files(path: Path) -> list[Path]:
    """The table files at or below a path that do not belong to another format."""
    found = []
    for file in files(path, *arrow_files.SUFFIXES):
        is_metadata = file.name.lower().startswith("metadata.")  # belongs to the kind imagefolder
        is_saved_dataset = (file.parent / "state.json").is_file()
        if not is_metadata and not is_saved_dataset:
            found.append(file)
    return found


@config
class Config(FilesConfig):
    """A folder with parquet or Arrow files, or one such file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per table row."""
        root = Path(self.path).expanduser()
        layouts = table_layouts.Layouts()
        found = _files(root)
        if not found:
            raise DataError(f"{root}: no parquet or Arrow files found ({', '.join(arrow_files.SUFFIXES)}).")

        convention = table_columns.convention(lambda: found, _classes)
        for file in found:
            name = table_layouts.split_below(file, root)
            if split and name and name != split:
                continue
            types = _column_types(file, is_labelled=self.labelled)
            layouts.check(file, name, types)
            label = file.name if file == root else file.relative_to(root).as_posix()
            yield from table_columns.rows(file, label, name, _classes(file), convention)

    def to_check(self) -> FilesConfig:
        """The config with which ``data check`` reads the source: without texts, only images are checked."""
        found = _files(Path(self.path).expanduser())
        if found and _is_images_only(arrow_files.columns(found[0])):
            return replace(self, labelled=False)
        return self


def _is_images_only(types: Mapping[str, str]) -> bool:
    """Whether a table, given the types of its columns, has image bytes but no texts."""
    images = table_layouts.image_columns(list(types))
    has_bytes = any("binary" in types[name] for name in images)
    return has_bytes and not table_layouts.text_columns(list(types))


def _classes(file: Path) -> dict[str, list[str]]:
    return table_layouts.class_names_of(arrow_files.schema(file).metadata)


def _column_types(file: Path, *, is_labelled: bool) -> dict[str, str]:
    """The type of each column of a file, by its name.

    Raises:
        DataError: There is no image column, or no text column although rows must have answers.
    """
    types = {field.name: str(field.type) for field in arrow_files.schema(file)}
    if not table_layouts.image_columns(list(types)):
        raise DataError(table_layouts.no_pictures(file, types))
    if is_labelled and not table_layouts.text_columns(list(types)):
        raise DataError(
            f"{file}: no text column (caption, question, conversations), so there is nothing to train on or evaluate; the "
            f"columns are {', '.join(types)}. Set labelled: false to ask about the images."
        )
    return types
