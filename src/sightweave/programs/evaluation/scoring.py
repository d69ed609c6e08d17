"""From what was said to the scores of one task: rows of its metrics, estimates over images, and the verdict.

answers of every pass --metrics--> rows --statistics--> estimates, gains --verdict--> TaskScores
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from sightweave.answers.metrics import exact_match
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Prediction, Sample
from sightweave.programs.evaluation import calibration, statistics, verdict
from sightweave.programs.evaluation.passes import SIGHTED, Asked, Pass, Task, is_of_likelihoods, type_of
from sightweave.programs.evaluation.scores import MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate

_STAND_IN = "exact_match"
"""The score of a task whose own metrics cannot be computed; it needs nothing but references."""
_NEARLY = 1e-6
"""What rounding and smoothing may take from a perfect answer's score."""
_CURVE_POINTS = 101
"""Of a risk-coverage curve that is kept."""


_Rows = dict[int, np.ndarray]
"""What each answer adds (K), by the number of its sample."""
_Compared = TypeVar("_Compared")


def _score_rows(metric: Any, name: str, numbers: Sequence[int], common: Asked) -> _Rows:
    """Rows of the score in one pass."""
    done = common.passes[name]
    here = [number for number in numbers if number in done.parsed]
    if not is_of_likelihoods(metric):
        # A control may have changed the options, so its own samples count.
        return _rows_of(metric, here, [done.parsed[n] for n in here], done.samples)
    return _judged_rows(metric, here, [done], common)


def _further_rows(metric: Any, numbers: Sequence[int], common: Asked) -> _Rows:
    """Rows of any metric of a task, with all passes that it names."""
    if not is_of_likelihoods(metric):
        return _rows_of(metric, numbers, [common.sighted.parsed[n] for n in numbers], common.samples)
    absent = [name for name in metric.passes if name not in common.passes]
    if absent:
        raise DataError(f"it compares with the control {absent[0]}, which was not run.")
    return _judged_rows(metric, numbers, [common.passes[name] for name in metric.passes], common)


def _judged_rows(metric: Any, numbers: Sequence[int], passes: Sequence[Pass], common: Asked) -> _Rows:
    judged = []
    for number in numbers:
        texts = metric.candidates(common.sighted.parsed[number], common.samples[number])
        judged.append(
            [
                [done.judged[number][text] for text in texts] if number in done.judged else []
                for done in passes
            ]
        )
    found = metric.rows(judged, [common.samples[number] for number in numbers])
    return dict(zip(numbers, found, strict=True))


def _rows_of(
    metric: Any,
    numbers: Sequence[int],
    answers: Sequence[str | None],
    samples: Sequence[Sample] | Mapping[int, Sample],
) -> _Rows:
    found = metric.rows(list(answers), [samples[number] for number in numbers])
    return dict(zip(numbers, found, strict=True))


def scored(task: Task, common: Asked, *, is_alone: bool) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
    """The scores of a task, by the first of its metrics that can be computed.

    A tokenizer or a program may be missing, or a metric may not know the language. The answers and the other tasks are
    worth no less for it, so the next metric stands in as the score, or exact match where no other is named, and the
    notes say so.

    Raises:
        DataError: the metrics of the only task do not fit its samples.
    """
    known = {**task.metrics, _STAND_IN: task.metrics.get(_STAND_IN) or exact_match.ExactMatch()}
    waiting = [task.first, *(name for name in known if name != task.first and _can_be_score(known[name]))]
    failed: list[str] = []
    while True:
        name = waiting.pop(0)
        # What failed stays among the metrics, at their end, where it is "not computed" with its reason.
        order = dict.fromkeys((name, *(other for other in task.metrics if other not in failed), *failed))
        try:
            found = _task_scores(replace(task, metrics={one: known[one] for one in order}), common)
        except (DataError, BackendError) as error:
            failed.append(name)
            is_last = all(other not in task.metrics for other in waiting)
            if not waiting or (is_last and is_alone and isinstance(error, DataError)):
                raise
            continue
        if failed:
            common.notes.append(
                f"{task.name}: the score is {name}, because {' and '.join(failed)} could not be computed."
            )
        return found


def _can_be_score(metric: Any) -> bool:
    """Whether a metric can stand in as the score: more is better, and it was asked for in every pass."""
    return not getattr(metric, "less_is_better", False) and not is_of_likelihoods(metric)


