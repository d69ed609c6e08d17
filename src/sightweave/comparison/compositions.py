"""Compositions beside one another: each was trained with one seed or several, and all answered the same samples.

Each task gets one mean per composition, with an interval over pictures and seeds, and one difference of every
composition to the baseline, tested over both (`statistics.crossed_difference`), Holm's over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sightweave.core import config as configs
from sightweave.core.errors import DataError
from sightweave.core.verdicts import use_of_image
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.passes import is_of_likelihoods
from sightweave.programs.evaluation.program import rescored
from sightweave.programs.evaluation.scores import Evaluation, Item, MetricFacts, TaskScores
from sightweave.programs.evaluation.statistics import Estimate

_NEARLY = 1e-6
"""What the order of adding may change in a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One run with what it answered."""

    where: str
    """Its folder, for messages."""
    evaluations: Sequence[Evaluation]
    """One per split, with their items."""
    metrics: Callable[[str], Sequence[Any]]
    """Configs of the metrics of a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One score of every composition: a task of one split."""

    name: str
    """The task, and the split where there are several."""
    split: str
    task: str
    metric: str
    unit: str
    """``%``: a share, to be shown times 100; else the unit of the plain number."""
    samples: int
    pictures: int
    pictures_total: int | None = None
    """Images of the whole split, where those that were asked about were drawn from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One composition in one column."""

    mean: Estimate
    """Over its runs, with an interval over pictures and, with two runs or more, over seeds."""
    runs: tuple[float, ...]
    """Of each run."""
    others: Mapping[str, float] = field(default_factory=dict)
    """What other ways to answer the same prompts reach, by the name of the control or baseline; means over the runs."""
    gain: float | None = None
    """Score minus that of the best control without the right image; mean over the runs, None where not asked."""
    uses_image: tuple[str, ...] = ()
    """What each run is shown to make of the image; see ``core/verdicts.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One composition less the baseline, in one column."""

    composition: str
    against: str
    column: str
    difference: Estimate
    p: float
    """Two-sided."""
    p_holm: float
    """Holm's over all differences of the table."""
    freedom: float | None
    """Degrees of freedom of Student's t; None with a single picture."""
    detectable: float | None
    """The smallest true difference that is found four times in five; None with a single picture."""
    covers_seeds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Compositions:
    """All that the runs of several compositions show beside one another."""

    against: str
    """The baseline."""
    columns: tuple[Column, ...]
    scores: Mapping[str, Mapping[str, Score]]
    """By composition and column."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def side_by_side(compositions: Mapping[str, Sequence[Answered]], *, against: str) -> Compositions:
    """Means and differences of compositions whose runs all answered the same samples.

    Args:
        compositions: Runs by the name of their composition.
        against: The composition that the others are compared with.

    Raises:
        DataError: two runs answered other samples or were scored by other metrics, or answers are not those of the
            scores beside them.
    """
    runs = [run for each in compositions.values() for run in each]
    columns = _columns(runs)
    notes: list[str] = []
    scores: dict[str, dict[str, Score]] = {name: {} for name in compositions}
    differences = []
    for column in columns:
        table = _Rows(column, compositions, notes)
        for name in compositions:
            scores[name][column.name] = table.score(name)
            if name != against:
                differences.append(table.difference(name, against))
    adjusted = statistics.holm([one.p for one in differences])
    return Compositions(
        against=against,
        columns=columns,
        scores=scores,
        differences=tuple(replace(one, p_holm=p) for one, p in zip(differences, adjusted, strict=True)),
        notes=tuple(dict.fromkeys(notes)),
    )


class _Rows:
    """What every answer of every run adds to one column."""

    def __init__(
        self, column: Column, compositions: Mapping[str, Sequence[Answered]], notes: list[str]
    ) -> None:
        self.column = column
        first = next(iter(compositions.values()))[0]
        items = _items(first, column)
        self.groups = [item.group for item in items]
        self.types = [item.type for item in items]
        self.rows: dict[str, np.ndarray] = {}
        self.tasks = {name: [_task(run, column) for run in runs] for name, runs in compositions.items()}
        for name, runs in compositions.items():
            found = []
            for run in runs:
                _check_samples(column, (first.where, items), (run.where, _items(run, column)))
                self.metric, rows = _scored(run, column, notes)
                found.append(rows)
            self.rows[name] = np.stack(found)
        self.best = float(getattr(self.metric, "best", 1.0))

    def score(self, name: str) -> Score:
        runs = self.rows[name]
        mean = statistics.crossed_mean(
            runs,
            self.groups,
            self.metric.total,
            strata=self.types,
            best=self.best,
            is_share=self.metric.is_proportion,
        )
        each = statistics.mean_over_strata(runs, self.metric.total, self.types)
        tasks = self.tasks[name]
        gains = [task.gain.value for task in tasks if task.gain is not None]
        return Score(
            mean=mean,
            runs=tuple(float(score) for score in each),
            others=_others(tasks),
            gain=float(np.mean(gains)) if len(gains) == len(tasks) else None,
            uses_image=tuple(use_of_image(one.uses_image, needs_image=one.needs_image) for one in tasks),
        )

    def difference(self, name: str, against: str) -> Difference:
        found = statistics.crossed_difference(
            self.rows[name],
            self.rows[against],
            self.groups,
            self.metric.total,
            strata=self.types,
            best=self.best,
            is_share=self.metric.is_proportion,
        )
        return Difference(
            composition=name,
            against=against,
            column=self.column.name,
            difference=found.difference,
            p=found.p_two_sided,
            p_holm=found.p_two_sided,
            freedom=_known(found.freedom),
            detectable=_known(found.detectable),
            covers_seeds=found.covers_seeds,
        )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _columns(runs: Sequence[Answered]) -> tuple[Column, ...]:
    """The tasks of all splits, which must be the same in every run."""
    found = _scored_tasks(runs[0])
    for run in runs[1:]:
        other = _scored_tasks(run)
        if other != found:
            here, there = ({*one.items()} for one in (found, other))
            raise DataError(
                f"{runs[0].where} and {run.where} cannot be compared: the first has {_said(here - there)}, the second "
                f"{_said(there - here)}. Evaluate both on the same data, with the same metric for each task."
            )
    several = len({split for split, _ in found}) > 1
    columns = []
    for evaluation in runs[0].evaluations:
        for task in evaluation.tasks:
            columns.append(
                Column(
                    name=f"{task.task} ({evaluation.split})" if several else task.task,
                    split=evaluation.split,
                    task=task.task,
                    metric=task.metric,
                    unit=task.facts.get(task.metric, MetricFacts()).unit,
                    samples=task.count,
                    pictures=task.pictures,
                    pictures_total=evaluation.pictures_total,
                )
            )
    return tuple(columns)


def _scored_tasks(run: Answered) -> dict[tuple[str, str], str]:
    """The metric of each task of each split."""
    return {(one.split, task.task): task.metric for one in run.evaluations for task in one.tasks}


def _said(scored: set[tuple[tuple[str, str], str]]) -> str:
    said = sorted(f"{task} in {split or 'evaluation'} by {metric}" for (split, task), metric in scored)
    return ", ".join(said) or "nothing more"


def _task(run: Answered, column: Column) -> TaskScores:
    """What a run's own evaluation found in a column."""
    return next(
        task
        for one in run.evaluations
        if one.split == column.split
        for task in one.tasks
        if task.task == column.task
    )


