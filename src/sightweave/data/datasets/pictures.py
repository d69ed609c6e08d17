"""A folder with pictures and nothing else: to ask a trained model about, or to have the doctor look at.

There is nothing to learn from it; with ``labelled: false`` each picture is a record without captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.datasets._folders import classes_below, is_bare, pictures_below
from sightweave.data.datasets._rows import Row
from sightweave.data.datasets._source import FilesConfig


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing, or anything else beside pictures."""
    if not path.is_dir() or not is_bare(path) or len(classes_below(path)) > 1:
        return ""
    return f"pictures only, such as {next(pictures_below(path))}"


@config
class Config(FilesConfig):
    """A folder with pictures, at any depth."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a picture, by name.

        Raises:
            DataError: answers are asked for, or there is no folder.
        """
        root = Path(self.path).expanduser()
        if self.labelled:
            raise DataError(
                f"{root}: holds pictures, but no captions, questions or answers, so there is nothing to learn or to "
                'score. Write a data.jsonl beside them, such as {"image": "1.jpg", "caption": "A dog."}, or say '
                "labelled: false to ask about them."
            )
        if not root.is_dir():
            raise DataError(f"{root}: no folder; name the one that holds the pictures.")
        for number, file in enumerate(pictures_below(root)):
            yield Row(number, {"id": file, "image": file}, str(root), ((str(root / file), 0),))