@dataclass(frozen=True, slots=True)
class _Scoring:
    """The answers of one task as rows of its score, in every pass and for what needs no model."""

    task: Task
    common: Asked
    numbers: Sequence[int]
    """Of the task's samples."""
    pictured: frozenset[int]
    """Those that have a picture."""
    rows: Mapping[str, _Rows]
    """By the name of a pass."""
    of_texts: Any
    """The metric that can score a text that no model gave: the score's own, or exact match beside likelihoods."""
    baselines: Mapping[str, _Rows]
    """Rows of `of_texts`, by the name of a baseline."""
    majority: Mapping[str, str]
    """The most frequent answer by type of question."""
    right: Mapping[tuple[str, int], bool]
    """Whether an answer is fully right, by pass and sample."""
    broken: Mapping[str, str]
    """Why a control proves nothing."""

    @property
    def metric(self) -> Any:
        """The metric that is the score."""
        return self.task.metrics[self.task.first]

    @property
    def best(self) -> float:
        """The best possible score."""
        return float(getattr(self.metric, "best", 1.0))

    @property
    def usable(self) -> list[str]:
        """Controls that a gain may be taken over."""
        return [name for name in self.common.asked if name in verdict.CONTROLS and name not in self.broken]

    def estimate(self, name: str, chosen: Sequence[int]) -> Estimate:
        """The score of one pass over some samples: the unweighted mean over their types."""
        samples = self.common.samples
        stack = np.stack([self.rows[name][number] for number in chosen])
        if np.isnan(self.metric.total(stack.sum(0))):
            kind = type_of(samples[chosen[0]])
            raise DataError(
                f"{self.task.first}: none of {len(chosen)} answers of type {kind!r} ({self.task.name}) can be scored by "
                "it; list another metric first."
            )
        groups, kinds = [samples[n].group for n in chosen], [type_of(samples[n]) for n in chosen]
        found = statistics.score(self.metric, stack, groups, kinds)
        value = self.reached(name, chosen)
        return found or Estimate(value, min(0.0, value), max(self.best, value))  # nothing bounds it

    def gain(self, name: str, chosen: Sequence[int]) -> Estimate | None:
        """What the answers with the picture score above a control or a baseline, on the samples that have a picture."""
        return self._compared(statistics.paired_difference, name, chosen)

    def gain_p(self, name: str, chosen: Sequence[int]) -> float | None:
        """Two-sided p-value of that gain; it takes thousands of draws, which the gain and its interval do without."""
        test = self._compared(partial(statistics.paired_test, seed=self.common.seed), name, chosen)
        return None if test is None else test.p_two_sided

    def comparable(self, name: str, chosen: Sequence[int]) -> list[int]:
        """The samples on which answers with the picture can be compared with a control or a baseline."""
        here = [n for n in self.with_media(chosen) if name in self.baselines or n in self.rows[name]]
        # Types that training does not know have no majority answer.
        return [n for n in here if name not in self.baselines or n in self.baselines[name]]

    def reached(self, name: str, chosen: Sequence[int]) -> float:
        """The score of a pass or a baseline on some samples: the unweighted mean over their types."""
        rows = self.baselines[name] if name in self.baselines else self.rows[name]
        metric = self.of_texts if name in self.baselines else self.metric
        stack = np.stack([rows[number] for number in chosen])
        kinds = [type_of(self.common.samples[number]) for number in chosen]
        return float(statistics.mean_over_strata(stack[None], metric.total, kinds)[0])

    def leakage(self, name: str) -> Estimate | None:
        """What a control scores above the most frequent answer."""
        if self.of_texts is not self.metric or "majority" not in self.baselines:
            return None
        both = self.with_media(self.numbers)
        first, second = self.rows[name], self.baselines["majority"]
        return _paired(statistics.paired_difference, first, second, both, self.metric, self.common)

    def is_unread(self, name: str, number: int) -> bool:
        """Whether nothing could be read in an answer, by the task or by the metric."""
        done = self.common.passes[name]
        return not _is_read(self.metric, done.parsed[number], done.samples[number])

    def with_media(self, chosen: Sequence[int]) -> list[int]:
        """Those of some samples that have a picture."""
        return [number for number in chosen if number in self.pictured]

    def _compared(
        self, compare: Callable[..., _Compared], name: str, chosen: Sequence[int]
    ) -> _Compared | None:
        here = self.comparable(name, chosen)
        if name in self.baselines:
            ours, theirs, metric = self._rows_like_baselines(), self.baselines[name], self.of_texts
        else:
            ours, theirs, metric = self.rows[SIGHTED], self.rows[name], self.metric
        return _paired(compare, ours, theirs, here, metric, self.common)

    def _rows_like_baselines(self) -> _Rows:
        if self.of_texts is self.metric:
            return self.rows[SIGHTED]
        # Likelihoods have no text to compare, so right answers are compared with right answers.
        return {n: np.array([float(self.right[SIGHTED, n]), 1.0]) for n in self.numbers}


