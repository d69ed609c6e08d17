"""The passes of an evaluation with their samples and answers, and how a task parses and scores the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sightweave.answers.writers._base import Completing
from sightweave.core.types import Likelihood, Medium, Prediction, Sample

SIGHTED = "image"
"""Name of the pass in which samples are unchanged, with their images."""
IMAGE_TOKENS = "image_tokens"
"""Name of the writer whose images come from the model."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the samples, or over those to which a control applies; all mappings are keyed by sample number."""

    samples: Mapping[int, Sample]
    """Samples given to the model; in a control, the modified ones."""
    predictions: Mapping[int, Prediction]
    parsed: Mapping[int, str | None]
    """Answer that the task parsed from each prediction; None if it could not be parsed."""
    judged: Mapping[int, Mapping[str, Likelihood]]
    """Likelihoods of texts as answers to each sample, by text."""

    def asked(self, numbers: Sequence[int]) -> list[int]:
        """Those of the given samples that this pass includes."""
        return [number for number in numbers if number in self.samples]

    def answers(self, numbers: Sequence[int]) -> list[str | None]:
        """The parsed answers to the given samples."""
        return [self.parsed[number] for number in numbers]

    def pictures(self, numbers: Sequence[int]) -> list[Any]:
        """The images of the answers to the given samples: the prompt's with new words, or a drawing; None without one.

        A picture of a sign that the model wrote is only a piece of such an image.
        """
        found = []
        for number in numbers:
            answer = self.predictions[number]
            is_whole = answer.drawing is None and answer.images
            found.append(answer.images[0] if is_whole else answer.picture)
        return found

    def likelihoods(self, number: int, texts: Sequence[str]) -> list[Likelihood]:
        """The likelihoods of texts as answers to one sample; empty if this pass does not include the sample."""
        if number not in self.judged:
            return []
        return [self.judged[number][text] for text in texts]


@dataclass(frozen=True, slots=True)
class Task:
    """One task of an evaluation: how its answers are parsed and scored."""

    name: str
    parse: Callable[[str], str | None]
    metrics: Mapping[str, Any]
    """Metrics by name; the first one gives the score."""
    writers: Mapping[str, Completing] = field(default_factory=dict)
    """Writers that draw the image of an answer, by name; the first one is the task's own, whose images are scored."""

    @property
    def first(self) -> str:
        """Name of the metric that gives the score."""
        return next(iter(self.metrics))

    def completed(self, prediction: Prediction, sample: Sample) -> Prediction:
        """The prediction with its image by the task's own writer, which is drawn only when it is needed."""
        for writer in self.writers.values():
            return writer.complete(prediction, sample)
        return prediction

    def images(self, prediction: Prediction, sample: Sample) -> dict[str, Callable[[], Any]]:
        """For each writer that can make an image of an answer, a function that returns it."""
        found: dict[str, Callable[[], Any]] = {}
        for name, writer in self.writers.items():
            one = writer.complete(replace(prediction, drawing=None, regions=()), sample)
            is_written = name != IMAGE_TOKENS or bool(prediction.images)
            if one.drawing is not None and one.regions and is_written:
                found[name] = partial(_picture_of, one)
        if not found and prediction.images:  # a drawing, which is not set into another image
            found[IMAGE_TOKENS] = partial(_picture_of, replace(prediction, drawing=None))
        return found

    def judging(self, name: str) -> list[Any]:
        """The metrics that need likelihoods in a pass; the metric that gives the score needs them in every pass."""
        return [
            metric
            for other, metric in self.metrics.items()
            if is_of_likelihoods(metric) and (name in metric.passes or other == self.first)
        ]


def _picture_of(prediction: Prediction) -> Any:
    return prediction.picture


@dataclass(frozen=True, slots=True)
class Asked:
    """The samples, answers and baselines of an evaluation, shared by all of its tasks."""

    samples: Sequence[Sample]
    sighted: Pass
    asked: Mapping[str, Pass]
    """Passes of the controls, by name."""
    majority: Mapping[str, str]
    """Most frequent training answer for each ``task/type``."""
    neighbours: Sequence[str | None]
    """Answer of the nearest training prompt to each sample."""
    seed: int
    notes: list[str]
    """Notes for the reader, to which tasks add."""

    @property
    def passes(self) -> dict[str, Pass]:
        """All passes by name, starting with the one with the images."""
        return {SIGHTED: self.sighted, **self.asked}

    def chosen(self, numbers: Sequence[int]) -> list[Sample]:
        """The samples with the given numbers."""
        return [self.samples[number] for number in numbers]

    def groups(self, numbers: Sequence[int]) -> list[str]:
        """The group (image) of each given sample."""
        return [self.samples[number].group for number in numbers]

    def types(self, numbers: Sequence[int]) -> list[str]:
        """The question type of each given sample."""
        return [type_of(self.samples[number]) for number in numbers]


def is_of_likelihoods(metric: Any) -> bool:
    """Whether a metric is a `LikelihoodMetric`."""
    return hasattr(metric, "candidates")


def is_of_pictures(metric: Any) -> bool:
    """Whether a metric is a `PictureMetric`."""
    return bool(getattr(metric, "of_pictures", False))


def type_of(sample: Sample) -> str:
    """The question type of a sample; empty if it has none."""
    return sample.tags.get("type", "")


def target_image(sample: Sample) -> Medium | None:
    """The reference image of a sample; None if it has none."""
    return sample.target_image or next(iter(sample.pictures), None)