def _others(tasks: Sequence[TaskScores]) -> dict[str, float]:
    """Means of the baselines and controls that every run has."""
    found = []
    for task in tasks:
        baselines = {"majority": task.majority, "neighbour": task.neighbour}
        known = {name: value for name, value in baselines.items() if value is not None}
        found.append(known | {name: one.value for name, one in task.controls.items()})
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: float(np.mean([one[name] for one in found])) for name in names}


def _items(run: Answered, column: Column) -> list[Item]:
    return [
        item
        for one in run.evaluations
        if one.split == column.split
        for item in one.items
        if item.task == column.task
    ]


def _check_samples(column: Column, first: tuple[str, list[Item]], other: tuple[str, list[Item]]) -> None:
    (here, items), (there, others) = first, other
    told = f"{here} and {there} cannot be compared in {column.name}: "
    again = "Evaluate both on the same data (sightweave evaluate FOLDER)."
    if len(items) != len(others):
        raise DataError(f"{told}{len(items)} samples in the first and {len(others)} in the second. {again}")
    for number, (one, two) in enumerate(zip(items, others, strict=True), start=1):
        for name in ("id", "group", "type", "references"):
            if getattr(one, name) != getattr(two, name):
                raise DataError(
                    f"{told}sample {number} ({one.id!r}) differs: its {name} is {getattr(one, name)!r} in the first and "
                    f"{getattr(two, name)!r} in the second. {again}"
                )


def _scored(run: Answered, column: Column, notes: list[str]) -> tuple[Any, np.ndarray]:
    """A run's answers scored again by the metric of the column, which must give the score that it has."""
    known = {configs.kind_of(one): one for one in run.metrics(column.task)}
    if column.metric not in known:
        raise DataError(
            f"{run.where}: {column.name} was scored by {column.metric}, which its recipe does not list for "
            f"{column.task} (it lists {', '.join(known) or 'none'}). Run sightweave evaluate {run.where} again."
        )
    items = _items(run, column)
    metric, rows = rescored(known[column.metric], items)
    score = float(statistics.mean_over_strata(rows[None], metric.total, [item.type for item in items])[0])
    (before,) = (
        task.score.value
        for one in run.evaluations
        if one.split == column.split
        for task in one.tasks
        if task.task == column.task
    )
    if not math.isclose(score, before, rel_tol=_NEARLY, abs_tol=_NEARLY):
        if not is_of_likelihoods(known[column.metric].build()):
            raise DataError(
                f"{run.where}: its answers score {score:.6g} in {column.name}, but its evaluation has {before:.6g}; the "
                f"two files are from different evaluations. Run sightweave evaluate {run.where} to write both again."
            )
        notes.append(
            f"{column.name}: {column.metric} needs likelihoods, which are not stored, so the table shows the share of "
            "correct answers instead."
        )
    return metric, rows
