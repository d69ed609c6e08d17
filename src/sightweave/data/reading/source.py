"""The options that all datasets read from files have in common, and the code that reads them."""

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
    """Base class for the ``Config`` of datasets that are read from files, with their common options."""

    path: str
    """Path of the dataset's folder, or of one of its files."""
    image_root: str | None = None
    """Folder that contains all images, to which image paths are relative; by default derived from `path`."""
    split: str = ""
    """Split to assign all rows to (train, validation or test); empty keeps the splits of the files and rows."""
    tasks: tuple[str, ...] = ()
    """Tasks to keep; empty means all."""
    languages: tuple[str, ...] = ()
    """Languages (de) or language pairs (en-de) to keep; empty means all. Rows without a language are kept."""
    min_quality: Mapping[str, float] = field(default_factory=dict)
    """Minimum value for each rating column; rows or turns with a lower rating are skipped."""
    limit: PositiveInt | None = None
    """Maximum number of images per split, sampled by the hash of their names. A larger limit keeps the same images and adds
    more."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of images held out for testing, 0 to 1, if neither rows nor files specify splits."""
    validation: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of images held out for validation, 0 to 1. The default is a tenth (or `held_out`, if that is less), or none if
    rows or files specify splits. If they do but have no validation split, an explicit share is taken out of the training
    images."""
    strict: bool = False
    """Whether to stop at the first bad row. If not, bad rows are skipped, counted and logged."""
    max_bad: float = 0.01
    """Maximum share of bad rows, 0 to 1; with more, training does not start. With fewer than 1000 rows, ten bad rows are
    always allowed, but at most half of all rows."""
    quarantine_path: str | None = None
    """JSON lines file to which skipped rows are written with the reasons; overwritten each time."""
    labelled: bool = True
    """Whether rows must have answers. Set to false to ask a trained model questions without answers."""

    def __post_init__(self) -> None:
        validation = self.validation or 0.0
        if self.held_out + validation >= 1:
            raise ValueError(
                f"held_out {self.held_out:g} and validation {validation:g} leave nothing to train on; their sum "
                "must be less than 1"
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits: the training split first, then the held-out splits; any of them may be empty."""
        return SPLITS

    def rows(self, split: str) -> Iterator[Row]:
        """Yields the rows of a split, and possibly of others; an empty `split` means all. Implemented by each format."""
        raise NotImplementedError(type(self).__name__)

    def to_check(self) -> FilesConfig:
        """The config with which ``data check`` reads the source; formats override this to read images without texts too."""
        return self

    def pictures(self) -> Folder:
        """The folder in which images are found.

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
        """The options that filter rows and limit the number of bad ones."""
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
        """Creates the reader for the source; `probe` tells whether it checks image headers."""
        return Reader(self.rules(), self.path, folder=self.pictures(), probe=probe)

    def build(self, *, split: str) -> Table:
        """Reads the dataset of one split.

        Raises:
            DataError: There are no rows, all or too many rows are bad, or any row is bad and `strict` is set.
        """
        reader = self.reader()
        wanted = split_name(split)

        # Read the rows of all splits if they are all assigned to one split, if rows need no answers, or if a validation
        # split is taken out of the training split.
        needs_all = bool(self.split) or not self.labelled or self.validation is not None
        reader.read(self.rows("" if needs_all else wanted))

        return reader.finish(wanted)


def _root(path: Path) -> Path:
    """The folder of a dataset, given the path of the folder or of an annotation file, which may be in a subfolder."""
    root = path if path.is_dir() else path.parent
    inner = ("annotations", "questions", "raw", "annotation")
    return root.parent if not path.is_dir() and root.name.lower() in inner else root
