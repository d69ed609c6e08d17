"""A folder with only images, for asking a trained model about them, or for checking them with ``data check``.

Such a folder cannot be used for training. With ``labelled: false``, each image becomes a record without captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading.image_folders import (
    all_below,
    check_format,
    class_of,
    classes_below,
    is_bare,
    pictures_below,
)
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.source import FilesConfig


def recognise(path: Path) -> str:
    """A short description of the images below a folder; empty if there are none, or if there are other files or classes."""
    if not path.is_dir() or not is_bare(path) or classes_below(path)[0]:
        return ""
    return f"images only, such as {next(all_below(path))}"


@config
class Config(FilesConfig):
    """A folder with images, which may be in subfolders."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per image, sorted by name.

        Raises:
            DataError: The folder does not exist, or rows must have answers (`labelled`).
        """
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; give the folder with the images.")
        if self.labelled:
            raise DataError(
                f"{root}: contains images, but no captions, questions or answers, so there is nothing to train on or "
                f"evaluate{_why_no_classes(root)}. Add a data.jsonl to the folder, with rows such as "
                '{"image": "1.jpg", "caption": "A dog."}, or set labelled: false to ask about them.'
            )

        for number, file in enumerate(all_below(root)):
            values: Any = {"id": file, "image": file}
            try:
                check_format(file)
            except RowError as error:
                values = error
            yield Row(number, values, str(root), ((str(root / file), 0),))

    def to_check(self) -> FilesConfig:
        """The config with which ``data check`` reads the source: without texts, only images are checked."""
        return replace(self, labelled=False)


def _why_no_classes(root: Path) -> str:
    """The reason, for a message, why subfolders are not used as classes; empty if there are no subfolders."""
    folders = {class_of(file) for file in pictures_below(root)} - {""}
    if not folders:
        return ""
    _, outside = classes_below(root)
    if len(folders) > 1:
        return f" ({outside} of them are not in a subfolder, so subfolders are not used as classes)"
    return " (a single subfolder is not used as a class)"
