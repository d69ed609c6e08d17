"""The interface of every dataset: records by index, grouped by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Protocol, TypeGuard

from pydantic import PositiveFloat

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.tasks._base import COMMON, Record, task_of_class

__all__ = ["Dataset", "Record", "SourceConfig", "SplitConfig", "is_record", "task_of", "texts_of"]
_TEXTS = (
    *("prompt", "question", "rationale", "source", "captions", "answers"),
    *("options", "targets", "references"),
)
"""Fields that come first among the texts of a record, in this order."""
_NO_TEXTS = (*COMMON, "source_language", "target_language")


class Dataset(Protocol):
    """A sequence of images, each with all of its records.

    A kind's ``Config`` has ``splits`` (names, training first) and ``build(split=...) -> Dataset``.
    """

    def __len__(self) -> int:
        """Number of images; any large number if images are generated."""
        ...

    def __getitem__(self, index: int) -> Sequence[Record]:
        """All records of image ``index``; the same on every call and every machine."""
        ...

    def texts(self) -> Iterator[str]:
        """Yields texts that contain every word of the dataset, to train a tokenizer on."""
        ...


@config
class SourceConfig:
    """A source's share of the mix; the base of every dataset's ``Config``."""

    weight: PositiveFloat | None = None
    """Weight of the source in the mix, relative to the other sources. Give all sources a weight, or none."""
    epochs: PositiveFloat = 1.0
    """Passes over this source per epoch of a mix without weights; 0.5 uses half of its images."""


class SplitConfig(Protocol):
    """The interface of every dataset's ``Config``."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: training first, then those held out."""
        ...

    def build(self, *, split: str) -> Any:
        """Makes the dataset of one split."""
        ...


def is_record(value: Any) -> TypeGuard[Record]:
    """Whether an object is a record of some task."""
    return bool(task_of_class(type(value)))


def task_of(record: Record) -> str:
    """The name of a record's task: its file in ``data/tasks``, or the dotted path of a user's own module.

    Raises:
        DataError: The record's class is not defined in a task's module.
    """
    name = task_of_class(type(record))
    if not name:
        raise DataError(
            f"a {type(record).__name__} of the module {type(record).__module__} is not a task's record; a task module "
            "needs a Config and a dataclass called Record."
        )
    return name


def texts_of(record: Record) -> Iterator[str]:
    """Yields all texts of a record of any task, including the words of its regions."""
    for name in _text_fields(type(record)):
        value = getattr(record, name)
        if value != "":
            yield from _texts_in(value)

    for region in record.regions:
        yield from region.words


@cache
def _text_fields(record_type: type) -> tuple[str, ...]:
    """Names of the fields that may hold texts, the usual ones first."""
    names = [field.name for field in fields(record_type) if field.name not in _NO_TEXTS]
    usual = [name for name in _TEXTS if name in names]
    return (*usual, *(name for name in names if name not in usual))


def _texts_in(value: Any) -> Iterator[str]:
    """Yields a text, or the texts in nested lists and turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts_in(one)
    elif hasattr(value, "content"):
        yield from _texts_in(value.content)
