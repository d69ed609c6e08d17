"""A dataset saved to disk by the Hugging Face Datasets library: one folder per split, with Arrow streams.

Datasets: A Community Library for Natural Language Processing (Lhoest et al. 2021, arXiv:2109.02846). ``save_to_disk`` writes
a ``dataset_dict.json``, which lists the splits, and in the folder of each split a ``state.json``, which lists the files, and
a ``dataset_info.json`` with the features. Class numbers are converted to class names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import arrow_files, json_stream, table_columns, table_layouts
from sightweave.data.reading.file_names import among, split_of
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.source import FilesConfig


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    if path.is_file():
        is_part = path.name in ("dataset_dict.json", "state.json") or path.suffix == ".arrow"
        path = path.parent
        if not is_part:
            return ""
    if (path / "dataset_dict.json").is_file():
        names = [folder.name for folder in _split_folders(path)]
        return f"dataset_dict.json with {among(names) or 'no split'}"
    return "a saved dataset with state.json" if (path / "state.json").is_file() else ""


def _split_folders(path: Path) -> list[Path]:
    """The split folders in a saved dataset."""
    try:
        return sorted(one for one in path.iterdir() if (one / "state.json").is_file())
    except OSError:
        return []


def _object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DataError(f"{file}: file not found; save the dataset again with save_to_disk.")
    return dict(json_stream.members(file))


@config
class Config(FilesConfig):
    """The saved dataset's folder, the folder of one split, or an Arrow file in it."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per table row."""
        path = Path(self.path).expanduser()
        layouts = table_layouts.Layouts()
        root = path if path.is_dir() else path.parent
        convention = table_columns.convention(lambda: _all_files(root), _classes)

        for folder, name in _splits(root):
            if split and name and name != split:
                continue
            for file in _listed_files(folder):
                if path.suffix == ".arrow" and file != path:
                    continue

                names = {field.name: str(field.type) for field in arrow_files.schema(file)}
                if not table_layouts.image_columns(list(names)):
                    raise DataError(table_layouts.no_pictures(file, names))
                layouts.check(file, name, names)

                label = file.name if folder == root else f"{folder.name}/{file.name}"
                yield from table_columns.rows(file, label, name, _classes(file), convention)

    def pictures(self) -> Folder:
        """The folder that image paths are relative to, by default that of the saved dataset.

        Raises:
            DataError: The folder does not exist.
        """
        path = Path(self.path).expanduser()
        root = Path(self.image_root).expanduser() if self.image_root is not None else path
        root = root if root.is_dir() else root.parent
        if not root.is_dir():
            raise DataError(f"path {str(root)!r}: folder not found.")
        return Folder(root, search=True)


def _all_files(root: Path) -> Iterator[Path]:
    """Yields the Arrow files of all splits."""
    for folder, _ in _splits(root):
        yield from _listed_files(folder)


def _classes(file: Path) -> dict[str, list[str]]:
    """The class names of a file's columns, from ``dataset_info.json`` and the file's schema."""
    features = _object(file.parent / "dataset_info.json").get("features")
    metadata = arrow_files.schema(file).metadata
    return table_layouts.class_names(features) | table_layouts.class_names_of(metadata)


def _splits(root: Path) -> list[tuple[Path, str]]:
    """The folders of a saved dataset, each with the name of its split, or an empty name if the split is unknown."""
    listing = root / "dataset_dict.json"
    if not listing.is_file():
        name = _object(root / "state.json").get("_split")
        return [(root, split_of(Path(name if isinstance(name, str) else root.name)))]

    names = _object(listing).get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{listing}: 'splits' must be a list of names.")
    for name in names:
        if not (root / name / "state.json").is_file() or "/" in name or name == "..":
            raise DataError(
                f"{root}: split {name!r} is listed in dataset_dict.json, but has no folder with state.json."
            )
    return [(root / name, split_of(Path(name))) for name in names]


def _listed_files(folder: Path) -> list[Path]:
    """The Arrow files that a split folder's ``state.json`` lists.

    Raises:
        DataError: The listing is invalid, a listed file is missing, or rows are selected by an index.
    """
    state_file = folder / "state.json"
    state = _object(state_file)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{state_file}: rows are selected by an index; call flatten_indices() and save the dataset again."
        )

    names: list[str] = []
    for entry in state.get("_data_files") or ():
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or Path(name).name != name:
            names = []
            break
        names.append(name)
    if not names:
        raise DataError(f"{state_file}: '_data_files' must list the Arrow files in this folder.")

    for name in names:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: listed in state.json but missing; copy the folder again.")
    return [folder / name for name in names]
