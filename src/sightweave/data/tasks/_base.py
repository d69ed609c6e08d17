"""Shared code of all tasks: the names of tasks, the common fields of records, and default metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Protocol

from sightweave.core import catalog
from sightweave.core.config import one_of
from sightweave.core.types import Medium, Region

Metrics = tuple[Annotated[Any, one_of("answers.metrics")], ...]
"""Type of a task's ``metrics`` setting: kinds in ``answers/metrics``, or mappings with their settings."""


def scored_by(*kinds: str) -> Callable[[], Metrics]:
    """Returns a default factory for a ``metrics`` field, which creates metrics of the given kinds with default settings."""

    def make() -> Metrics:
        return tuple(catalog.config_class("answers.metrics", kind)() for kind in kinds)

    return make


Writer = Annotated[Any, one_of("answers.writers")]
"""Type of a task's ``writer`` setting: a kind in ``answers/writers``, or a mapping with its settings."""


def written_by(kind: str) -> Callable[[], Writer]:
    """Returns a default factory for a ``writer`` field, which creates a writer of the given kind with default settings."""

    def make() -> Writer:
        return catalog.config_class("answers.writers", kind)()

    return make


def trimmed(references: Iterable[str]) -> tuple[str, ...]:
    """Removes white space around reference texts, because each task's ``parse`` removes it from answers too."""
    return tuple(reference.strip() for reference in references)


class Record(Protocol):
    """The interface of records: fields that every task's own ``Record`` dataclass has."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """Unique id of the record in its dataset."""
        ...

    @property
    def images(self) -> tuple[Medium, ...]:
        """Images that the record is about, if any."""
        ...

    @property
    def group(self) -> str:
        """Identifier by which records about the same images are grouped; empty derives it from the images."""
        ...

    @property
    def split(self) -> str:
        """Split of the record: train, validation or test."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags by name, such as the type of question or the languages."""
        ...

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions of the first image, each with a box and words."""
        ...


COMMON = ("id", "images", "group", "split", "tags", "regions")
"""Names of the fields that the records of all tasks have."""


def task_name(module: str) -> str:
    """The name of the task that a module defines: its file name in this folder, or the dotted path of a user's module."""
    package, _, name = module.rpartition(".")
    return name if package == __package__ else module


def task_of_class(kind: type) -> str:
    """The name of the task whose records have this class; empty if there is none.

    A module defines a task if it has a ``Config``, and a record class whose name is or ends with ``Record``.
    """
    for one in kind.__mro__:
        is_record = one.__name__.endswith("Record") and not one.__name__.startswith("_")
        if is_record and one.__module__ != __name__ and hasattr(sys.modules.get(one.__module__), "Config"):
            return task_name(one.__module__)
    return ""


def record_class(task: str) -> type | None:
    """The record class of a task; None if there is no such task.

    A user's own task must have been imported already, for instance because a recipe names it. It is not imported here,
    because the name may come from a data file, and data must not decide which code runs.
    """
    is_ours = task in catalog.kinds("data.tasks")
    module = catalog.module("data.tasks", task) if is_ours else sys.modules.get(task)
    if module is None:
        return None

    for value in vars(module).values():
        if isinstance(value, type) and task_of_class(value) == task:
            return value
    return None
