"""The options of every source that is read from files, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading.dataset import SourceConfig
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.reader import Reader
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.rules import Rules
from sightweave.data.reading.splits import SPLITS, split_name
from sightweave.data.reading.table import Table


@config
class FilesConfig(SourceConfig):
    """Options of every source read from files; the base of their ``Config``."""

    path: str
    """Path of the folder, or of one of its files."""
    image_root: str | None = None
    """Folder that image paths are relative to and may not leave; by default derived from `path`."""
    split: str = ""
    """Split to assign all rows to (train, validation or test); empty keeps the splits of the files and rows."""
    tasks: tuple[str, ...] = ()
    """Tasks to keep; empty means all."""
    languages: tuple[str, ...] = ()
    """Languages (de) or language pairs (en-de) to keep; empty means all. Rows without a language are kept."""
    min_quality: Mapping[str, float] = field(default_factory=dict)
    """Minimum value per rating column, which a row or a turn must reach to be kept."""
    limit: PositiveInt | None = None
    """Maximum images per split, sampled from the whole split by the hash of their names; a larger limit adds to them."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of images held out for testing where neither rows nor files name a split, 0 to 1."""
    validation: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of images held out for validation, 0 to 1. By default a tenth (or `held_out`, if that is less), and none
    where rows or files name splits. A number also takes this share out of the training images where rows or files name
    splits but no validation split."""
    strict: bool = False
    """Whether to stop at the first bad row. If not, bad rows are skipped, counted and logged."""
    max_bad: float = 0.01
    """Maximum share of bad rows, 0 to 1; with more, training does not start. Below 1000 rows, ten bad rows are allowed,
    up to half of them."""
    quarantine_path: str | None = None
    """File that lists the skipped rows with the reasons, as JSON lines; overwritten each time."""
    labelled: bool = True
    """Whether rows must have answers. Without, rows may be questions only, for asking a trained model."""

    def __post_init__(self) -> None:
        validation = self.validation or 0.0
        if self.held_out + validation >= 1:
            raise ValueError(
                f"held_out {self.held_out:g} and validation {validation:g} leave nothing to train on; their sum "
                "must be less than 1"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits: training first, then those held out; any of them may be empty."""
        return SPLITS

    def rows(self, split: str) -> Iterator[Row]:
        """Yields all rows of the format, or at least those of one split; empty means all splits."""
        raise NotImplementedError(type(self).__name__)

    def to_check(self) -> FilesConfig:
        """The source as the doctor reads it, which checks images even if there is nothing to train on."""
        return self

    def pictures(self) -> Folder:
        """The folder that image paths are relative to.

        Raises:
            DataError: The folder does not exist.
        """
        path = Path(self.path).expanduser()
        root = Path(self.image_root).expanduser() if self.image_root is not None else _root(path)
        if not root.is_dir():
            where = "image_root" if self.image_root is not None else "path"
            raise DataError(f"{where} {str(root)!r}: folder not found.")

        return Folder(root, search=True)

    def rules(self) -> Rules:
        """The options that concern its rows."""
        return Rules(
            split=self.split,
            tasks=self.tasks,
            languages=self.languages,
            min_quality=self.min_quality,
            limit=self.limit,
            held_out=self.held_out,
            validation=self.validation,
            strict=self.strict,
            max_bad=self.max_bad,
            quarantine_path=Path(self.quarantine_path) if self.quarantine_path is not None else None,
            labelled=self.labelled,
        )

    def reader(self, *, probe: bool = True) -> Reader:
        """The reader that checks its rows; `probe` is whether it checks image headers."""
        return Reader(self.rules(), self.path, folder=self.pictures(), probe=probe)

    def build(self, *, split: str) -> Table:
        """Reads the images of one split.

        Raises:
            DataError: There are no rows, all or too many rows are bad, or with `strict` any row is bad.
        """
        reader = self.reader()
        wanted = split_name(split)

        # All rows are needed where all belong to one split, where there are only questions, and where a validation
        # split is taken out of the training split.
        needs_all = bool(self.split) or not self.labelled or self.validation is not None
        reader.read(self.rows("" if needs_all else wanted))

        return reader.finish(wanted)


def _root(path: Path) -> Path:
    """The folder of a dataset; that of an annotation file is often one level below it."""
    root = path if path.is_dir() else path.parent
    inner = ("annotations", "questions", "raw", "annotation")
    return root.parent if not path.is_dir() and root.name.lower() in inner else root
