"""What every data set gives: records by number, grouped by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from pydantic import PositiveFloat

from sightweave.core.config import config
from sightweave.data.tasks import captioning, conversation, reasoning, translation, vqa

Record = captioning.Record | vqa.Record | reasoning.Record | translation.Record | conversation.Record
RECORDS = (captioning.Record, vqa.Record, reasoning.Record, translation.Record, conversation.Record)


class Dataset(Protocol):
    """A sequence of pictures, each with everything that is asked about it.

    A kind's ``Config`` has ``splits`` (names, training first) and ``build(split=...) -> Dataset``.
    """

    def __len__(self) -> int:
        """Number of pictures (a drawn world may say any large number)."""
        ...

    def __getitem__(self, index: int) -> Sequence[Record]:
        """All records about picture ``index``; the same on every call and every machine."""
        ...

    def texts(self) -> Iterator[str]:
        """Texts that hold every word of the data set: the tokenizer learns from them."""
        ...


@config
class SourceConfig:
    """How much of a mix a source is; the base of every data set's ``Config``."""

    weight: PositiveFloat | None = None
    """Share of the mix, beside the other sources' weights; all of them have one, or none."""
    epochs: PositiveFloat = 1.0
    """How often its pictures come within one epoch of a mix without weights; 0.5 means every second picture."""


class SplitConfig(Protocol):
    """The face of every data set's ``Config``."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: the one to train on first, the held-out ones after it."""
        ...

    def build(self, *, split: str) -> Any:
        """The data set of one split."""
        ...


VALIDATION = "validation"
"""The split that choices are made on: which recipe, which checkpoint, which threshold. No test split is used for them."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": "test",
    "testing": "test",
}
"""What rows, files and users call a split, and its one name here."""


def common_split(name: str) -> str:
    """The one name of a split: ``val``, ``valid`` and ``dev`` are ``validation``; any other name stays as it is."""
    return SPLIT_NAMES.get(name.strip().lower(), name)


def split_among(name: str, splits: Sequence[str]) -> str | None:
    """What a source calls the split that a user names: the same name, or another word for it; None where it has none."""
    if name in splits:
        return name
    return next((one for one in splits if common_split(one) == common_split(name)), None)


def is_for_choosing(split: str) -> bool:
    """Whether a split is there to choose recipes by, and so is no test."""
    return common_split(split).partition("_")[0] == VALIDATION


def task_of(record: Record) -> str:
    """The task's name: that of the file in ``data/tasks`` whose ``Record`` this is."""
    return type(record).__module__.rpartition(".")[2]


def texts_of(record: Record) -> Iterator[str]:
    """All texts of a record, the words of its regions included."""
    for name in ("prompt", "question", "rationale", "source"):
        if text := getattr(record, name, ""):
            yield text
    for name in ("captions", "answers", "options", "targets", "references"):
        yield from getattr(record, name, ())
    for turn in getattr(record, "turns", ()):
        yield from (piece for piece in turn.content if isinstance(piece, str))
    for region in record.regions:
        yield from region.words
