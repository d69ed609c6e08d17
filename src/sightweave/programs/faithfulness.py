"""Tests whether explanations are true of a model: do they point at the evidence, and does it matter what they point at?

Pointing and energy compare a map with the object that the question names: Top-down Neural Attention by Excitation Backprop
(Zhang et al. 2016, arXiv:1608.00507) and Score-CAM (Wang et al. 2019, arXiv:1910.01279). Deletion and insertion remove or
restore places in the order of their values: RISE (Petsiuk et al. 2018, arXiv:1806.07421). Each is computed for simple maps
too, which know nothing of the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sightweave.answers.attribution.question import Inputs, Question
from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.core.types import Region, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs import explanation, generation
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.statistics import Estimate

MEASURES = (
    "pointing",
    "energy",
    "deletion_grey",
    "deletion_mean",
    "insertion_grey",
    "insertion_mean",
)
"""Names of what is measured. Pointing, energy and insertion are better if they are high, deletion if it is low."""
CONTROLS = ("random", "centre", "edges")
"""Names of the maps that know nothing of the model."""
_COVERED = 0.1
"""Share of a place that the object must cover so that pointing at the place counts as right."""
_STEPS = 16
"""Maximum number of steps in which places are removed or restored."""
_ROWS = 32
"""Number of inputs in one forward pass."""


@dataclass(frozen=True)
class Trial:
    """A question whose evidence is known."""

    sample: Sample
    answer: str
    """The model's own answer, which is right."""
    covered: np.ndarray
    """float64, rows x columns: the share of each place of the image that the object covers."""


@dataclass(frozen=True)
class Faithfulness:
    """How true the explanations of each method are, over all trials."""

    methods: Mapping[str, Mapping[str, Estimate]]
    """The mean of each of `MEASURES` with its 95 % interval over images, by method, followed by the `CONTROLS`."""
    gains: Mapping[str, Estimate]
    """By method, the difference between its pointing and that of the best control on the same images."""
    best_control: str
    """The control that points at the object most often."""
    refused: Mapping[str, str]
    """The methods that cannot explain this model, each with the reason."""
    trials: int
    """Number of questions."""
    left_out: Mapping[str, int]
    """Number of samples left out, by reason."""

    def verdict(self, method: str) -> str:
        """One sentence: whether a method points at the object more often than the best control."""
        if method in self.refused:
            return f"{method} cannot explain this model: {self.refused[method]}."
        pointing, control = self.methods[method]["pointing"], self.methods[self.best_control]["pointing"]
        than = f"the {self.best_control} map ({pointing.value:.0%} and {control.value:.0%})"
        if self.gains[method].low > 0:
            return f"{method} points at the object more often than {than}."
        return f"{method} does not point at the object more often than {than}."


def measure(
    model: VLM,
    processor: Processor,
    samples: Sequence[Sample],
    methods: Sequence[str] = (),
    *,
    most: int = 100,
    seed: int = 0,
) -> Faithfulness:
    """Measures the faithfulness of methods on questions about one object in an image.

    A question counts if it names exactly one region of its image, the image has no tiles, and the model answers it right.

    Args:
        model: The model, which is not changed.
        processor: The model's own processor.
        samples: Samples with regions and references.
        methods: Kinds in ``answers/explainers``; empty means all.
        most: Maximum number of questions.
        seed: Random seed of the random map.

    Raises:
        DataError: No question counts.
        RecipeError: There is no such method.
    """
    for method in methods:
        catalog.module(explanation.FAMILY, method)
    trials, left_out = trials_of(model, processor, samples, most)
    if not trials:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"explain: no question to test on among {len(samples)} samples ({reasons}); give data with regions, such as "
            "scenes, that the model answers."
        )

    rows: dict[str, list[list[float]]] = {}
    refused: dict[str, str] = {}
    for number, trial in enumerate(trials):
        question = explanation.question_of(model, processor, trial.sample, trial.answer)
        maps = _controls(question, np.random.default_rng([seed, number]))
        for method in methods or catalog.kinds(explanation.FAMILY):
            if method in refused:
                continue
            explainer = explanation.make(method)
            reason = explainer.refusal(question)
            if reason:
                refused[method] = reason
                continue
            values = explainer.attribute(question).media[0].detach().double().cpu().numpy()
            maps[method] = values.reshape(trial.covered.shape)
        for name, values in maps.items():
            rows.setdefault(name, []).append(_measured(question, values, trial.covered))

    return _summary(trials, rows, refused, left_out)


def _summary(
    trials: Sequence[Trial],
    rows: Mapping[str, list[list[float]]],
    refused: Mapping[str, str],
    left_out: Mapping[str, int],
) -> Faithfulness:
    """The means of all measures, from one row of them for each trial."""
    groups = [trial.sample.group or trial.sample.id for trial in trials]
    arrays = {name: np.array(found) for name, found in rows.items()}
    order = [*[name for name in arrays if name not in CONTROLS], *CONTROLS]
    best = max(CONTROLS, key=lambda name: float(arrays[name][:, 0].mean()))

    gains = {}
    for name in order[: -len(CONTROLS)]:
        first, second = (_counted(arrays[one][:, 0]) for one in (name, best))
        gains[name] = statistics.paired_difference(first, second, groups, _Mean(True).total, is_share=True)
    return Faithfulness(
        methods={name: _estimates(arrays[name], groups) for name in order},
        gains=gains,
        best_control=best,
        refused=refused,
        trials=len(trials),
        left_out=left_out,
    )


@dataclass
class _Mean:
    """The mean of values from 0 to 1, for intervals."""

    is_proportion: bool

    def total(self, sums: np.ndarray) -> np.ndarray:
        found: np.ndarray = sums[..., 0] / sums[..., 1]
        return found