def _paired(
    compare: Callable[..., _Compared],
    first: _Rows,
    second: _Rows,
    chosen: Sequence[int],
    metric: Any,
    common: Asked,
) -> _Compared | None:
    """What `compare` finds of first and second on the samples that both have; None where there are none."""
    both = [number for number in chosen if number in first and number in second]
    if not both:
        return None
    return compare(
        np.stack([first[number] for number in both]),
        np.stack([second[number] for number in both]),
        [common.samples[number].group for number in both],
        metric.total,
        strata=[type_of(common.samples[number]) for number in both],
        best=float(getattr(metric, "best", 1.0)),
        is_share=metric.is_proportion,
    )


def _scoring(task: Task, common: Asked) -> _Scoring:
    """Scores every answer of one task."""
    samples, metric = common.samples, task.metrics[task.first]
    numbers = [number for number, sample in enumerate(samples) if sample.task == task.name]
    rows = {name: _score_rows(metric, name, numbers, common) for name in common.passes}

    # What needs no model: the most frequent answer, and that of the nearest training prompt.
    always = _majority_of(task.name, numbers, common)
    of_texts = exact_match.ExactMatch() if is_of_likelihoods(metric) else metric
    baselines = {}
    if answered := [n for n in numbers if type_of(samples[n]) in always]:
        texts = [always[type_of(samples[n])] for n in answered]
        baselines["majority"] = _rows_of(of_texts, answered, texts, samples)
    if any(common.neighbours[n] is not None for n in numbers):
        near = [common.neighbours[n] for n in numbers]
        baselines["neighbour"] = _rows_of(of_texts, numbers, near, samples)

    best = float(getattr(metric, "best", 1.0))
    right: dict[tuple[str, int], bool] = {}
    for name, each in rows.items():
        if each:
            found = metric.total(np.stack(list(each.values()))) >= best - _NEARLY
            right.update(((name, n), is_right) for n, is_right in zip(each, found.tolist(), strict=True))
    return _Scoring(
        task=task,
        common=common,
        numbers=numbers,
        pictured=frozenset(number for number in numbers if samples[number].media),
        rows=rows,
        of_texts=of_texts,
        baselines=baselines,
        majority=always,
        right=right,
        broken={} if of_texts is not metric else _broken(metric, numbers, common),
    )


def _broken(metric: Any, numbers: Sequence[int], common: Asked) -> dict[str, str]:
    """The controls of the image whose answers prove nothing, with the reason."""
    found = {}
    for name, done in common.asked.items():
        here = [n for n in numbers if n in done.predictions]
        is_read = [_is_read(metric, done.parsed[n], done.samples[n]) for n in here]
        why = verdict.broken([done.predictions[n] for n in here], is_read)
        if why and name in verdict.CONTROLS:
            found[name] = why
    return found


def _task_scores(task: Task, common: Asked) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
    """The scores of one task, and which answers were right by (pass, sample number)."""
    scoring = _scoring(task, common)
    samples = common.samples

    # A metric may compare rows across types (consistency does), so each is asked once for the whole task.
    told: dict[str, _Rows] = {task.first: scoring.rows[SIGHTED]}
    for name, made in task.metrics.items():
        if name == task.first:
            continue
        try:
            told[name] = _further_rows(made, scoring.numbers, common)
        except (DataError, BackendError) as error:
            why = str(error).removeprefix(f"{name}: ").removeprefix("not computed: ")
            common.notes.append(f"{task.name}: {name} was not computed: {why}")

    kinds = sorted({type_of(samples[number]) for number in scoring.numbers})
    types = tuple(_type_scores(scoring, kind, told) for kind in kinds)
    scores = _summary(scoring, types, told)

    here = [samples[number] for number in scoring.numbers]
    answers = [common.sighted.parsed[number] for number in scoring.numbers]
    facts = {name: _facts(made, told.get(name), here, answers) for name, made in task.metrics.items()}
    sure = None
    if scoring.metric.is_proportion and not is_of_likelihoods(scoring.metric):
        said = [common.sighted.predictions[number] for number in scoring.numbers]
        right = [scoring.right[SIGHTED, number] for number in scoring.numbers]
        sure = _calibration(said, right, [sample.group for sample in here])
    return replace(scores, facts=facts, calibration=sure), dict(scoring.right)


