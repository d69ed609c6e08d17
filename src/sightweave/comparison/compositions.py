"""Compares compositions that were trained with one or more seeds each and answered the same samples.

For each task, every composition gets a mean with an interval over images and seeds, and its difference from the baseline,
tested over both (`statistics.crossed_difference`) and Holm-corrected over all differences.
"""

from __future__ import annotations

import itertools
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
"""Tolerance for a recomputed score, which may differ because numbers are added in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answers of one run."""

    where: str
    """The run's folder, for error messages."""
    evaluations: Sequence[Evaluation]
    """The evaluations of all splits, with their items."""
    metrics: Callable[[str], Sequence[Any]]
    """Function that returns the Configs of a task's metrics, given the task's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the tables: a task of one split, with a score for every composition."""

    name: str
    """Name of the task, followed by the split if there are several."""
    split: str
    task: str
    metric: str
    unit: str
    """``%`` for a share, which is shown multiplied by 100; otherwise the unit of the plain number."""
    samples: int
    pictures: int
    pictures_total: int | None = None
    """Number of images in the whole split, if the questions cover only a random part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one composition in one column."""

    mean: Estimate
    """Mean over the runs, with an interval over images and, with two runs or more, over seeds."""
    runs: tuple[float, ...]
    """Score of each run."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Mean scores of the controls and baselines over the runs, by name."""
    gain: float | None = None
    """Mean over the runs of the score minus that of the best control without the right image; None without controls."""
    uses_image: tuple[str, ...] = ()
    """Verdict for each run on its use of the image; see ``core/verdicts.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference between one composition and the baseline in one column."""

    composition: str
    against: str
    column: str
    difference: Estimate
    p: float
    """Two-sided p-value."""
    p_holm: float
    """The p-value, Holm-corrected over all differences of the table."""
    freedom: float | None
    """Degrees of freedom of Student's t; None if there is only one image."""
    detectable: float | None
    """Smallest true difference that is detected with 80 % power; None if there is only one image."""
    covers_seeds: bool
    """Whether both compositions have at least two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compositions:
    """Scores and differences of several compositions."""

    against: str
    """Name of the baseline composition."""
    columns: tuple[Column, ...]
    scores: Mapping[str, Mapping[str, Score]]
    """Scores by composition and column."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def side_by_side(compositions: Mapping[str, Sequence[Answered]], *, against: str) -> Compositions:
    """Computes means and differences of compositions whose runs all answered the same samples.

    Args:
        compositions: The runs of each composition, by its name.
        against: The composition that the others are compared with.

    Raises:
        DataError: two runs answered different samples or were scored by different metrics, or a run's answers do not
            give the score that its evaluation states.
    """
    columns = _columns(list(itertools.chain.from_iterable(compositions.values())))
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
    """The metric's statistics of every answer of every run, in one column."""

    def __init__(
        self, column: Column, compositions: Mapping[str, Sequence[Answered]], notes: list[str]
    ) -> None:
        self.column = column
        self.rows: dict[str, np.ndarray] = {}
        self.tasks: dict[str, list[TaskScores]] = {}

        # All other runs must have answered the same samples as the first one.
        first = next(iter(compositions.values()))[0]
        items = _items(first, column)
        self.groups = [item.group for item in items]
        self.types = [item.type for item in items]

        for name, runs in compositions.items():
            self.tasks[name] = [_task(run, column) for run in runs]
            found = []
            for run in runs:
                _check_samples(column, (first.where, items), (run.where, _items(run, column)))
                self.metric, rows = _scored(run, column, notes)
                found.append(rows)
            self.rows[name] = np.stack(found)

        self.best = float(getattr(self.metric, "best", 1.0))

    def score(self, name: str) -> Score:
        """The score of one composition."""
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

        # Scores of controls and verdicts come from the runs' own evaluations.
        tasks = self.tasks[name]
        gains, uses = [], []
        for task in tasks:
            uses.append(use_of_image(task.uses_image, needs_image=task.needs_image))
            if task.gain is not None:
                gains.append(task.gain.value)

        return Score(
            mean=mean,
            runs=tuple(map(float, each)),
            others=_others(tasks),
            gain=float(np.mean(gains)) if len(gains) == len(tasks) else None,
            uses_image=tuple(uses),
        )

    def difference(self, name: str, against: str) -> Difference:
        """The difference between a composition and the baseline; `p_holm` is not corrected yet."""
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
    """The columns for the tasks of all splits, which must be the same in every run.

    Raises:
        DataError: two runs have different tasks, or different metrics for a task.
    """
    first = runs[0]
    found = _scored_tasks(first)
    for run in runs[1:]:
        other = _scored_tasks(run)
        if other != found:
            here, there = set(found.items()), set(other.items())
            raise DataError(
                f"{first.where} and {run.where} cannot be compared: the first has {_listed(here - there)}, the second "
                f"{_listed(there - here)}. Evaluate both on the same data, with the same metric for each task."
            )

    several = len({split for split, _ in found}) > 1
    columns = []
    for evaluation in first.evaluations:
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
    """Maps each split and task to its metric."""
    found = {}
    for evaluation in run.evaluations:
        for task in evaluation.tasks:
            found[evaluation.split, task.task] = task.metric
    return found