def _counted(values: np.ndarray) -> np.ndarray:
    """Rows of a mean: each value with a 1."""
    return np.stack([values, np.ones_like(values)], axis=1)


def _estimates(values: np.ndarray, groups: Sequence[str]) -> dict[str, Estimate]:
    """The mean of each measure with its interval, from a row for each trial."""
    found = {}
    for column, name in enumerate(MEASURES):
        estimate = statistics.score(_Mean(name == "pointing"), _counted(values[:, column]), groups)
        assert estimate is not None  # there is at least one trial, and all measures have bounds
        found[name] = estimate
    return found


def trials_of(
    model: VLM, processor: Processor, samples: Sequence[Sample], most: int
) -> tuple[list[Trial], dict[str, int]]:
    """The questions with known evidence that the model answers right, and the number of others by reason.

    Args:
        model: The model.
        processor: The model's own processor.
        samples: Samples, of which as many are read as are needed.
        most: Maximum number of trials.
    """
    trials: list[Trial] = []
    left_out: Counter[str] = Counter()
    for sample in samples:
        if len(trials) == most:
            break
        region = evidence(sample)
        if region is None or len(processor.images.pieces(sample.media[0])) > 1:
            left_out["without one object that the question names"] += 1
            continue
        (said,) = generation.generate(model, processor, [sample])
        if said.text.strip().casefold() not in [one.strip().casefold() for one in sample.references]:
            left_out["answered wrong"] += 1
            continue
        trials.append(Trial(sample, said.text, _covered(model, processor, sample, region)))
    return trials, dict(left_out)


def evidence(sample: Sample) -> Region | None:
    """The region that a question is about: the only one with the most words of the prompt; None if there is none."""
    if len(sample.media) != 1 or sample.media[0].modality != "image":
        return None

    asked = set(re.findall(r"\w+", sample.prompt.lower()))
    counts = [len(asked & {word.lower() for word in region.words}) for region in sample.regions]
    highest = max(counts, default=0)
    if highest == 0 or counts.count(highest) > 1:
        return None
    return sample.regions[counts.index(highest)]


def _covered(model: VLM, processor: Processor, sample: Sample, region: Region) -> np.ndarray:
    """The share of each place of the encoder's grid that a region's box covers, rows x columns."""
    info = processor.images.info(sample.media[0])
    left, top, right, bottom = processor.images.transform.place(region.box, info.width, info.height)
    _, rows, columns = model.encoder.grid()
    return np.outer(_overlap(top, bottom, rows), _overlap(left, right, columns))


def _overlap(low: float, high: float, count: int) -> np.ndarray:
    """The share of each of `count` equal parts of the interval from 0 to 1 that lies between two fractions."""
    edges = np.linspace(0, 1, count + 1)
    inside = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    share: np.ndarray = np.clip(inside, 0, None) * count
    return share


def _controls(question: Question, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The maps that know nothing of the model, each rows x columns."""
    (seen,) = question.media
    rows, columns = seen.shape
    down, across = np.linspace(-1, 1, rows)[:, None], np.linspace(-1, 1, columns)[None]

    light = seen.values.detach().double().cpu().numpy().mean(0)
    steps = np.hypot(*np.gradient(light))
    edges = np.bincount(seen.cells.cpu().numpy().ravel(), steps.ravel(), minlength=rows * columns)
    return {
        "random": random.random((rows, columns)),
        "centre": np.exp(-2 * (down**2 + across**2)),
        "edges": edges.reshape(rows, columns),
    }


def _measured(question: Question, values: np.ndarray, covered: np.ndarray) -> list[float]:
    """All `MEASURES` of one map of an image."""
    best = np.unravel_index(int(values.argmax()), values.shape)
    positive = np.clip(values, 0, None)
    total = float(positive.sum())
    # A map without positive values points nowhere: its energy is that of a map with the same value everywhere.
    energy = float((positive * covered).sum()) / total if total > 0 else float(covered.mean())

    found = [float(covered[best] >= _COVERED), energy]
    for removes in (True, False):
        found += [area(question, values, removes=removes, are_features=one) for one in (False, True)]
    return found


@torch.no_grad()
def area(question: Question, values: np.ndarray, *, removes: bool, are_features: bool) -> float:
    """The mean probability of the answer while places are removed or restored in the order of their values.

    Args:
        question: A question about one medium.
        values: The value of each place; the largest comes first.
        removes: Whether to remove places from the medium, rather than to restore them to an empty one.
        are_features: Whether places are filled with the mean of the features rather than with grey.

    Returns:
        The area below the curve of probabilities, from 0 to 1.
    """
    full, empty = question.own(are_features=are_features), question.absent(are_features=are_features)
    (start,), (end,) = (full.media, empty.media) if removes else (empty.media, full.media)
    order = torch.from_numpy(np.argsort(-values, axis=None, kind="stable"))
    count = len(order)
    steps = sorted({round(step) for step in np.linspace(0, count, min(count, _STEPS) + 1)})

    inputs = []
    for step in steps:
        is_changed = torch.zeros(count, dtype=torch.bool)
        is_changed[order[:step]] = True
        where = is_changed[:, None] if are_features else is_changed[question.media[0].cells.cpu()]
        inputs.append(Inputs([torch.where(where.to(start.device), end, start)], full.words, are_features))

    chances: list[float] = []
    for first in range(0, len(inputs), _ROWS):
        chances += question.probabilities(inputs[first : first + _ROWS]).tolist()
    return float(np.trapezoid(chances, np.array(steps) / count))