def _type_scores(scoring: _Scoring, kind: str, told: Mapping[str, _Rows]) -> TypeScores:
    """The scores of one type of question."""
    common, samples = scoring.common, scoring.common.samples
    chosen = [number for number in scoring.numbers if type_of(samples[number]) == kind]
    here = [samples[number] for number in chosen]
    options = [len(sample.options) for sample in here]
    near = scoring.baselines.get("neighbour")

    seen = {control: [n for n in chosen if n in done.parsed] for control, done in common.asked.items()}
    controls = {control: scoring.estimate(control, some) for control, some in seen.items() if some}
    over = _best_of(controls, scoring.usable)
    gain = scoring.gain(over, chosen) if over else None

    metrics = {
        other: _of_metric(made, told[other], chosen, samples) if other in told else None
        for other, made in scoring.task.metrics.items()
    }
    return TypeScores(
        type=kind,
        count=len(chosen),
        pictures=len({sample.group for sample in here}),
        correct=sum(scoring.right[SIGHTED, number] for number in chosen),
        unparsed=sum(scoring.is_unread(SIGHTED, number) for number in chosen),
        score=scoring.estimate(SIGHTED, chosen),
        chance=float(np.mean([1 / count for count in options])) if all(options) else None,
        majority=_majority_score(scoring, kind, chosen),
        majority_answer=scoring.majority.get(kind, ""),
        neighbour=None if near is None else _total(scoring.of_texts, near, chosen),
        controls=controls,
        gain=gain,
        gain_over=over if gain is not None else "",
        metrics=metrics,
    )


def _best_of(controls: Mapping[str, Estimate], usable: Sequence[str]) -> str:
    """The usable control that scores highest; empty where there is none."""
    found = [name for name in usable if name in controls]
    return max(found, key=lambda name: controls[name].value, default="")


def _of_metric(metric: Any, rows: _Rows, chosen: Sequence[int], samples: Sequence[Sample]) -> Estimate | None:
    """A further metric of some answers; None where none of them counts for it, or its interval has no bounds."""
    if not chosen:
        return None
    stack = np.stack([rows[number] for number in chosen])
    return statistics.score(
        metric, stack, [samples[n].group for n in chosen], [type_of(samples[n]) for n in chosen]
    )


def _counted(
    metric: str, types: Sequence[TypeScores], numbers: Sequence[int], samples: Sequence[Sample]
) -> list[int]:
    """The samples of those types that have the metric."""
    known = {kind.type for kind in types if kind.metrics[metric] is not None}
    return [number for number in numbers if type_of(samples[number]) in known]


def _facts(
    metric: Any, rows: _Rows | None, samples: Sequence[Sample], answers: Sequence[str | None]
) -> MetricFacts:
    """What is known of a metric; of one that was not computed (no rows), only what it is."""
    totals: dict[str, float] = {}
    if rows is not None and hasattr(metric, "totals"):
        found = metric.totals(np.stack(list(rows.values())).sum(0))
        totals = {name: float(value) for name, value in found.items() if np.isfinite(value)}
    if rows is not None and hasattr(metric, "reads"):
        unread = [not _is_read(metric, *both) for both in zip(answers, samples, strict=True)]
        totals["unread"] = sum(unread) / len(unread)
    return MetricFacts(
        less_is_better=bool(getattr(metric, "less_is_better", False)),
        unit=str(getattr(metric, "unit", "%")),
        signature=str(metric.signature(samples)) if rows is not None and hasattr(metric, "signature") else "",
        totals=totals,
    )


def _is_read(metric: Any, answer: str | None, sample: Sample) -> bool:
    """Whether an answer says anything that the metric can read; one that the task could not parse never does."""
    return answer is not None and (not hasattr(metric, "reads") or bool(metric.reads(answer, sample)))


def _calibration(
    said: Sequence[Prediction], right: Sequence[bool], groups: Sequence[str]
) -> calibration.Calibration | None:
    """Whether confidence goes with being right; None where some confidence is not known."""
    if any(one.logprob is None or not np.isfinite(one.logprob) for one in said):
        return None
    found = calibration.calibration(calibration.confidences(said), np.array(right), groups=groups)
    return replace(found, curve=calibration.thinned(found.curve, _CURVE_POINTS))


def _total(metric: Any, rows: _Rows, chosen: Sequence[int]) -> float | None:
    """The score of some answers; None where none of them counts."""
    score = float(metric.total(np.stack([rows[number] for number in chosen]).sum(0)))
    return None if np.isnan(score) else score


