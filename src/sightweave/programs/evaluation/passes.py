"""What an evaluation asked, pass by pass: the samples, what was said to them, and how a task reads and scores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightweave.core.types import Likelihood, Prediction, Sample

SIGHTED = "image"
"""The pass that shows each sample as it is."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the samples: what was said to those that it asked."""

    samples: Mapping[int, Sample]
    """By the number of the sample that each was made of."""
    predictions: Mapping[int, Prediction]
    parsed: Mapping[int, str | None]
    judged: Mapping[int, Mapping[str, Likelihood]]
    """How likely texts are as answers to a sample."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an evaluation: how answers are read and scored."""

    name: str
    parse: Callable[[str], str | None]
    metrics: Mapping[str, Any]
    """By name; the first one is the score."""

    @property
    def first(self) -> str:
        """Name of the metric that is the score."""
        return next(iter(self.metrics))

    def judging(self, name: str) -> list[Any]:
        """Metrics that need likelihoods in a pass; the score needs its own in every one."""
        return [
            made
            for other, made in self.metrics.items()
            if is_of_likelihoods(made) and (name in made.passes or other == self.first)
        ]


@dataclass(frozen=True, slots=True)
class Asked:
    """What all tasks share."""

    samples: Sequence[Sample]
    sighted: Pass
    asked: Mapping[str, Pass]
    majority: Mapping[str, str]
    neighbours: Sequence[str | None]
    seed: int
    notes: list[str]

    @property
    def passes(self) -> dict[str, Pass]:
        """All passes by name, the one with the images first."""
        return {SIGHTED: self.sighted, **self.asked}


def is_of_likelihoods(metric: Any) -> bool:
    """Whether a metric is a `LikelihoodMetric`."""
    return hasattr(metric, "candidates")


def type_of(sample: Sample) -> str:
    """The type of question that a sample is; empty where it has none."""
    return sample.tags.get("type", "")
