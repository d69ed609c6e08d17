"""What tasks share: their names, the fields of every record, and the choice of metrics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Protocol

from sightweave.core import catalog
from sightweave.core.config import one_of
from sightweave.core.types import Medium, Region

Metrics = tuple[Annotated[Any, one_of("answers.metrics")], ...]
"""Kinds in ``answers/metrics`` or mappings with their fields; the first one is the score."""


def scored_by(*kinds: str) -> Callable[[], Metrics]:
    """Returns a factory of these metrics with default settings: ``field(default_factory=scored_by("exact_match"))``."""

    def make() -> Metrics:
        return tuple(catalog.config_class("answers.metrics", kind)() for kind in kinds)

    return make


def trimmed(references: Iterable[str]) -> tuple[str, ...]:
    """References without white space at their ends, as `parse` removes it from answers."""
    return tuple(reference.strip() for reference in references)


class Record(Protocol):
    """The fields that the records of all tasks have; each task's file defines its own dataclass called ``Record``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """Unique id of the record in its dataset."""
        ...

    @property
    def images(self) -> tuple[Medium, ...]:
        """Images that the record is about: one, several, or none."""
        ...

    @property
    def group(self) -> str:
        """Name of the image that the record is about; empty means its images."""
        ...

    @property
    def split(self) -> str:
        """Name of the split: train, validation or test."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags by name, such as the type of the question or the languages."""
        ...

    @property
    def regions(self) -> tuple[Region, ...]:
        """Boxes with words."""
        ...


COMMON = ("id", "images", "group", "split", "tags", "regions")
"""Fields that the records of all tasks have."""


def task_name(module: str) -> str:
    """The name of a module's task: that of its file in this folder, or the dotted path of a user's own module."""
    package, _, name = module.rpartition(".")
    return name if package == __package__ else module


def task_of_class(kind: type) -> str:
    """The name of the task that a record class belongs to; empty if it belongs to none.

    A task's module has a ``Config``, and a record whose name is ``Record`` or ends with it.
    """
    for one in kind.__mro__:
        is_record = one.__name__.endswith("Record") and not one.__name__.startswith("_")
        if is_record and one.__module__ != __name__ and hasattr(sys.modules.get(one.__module__), "Config"):
            return task_name(one.__module__)
    return ""


def record_class(task: str) -> type | None:
    """The record class of a task; None if there is no such task.

    A user's own task must be imported already, as naming it in a recipe does. It is not imported here, because the name
    may come from a data file, and data must not decide which code runs.
    """
    is_ours = task in catalog.kinds("data.tasks")
    module = catalog.module("data.tasks", task) if is_ours else sys.modules.get(task)
    if module is None:
        return None

    for value in vars(module).values():
        if isinstance(value, type) and task_of_class(value) == task:
            return value
    return None