def _listed(scored: set[tuple[tuple[str, str], str]]) -> str:
    lines = [f"{task} in {split or 'evaluation'} by {metric}" for (split, task), metric in scored]
    return ", ".join(sorted(lines)) or "nothing more"


def _task(run: Answered, column: Column) -> TaskScores:
    """The scores of a column's task in the run's own evaluation."""
    for evaluation in _of_split(run, column):
        for task in evaluation.tasks:
            if task.task == column.task:
                return task
    raise AssertionError(f"{column.name} is in every run, as `_columns` has checked")


def _of_split(run: Answered, column: Column) -> list[Evaluation]:
    return [one for one in run.evaluations if one.split == column.split]


def _others(tasks: Sequence[TaskScores]) -> dict[str, float]:
    """Mean scores of the baselines and controls that every run has."""
    values: dict[str, list[float]] = {}
    for task in tasks:
        for name, value in (("majority", task.majority), ("neighbour", task.neighbour)):
            if value is not None:
                values.setdefault(name, []).append(value)
        for name, estimate in task.controls.items():
            values.setdefault(name, []).append(estimate.value)

    return {name: float(np.mean(each)) for name, each in values.items() if len(each) == len(tasks)}


def _items(run: Answered, column: Column) -> list[Item]:
    """The samples of a column's task with the run's answers."""
    found: list[Item] = []
    for evaluation in _of_split(run, column):
        found += [item for item in evaluation.items if item.task == column.task]

    return found


def _check_samples(column: Column, first: tuple[str, list[Item]], other: tuple[str, list[Item]]) -> None:
    """Checks that two runs, each given as its folder and samples, answered the same samples in the same order.

    Raises:
        DataError: a sample is missing or differs.
    """
    (here, items), (there, others) = first, other
    why = f"{here} and {there} cannot be compared in {column.name}: "
    again = "Evaluate both on the same data (sightweave evaluate FOLDER)."
    if len(items) != len(others):
        raise DataError(f"{why}{len(items)} samples in the first and {len(others)} in the second. {again}")
    for number, (one, two) in enumerate(zip(items, others, strict=True), start=1):
        for name in ("id", "group", "type", "references"):
            if getattr(one, name) != getattr(two, name):
                raise DataError(
                    f"{why}sample {number} ({one.id!r}) differs: its {name} is {getattr(one, name)!r} in the first and "
                    f"{getattr(two, name)!r} in the second. {again}"
                )


def _scored(run: Answered, column: Column, notes: list[str]) -> tuple[Any, np.ndarray]:
    """The column's metric and its rows for the run's answers.

    Raises:
        DataError: the rows do not give the score in the run's evaluation, or the recipe does not list the metric.
    """
    known = {configs.kind_of(one): one for one in run.metrics(column.task)}
    if column.metric not in known:
        raise DataError(
            f"{run.where}: {column.name} was scored by {column.metric}, which its recipe does not list for "
            f"{column.task} (it lists {', '.join(known) or 'none'}). Run sightweave evaluate {run.where} again."
        )

    items = _items(run, column)
    metric, rows = rescored(known[column.metric], items)
    types = [item.type for item in items]
    score = float(statistics.mean_over_strata(rows[None], metric.total, types)[0])
    before = _task(run, column).score.value
    if math.isclose(score, before, rel_tol=_NEARLY, abs_tol=_NEARLY):
        return metric, rows

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
