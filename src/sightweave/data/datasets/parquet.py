"""Flat parquet or Arrow files with a column of pictures, as on the Hugging Face Hub and of lmms-lab's evaluation sets.

Datasets: A Community Library for Natural Language Processing (Lhoest et al. 2021, arXiv:2109.02846); LMMs-Eval (Zhang et
al. 2024, arXiv:2407.12772). A column holds structs of bytes and path, bytes, or paths; texts are captions, questions
with answers, or turns. Names of classes are taken from the file's own schema.
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
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = _files(path)
    if not found:
        return ""
    try:
        schema = arrow_files.schema(found[0])
    except DataError:  # reading it says what is wrong
        return f"{found[0].name}, which is unreadable"
    names = {field.name: str(field.type) for field in schema}
    # A parquet file of The Cauldron's layout has a kind of its own.
    is_other = table_layouts.is_turns(names) and found[0].suffix.lower() in (".parquet", ".pq")
    if (
        is_other
        or not table_layouts.image_columns(list(names))
        or not table_layouts.text_columns(list(names))
    ):
        return ""
    used = [*table_layouts.image_columns(list(names)), *table_layouts.text_columns(list(names))]
    return f"columns {', '.join(used)} in {among([file.name for file in found])}"


def recognise_pictures(path: Path) -> str:
    """The same for tables without texts, and for those whose pictures are in a column of an unknown name."""
    found = _files(path)
    names = arrow_files.columns(found[0]) if found else {}
    if _is_alone(names):
        return f"images only in {among([file.name for file in found])}"
    unread = table_layouts.picture_like(names)
    is_unknown = bool(unread) and not table_layouts.image_columns(list(names))
    if is_unknown and table_layouts.text_columns(list(names)):
        return f"images in columns not called image ({', '.join(unread)})"
    return ""


def _files(path: Path) -> list[Path]:
    """Files of rows that are no part of another format."""
    return [
        file
        for file in files(path, *arrow_files.SUFFIXES)
        if not file.name.lower().startswith("metadata.")  # of a folder of pictures
        and not (file.parent / "state.json").is_file()  # of a data set saved to disk
    ]


@config
class Config(FilesConfig):
    """A folder with parquet or Arrow files, or one of them."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per table row."""
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
            names = _checked(file, is_labelled=self.labelled)
            layouts.check(file, name, names)
            label = file.name if file == root else file.relative_to(root).as_posix()
            yield from table_columns.rows(file, label, name, _classes(file), convention)

    def to_check(self) -> FilesConfig:
        """Pictures alone are looked at, though nothing is written about them."""
        found = _files(Path(self.path).expanduser())
        return replace(self, labelled=False) if found and _is_alone(arrow_files.columns(found[0])) else self


def _is_alone(names: Mapping[str, str]) -> bool:
    """Whether a table holds the bytes of pictures, and no texts."""
    pictures = table_layouts.image_columns(list(names))
    return any("binary" in names[name] for name in pictures) and not table_layouts.text_columns(list(names))


def _classes(file: Path) -> dict[str, list[str]]:
    return table_layouts.class_names_of(arrow_files.schema(file).metadata)


def _checked(file: Path, *, is_labelled: bool) -> dict[str, str]:
    schema = arrow_files.schema(file)
    names = list(schema.names)
    if not table_layouts.image_columns(names):
        raise DataError(table_layouts.no_pictures(file, {field.name: str(field.type) for field in schema}))
    if is_labelled and not table_layouts.text_columns(names):
        raise DataError(
            f"{file}: no text column (caption, question, conversations), so there is nothing to train on or evaluate; the "
            f"columns are {', '.join(names)}. Set labelled: false to ask about the images."
        )
    return {field.name: str(field.type) for field in schema}
