"""What every data set gives: records by number, grouped by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sightweave.data.tasks import captioning, reasoning, translation, vqa

Record = captioning.Record | vqa.Record | reasoning.Record | translation.Record


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


class SplitConfig(Protocol):
    """The face of every data set's ``Config``."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of its splits: the one to train on first, the held-out ones after it."""
        ...

    def build(self, *, split: str) -> Any:
        """The data set of one split."""
        ...


def task_of(record: Record) -> str:
    """The task's name: that of the file in ``data/tasks`` whose ``Record`` this is."""
    return type(record).__module__.rpartition(".")[2]