def _majority_of(task: str, numbers: Sequence[int], common: Asked) -> dict[str, str]:
    """What to say always, by type of question: what training answered most often.

    A type that training does not know has none: taken from the very samples that are scored, the most frequent answer
    would have seen what is asked.
    """
    kinds = sorted({type_of(common.samples[number]) for number in numbers})
    known = {name: common.majority[f"{task}/{name}"] for name in kinds if f"{task}/{name}" in common.majority}
    unknown = [name for name in kinds if name not in known]
    if unknown:
        which = f" of {', '.join(unknown[:3])}{' and more' if len(unknown) > 3 else ''}" if known else ""
        common.notes.append(
            f"{task}: the majority answer{which} is unknown, because there are no training answers to count."
        )
    return known


def _majority_score(scoring: _Scoring, kind: str, chosen: Sequence[int]) -> float | None:
    """What always giving the most frequent training answer scores on one type; None where there is none."""
    if kind not in scoring.majority:
        return None
    return _total(scoring.of_texts, scoring.baselines["majority"], chosen) or 0.0


def _summary(scoring: _Scoring, types: tuple[TypeScores, ...], told: Mapping[str, _Rows]) -> TaskScores:
    """The task as a whole: unweighted means over its types, and whether it uses the image."""
    common, task, numbers = scoring.common, scoring.task, scoring.numbers
    samples = common.samples
    pictures = len({samples[number].group for number in numbers})

    # Types share pictures, so their mean is estimated from all rows at once, not from the types' intervals.
    seen = {name: [n for n in numbers if n in done.parsed] for name, done in common.asked.items()}
    controls = {name: scoring.estimate(name, some) for name, some in seen.items() if some}
    metrics = {
        name: _of_metric(made, told[name], _counted(name, types, numbers, samples), samples)
        if name in told
        else None
        for name, made in task.metrics.items()
    }
    detectable = statistics.detectable(
        scoring.metric,
        np.stack([scoring.rows[SIGHTED][number] for number in numbers]),
        [samples[number].group for number in numbers],
        [type_of(samples[number]) for number in numbers],
    )

    # What the picture is worth, over each way to answer without looking at it.
    ways = [*(name for name in scoring.usable if name in controls), *scoring.baselines]
    gains = {name: gain for name in ways if (gain := scoring.gain(name, scoring.numbers)) is not None}
    over = _best_of(controls, [name for name in gains if name in verdict.CONTROLS])
    found = _verdict(scoring, gains)

    return TaskScores(
        task=task.name,
        metric=task.first,
        count=sum(kind.count for kind in types),
        pictures=pictures,
        correct=sum(kind.correct for kind in types),
        unparsed=sum(kind.unparsed for kind in types),
        score=scoring.estimate(SIGHTED, numbers),
        chance=_mean_of_all([kind.chance for kind in types]),
        majority=_mean_of_all([kind.majority for kind in types]),
        neighbour=_mean_of_all([kind.neighbour for kind in types]),
        detectable=detectable,
        controls=controls,
        gain=gains.get(over),
        gain_over=over,
        gain_p=scoring.gain_p(over, scoring.numbers) if over else None,
        gains=gains,
        broken=scoring.broken,
        leakage=scoring.leakage(over) if over else None,
        metrics=metrics,
        uses_image=found.word,
        needs_image=found.needs_image,
        sentence=found.sentence,
        types=types,
    )


def _verdict(scoring: _Scoring, gains: Mapping[str, Estimate]) -> verdict.Verdict:
    """Whether this task's answers come from the picture."""
    samples = scoring.common.samples
    sighted = scoring.with_media(scoring.numbers)

    rivals = []
    for name, gain in gains.items():
        # Of the same samples as the gain, so that the numbers of the sentence add up.
        here = scoring.comparable(name, scoring.numbers)
        is_asked = name in scoring.common.asked
        unread = sum(scoring.is_unread(name, n) for n in here) / len(here) if is_asked else 0.0
        reached = scoring.reached(name, here)
        rivals.append(verdict.Rival(name=name, score=reached, gain=gain, unreadable=unread))

    # Where training names no answer to these types, nothing is more frequent than another.
    known = scoring.comparable("majority", scoring.numbers) if "majority" in scoring.baselines else []

    return verdict.judge(
        scoring.task.name,
        scoring.reached(SIGHTED, sighted) if sighted else None,
        rivals,
        scoring.broken,
        pictures=len({samples[number].group for number in sighted}),
        best=scoring.best,
        prior=scoring.reached("majority", known) if known else 1.0,
        open_share=verdict.left_open(samples[number] for number in sighted),
    )


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
