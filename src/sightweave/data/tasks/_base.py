"""What tasks share: their names, what a record of any task has, and how they name their metrics."""

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
    """Makes these metrics with their default settings; for ``field(default_factory=scored_by("exact_match"))``."""

    def make() -> Metrics:
        return tuple(catalog.config_class("answers.metrics", kind)() for kind in kinds)

    return make


def trimmed(references: Iterable[str]) -> tuple[str, ...]:
    """References without white space at their ends: `parse` takes it off answers, so neither side may keep it."""
    return tuple(reference.strip() for reference in references)


class Record(Protocol):
    """What the records of all tasks have in common; a task's file defines its own, a dataclass called ``Record``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str:
        """Its name, different from those of all other records of the data."""
        ...

    @property
    def images(self) -> tuple[Medium, ...]:
        """What is asked about: one picture, several, or none."""
        ...

    @property
    def group(self) -> str:
        """Which picture it is about; empty means its images."""
        ...

    @property
    def split(self) -> str:
        """train, val or test."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """The question's type, languages and the like."""
        ...

    @property
    def regions(self) -> tuple[Region, ...]:
        """Boxes with words."""
        ...


COMMON = ("id", "images", "group", "split", "tags", "regions")
"""Fields that the records of all tasks have."""


def task_name(module: str) -> str:
    """The task that a module is: the name of its file in this folder, or the dotted path of a user's own module."""
    package, _, name = module.rpartition(".")
    return name if package == __package__ else module


def task_of_class(kind: type) -> str:
    """The task whose file defines a class as its record; empty where none does.

    A task's file holds a ``Config``, and its record is called ``Record``, or has a name that ends so.
    """
    for one in kind.__mro__:
        is_named = one.__name__.endswith("Record") and not one.__name__.startswith("_")
        if is_named and one.__module__ != __name__ and hasattr(sys.modules.get(one.__module__), "Config"):
            return task_name(one.__module__)
    return ""


def record_class(task: str) -> type | None:
    """The class of a task's records; None where there is no such task.

    A user's own task must be imported already, as naming it in a recipe does: its name may come from a data file, and no
    file says what is to be run.
    """
    is_ours = task in catalog.kinds("data.tasks")
    module = catalog.module("data.tasks", task) if is_ours else sys.modules.get(task)
    found = [] if module is None else [one for one in vars(module).values() if isinstance(one, type)]
    return next((one for one in found if task_of_class(one) == task), None)
