"""What every data set gives: records by number, grouped by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol, TypeGuard

from pydantic import PositiveFloat

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.tasks._base import COMMON, Record, task_of_class

__all__ = ["Dataset", "Record", "SourceConfig", "SplitConfig", "is_record", "task_of", "texts_of"]
_TEXTS = (
    "prompt",
    "question",
    "rationale",
    "source",
    "captions",
    "answers",
    "options",
    "targets",
    "references",
)
"""Fields that come first among a record's texts, in this order."""
_NO_TEXTS = (*COMMON, "source_language", "target_language")


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
    """A source's share of the mix; the base of every dataset's ``Config``."""

    weight: PositiveFloat | None = None
    """Weight of the source in the mix, relative to the other sources. Give all sources a weight, or none."""
    epochs: PositiveFloat = 1.0
    """Passes over this source per epoch of a mix without weights; 0.5 uses half of its images."""


class SplitConfig(Protocol):
    """The face of every data set's ``Config``."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: the one to train on first, the held-out ones after it."""
        ...

    def build(self, *, split: str) -> Any:
        """The data set of one split."""
        ...


def is_record(value: Any) -> TypeGuard[Record]:
    """Whether an object is a record of some task."""
    return bool(task_of_class(type(value)))


def task_of(record: Record) -> str:
    """The task's name: that of the file in ``data/tasks`` whose ``Record`` this is, or a user's module by its dotted path.

    Raises:
        DataError: no task's file defines such a record.
    """
    name = task_of_class(type(record))
    if not name:
        raise DataError(
            f"a {type(record).__name__} of the module {type(record).__module__} is not a task's record; a task module "
            "needs a Config and a dataclass called Record."
        )
    return name


def texts_of(record: Record) -> Iterator[str]:
    """All texts of a record of any task, the words of its regions included."""
    names = [field.name for field in fields(record) if field.name not in _NO_TEXTS]
    for name in sorted(names, key=lambda one: _TEXTS.index(one) if one in _TEXTS else len(_TEXTS)):
        value = getattr(record, name)
        if value != "":
            yield from _texts_in(value)
    for region in record.regions:
        yield from region.words


def _texts_in(value: Any) -> Iterator[str]:
    """A text, or the texts of a list, of turns, or of lists of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts_in(one)
    elif hasattr(value, "content"):
        yield from _texts_in(value.content)
