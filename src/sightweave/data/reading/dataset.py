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
"""Fields whose texts `texts_of` yields first, in this order."""
_NO_TEXTS = (*COMMON, "source_language", "target_language")


class Dataset(Protocol):
    """A sequence of images, where each item is the list of all records of one image.

    A dataset kind's ``Config`` has ``splits`` (names, training first) and ``build(split=...) -> Dataset``.
    """

    def __len__(self) -> int:
        """Number of images; an arbitrary large number if images are generated."""
        ...

    def __getitem__(self, index: int) -> Sequence[Record]:
        """All records of an image; they must be the same on every call and every machine."""
        ...

    def texts(self) -> Iterator[str]:
        """Yields texts that contain every word in the dataset, for training a tokenizer."""
        ...


@config
class SourceConfig:
    """Base class of every dataset's ``Config``, with the options for mixing several datasets (sources)."""

    weight: PositiveFloat | None = None
    """Sampling weight of the source relative to the other sources. Set a weight for all sources, or for none."""
    epochs: PositiveFloat = 1.0
    """Number of passes over this source per epoch of a mix without weights; 0.5 uses half of its images."""


class SplitConfig(Protocol):
    """The interface that every dataset's ``Config`` implements."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits: the training split first, then the held-out splits."""
        ...

    def build(self, *, split: str) -> Any:
        """Builds the dataset of one split."""
        ...


def is_record(value: Any) -> TypeGuard[Record]:
    """Whether an object is a record of any task."""
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
    """Names of the fields of a record class that may hold texts, starting with those in `_TEXTS`."""
    names = [field.name for field in fields(record_type) if field.name not in _NO_TEXTS]
    usual = [name for name in _TEXTS if name in names]
    return (*usual, *(name for name in names if name not in usual))


def _texts_in(value: Any) -> Iterator[str]:
    """Yields a value if it is a text, or all texts in nested lists and turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts_in(one)
    elif hasattr(value, "content"):
        yield from _texts_in(value.content)
