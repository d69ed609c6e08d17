"""What tasks share: how they name their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from sightweave.core import catalog
from sightweave.core.config import one_of

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
