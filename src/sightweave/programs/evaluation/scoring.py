"""Scores the answers of one task: computes metric rows, estimates over images, and the verdict.

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
from sightweave.data.inputs import image_files
from sightweave.programs.evaluation import calibration, statistics, verdict
from sightweave.programs.evaluation.controls import COPIES
from sightweave.programs.evaluation.passes import (
    SIGHTED,
    Asked,
    Pass,
    Task,
    is_of_likelihoods,
    is_of_pictures,
    target_image,
)
from sightweave.programs.evaluation.scores import MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate

_STAND_IN = "exact_match"
"""Metric that gives the score if none of the task's own metrics can be computed; it needs only references."""
_NEARLY = 1e-6
"""Tolerance for a perfect score, which rounding and smoothing may lower."""
_CURVE_POINTS = 101
"""Number of points that are kept of a risk-coverage curve."""


_Rows = dict[int, np.ndarray]
"""Row (K statistics) that each answer adds to the sums of a metric, by sample number."""
_Right = dict[tuple[str, int], bool]
"""Whether each answer is right, by pass and sample number."""
_Compared = TypeVar("_Compared")


def _score_rows(metric: Any, name: str, numbers: Sequence[int], common: Asked) -> _Rows:
    """Rows of the score for the answers of one pass."""
    done = common.passes[name]
    here = done.asked(numbers)
    if is_of_likelihoods(metric):
        return _judged_rows(metric, here, [done], common)

    if is_of_pictures(metric):
        return _rows_of(metric, here, done.pictures(here), done.samples)

    # A control may have changed the options, so use the pass's own samples.
    return _rows_of(metric, here, done.answers(here), done.samples)


def _further_rows(metric: Any, numbers: Sequence[int], common: Asked) -> _Rows:
    """Rows of any metric of a task, over all passes that the metric names.

    Raises:
        DataError: the metric names a control that was not run.
    """
    if not is_of_likelihoods(metric):
        return _rows_in(metric, common.sighted, numbers, common)

    passes = []
    for name in metric.passes:
        if name not in common.passes:
            raise DataError(f"it compares with the control {name}, which was not run.")
        passes.append(common.passes[name])
    return _judged_rows(metric, numbers, passes, common)


def _rows_in(metric: Any, done: Pass, numbers: Sequence[int], common: Asked) -> _Rows:
    """Rows of a metric of answers or of their images, in one pass."""
    answers: Sequence[Any] = done.pictures(numbers) if is_of_pictures(metric) else done.answers(numbers)
    return _rows_of(metric, numbers, answers, common.samples)


def _judged_rows(metric: Any, numbers: Sequence[int], passes: Sequence[Pass], common: Asked) -> _Rows:
    """Rows of a likelihood metric."""
    judged = []
    for number in numbers:
        texts = metric.candidates(common.sighted.parsed[number], common.samples[number])
        judged.append([done.likelihoods(number, texts) for done in passes])

    found = metric.rows(judged, common.chosen(numbers))
    return dict(zip(numbers, found, strict=True))


def _rows_of(
    metric: Any,
    numbers: Sequence[int],
    answers: Sequence[Any],
    samples: Sequence[Sample] | Mapping[int, Sample],
) -> _Rows:
    """Rows of a metric that scores generated answers or drawn images."""
    found = metric.rows(list(answers), [samples[number] for number in numbers])
    return dict(zip(numbers, found, strict=True))


def _stacked(rows: _Rows, numbers: Sequence[int]) -> np.ndarray:
    """The rows of some samples as one array, R K."""
    return np.stack([rows[number] for number in numbers])


def _best(metric: Any) -> float:
    """The score of a perfect answer."""
    return float(getattr(metric, "best", 1.0))


def scored(task: Task, common: Asked, *, is_alone: bool) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
    """The scores of a task by the first of its metrics that can be computed, and which answers are right.

    A metric may need a tokenizer or program that is missing, or may not support the language. This does not invalidate
    the answers or the other tasks, so the next metric gives the score (exact match if no other is listed), with a note.

    Raises:
        DataError: the metrics of the only task do not fit its samples.
    """
    known = dict(task.metrics)
    known.setdefault(_STAND_IN, exact_match.ExactMatch())
    others = [name for name in known if name != task.first and _can_be_score(known[name])]
    waiting = [task.first, *others]
    failed: list[str] = []

    while True:
        name = waiting.pop(0)
        try:
            found = _task_scores(_with_score(task, known, name, failed), common)
            break
        except (DataError, BackendError) as error:
            failed.append(name)
            is_last = task.metrics.keys().isdisjoint(waiting)
            if not waiting or (is_last and is_alone and isinstance(error, DataError)):
                raise
            if is_of_pictures(task.metrics[task.first]):
                raise  # no metric of texts can replace it

    if failed:
        common.notes.append(
            f"{task.name}: the score is {name}, because {' and '.join(failed)} could not be computed."
        )
    return found


def _with_score(task: Task, known: Mapping[str, Any], name: str, failed: Sequence[str]) -> Task:
    """The task with another metric as its score.

    Metrics that failed stay at the end, where they are reported as "not computed" with the reason.
    """
    working = [other for other in task.metrics if other not in failed]
    order = dict.fromkeys([name, *working, *failed])
    return replace(task, metrics={one: known[one] for one in order})


def _can_be_score(metric: Any) -> bool:
    """Whether a metric can replace the score: higher is better, and it needs neither likelihoods nor images."""
    return not (
        getattr(metric, "less_is_better", False) or is_of_likelihoods(metric) or is_of_pictures(metric)
    )


@dataclass(frozen=True, slots=True)
class _Scoring:
    """The answers of one task as rows of its score, for every pass and every baseline."""

    task: Task
    common: Asked
    numbers: Sequence[int]
    """Numbers of the task's samples."""
    pictured: frozenset[int]
    """Numbers of the samples that have an image."""
    rows: Mapping[str, _Rows]
    """Rows of the score, by the name of the pass."""
    of_texts: Any
    """Metric that scores the baselines' texts: that of the score, or exact match if the score needs likelihoods."""
    baselines: Mapping[str, _Rows]
    """Rows of `of_texts`, by the name of the baseline."""
    majority: Mapping[str, str]
    """Most frequent answer, by question type."""
    right: _Right
    """Whether each answer has the full score."""
    broken: Mapping[str, str]
    """The reason why a control is inconclusive, by the control's name."""

    @property
    def metric(self) -> Any:
        """The metric that gives the score."""
        return self.task.metrics[self.task.first]

    @property
    def usable(self) -> list[str]:
        """Names of the controls over which a gain may be computed."""
        return [name for name in self.common.asked if name in verdict.CONTROLS and name not in self.broken]

    def estimate(self, name: str, chosen: Sequence[int]) -> Estimate:
        """The score of one pass on some samples: the unweighted mean over their question types.

        Raises:
            DataError: the metric can score none of the answers.
        """
        groups, types = self.common.groups(chosen), self.common.types(chosen)
        stack = _stacked(self.rows[name], chosen)
        if np.isnan(self.metric.total(stack.sum(0))):
            raise DataError(
                f"{self.task.first}: none of {len(chosen)} answers of type {types[0]!r} ({self.task.name}) can be scored "
                "by it; list another metric first."
            )

        found = statistics.score(self.metric, stack, groups, types)
        if found is not None:
            return found
        value = self.reached(name, chosen)
        return Estimate(value, min(0.0, value), max(_best(self.metric), value))  # the score has no bounds

    def controls(self, chosen: Sequence[int]) -> dict[str, Estimate]:
        """The scores of all controls that include any of these samples, by name."""
        found = {}
        for name, done in self.common.asked.items():
            here = done.asked(chosen)
            if here:
                found[name] = self.estimate(name, here)
        return found

    def gain(self, name: str, chosen: Sequence[int]) -> Estimate | None:
        """The score with the image minus that of a control or baseline, on the samples that have an image."""
        return self._compared(statistics.paired_difference, name, chosen)

    def gain_p(self, name: str, chosen: Sequence[int]) -> float | None:
        """The two-sided p-value of the gain; slow, because unlike the gain it takes thousands of draws."""
        test = self._compared(partial(statistics.paired_test, seed=self.common.seed), name, chosen)
        return None if test is None else test.p_two_sided

    def comparable(self, name: str, chosen: Sequence[int]) -> list[int]:
        """The samples with an image that a control includes, or for which a baseline has an answer.

        The majority baseline has no answer for question types that are not in the training data.
        """
        rows = self._rows(name)
        return [number for number in self.with_media(chosen) if number in rows]

    def reached(self, name: str, chosen: Sequence[int]) -> float:
        """The score of a pass or baseline on some samples: the unweighted mean over their question types."""
        metric = self.of_texts if name in self.baselines else self.metric
        runs = _stacked(self._rows(name), chosen)[None]
        return float(statistics.mean_over_strata(runs, metric.total, self.common.types(chosen))[0])

    def leakage(self, name: str) -> Estimate | None:
        """The score of a control minus that of the most frequent answer; None if they cannot be compared."""
        if self.of_texts is not self.metric or "majority" not in self.baselines:
            return None
        both = self.with_media(self.numbers)
        first, second = self.rows[name], self.baselines["majority"]
        return _paired(statistics.paired_difference, first, second, both, self.metric, self.common)

    def num_right(self, chosen: Sequence[int]) -> int:
        """The number of right answers in the pass with the image."""
        return sum(self.right[SIGHTED, number] for number in chosen)

    def num_unread(self, name: str, chosen: Sequence[int]) -> int:
        """The number of answers of a pass that the task or the metric could not read."""
        return _are_read(self.metric, self.common.passes[name], chosen).count(False)

    def with_media(self, chosen: Sequence[int]) -> list[int]:
        """Those of the given samples that have an image."""
        return [number for number in chosen if number in self.pictured]

    def _rows(self, name: str) -> _Rows:
        """The rows of a baseline or of a pass, by its name."""
        return self.baselines[name] if name in self.baselines else self.rows[name]

    def _compared(
        self, compare: Callable[..., _Compared], name: str, chosen: Sequence[int]
    ) -> _Compared | None:
        here = self.comparable(name, chosen)
        if name in self.baselines:
            ours, metric = self._rows_like_baselines(), self.of_texts
        else:
            ours, metric = self.rows[SIGHTED], self.metric
        return _paired(compare, ours, self._rows(name), here, metric, self.common)

    def _rows_like_baselines(self) -> _Rows:
        if self.of_texts is self.metric:
            return self.rows[SIGHTED]
        # Likelihoods give no text to compare, so compare whether answers are right.
        return {n: np.array([float(self.right[SIGHTED, n]), 1.0]) for n in self.numbers}


def _paired(
    compare: Callable[..., _Compared],
    first: _Rows,
    second: _Rows,
    chosen: Sequence[int],
    metric: Any,
    common: Asked,
) -> _Compared | None:
    """The result of `compare` on the samples that both `first` and `second` have; None if there are none."""
    both = [number for number in chosen if number in first and number in second]
    if not both:
        return None

    return compare(
        _stacked(first, both),
        _stacked(second, both),
        common.groups(both),
        metric.total,
        strata=common.types(both),
        best=_best(metric),
        is_share=metric.is_proportion,
    )


def _scoring(task: Task, common: Asked) -> _Scoring:
    """Scores every answer of one task."""
    metric = task.metrics[task.first]
    numbers = [number for number, sample in enumerate(common.samples) if sample.task == task.name]
    rows = {name: _score_rows(metric, name, numbers, common) for name in common.passes}
    of_texts = exact_match.ExactMatch() if is_of_likelihoods(metric) else metric
    majority = _majority_of(task.name, numbers, common)

    return _Scoring(
        task=task,
        common=common,
        numbers=numbers,
        pictured=frozenset(number for number in numbers if common.samples[number].media),
        rows=rows,
        of_texts=of_texts,
        baselines=_baselines(of_texts, numbers, majority, common),
        majority=majority,
        right=_right(metric, rows),
        broken={} if of_texts is not metric else _broken(metric, numbers, common),
    )


def _baselines(
    metric: Any, numbers: Sequence[int], majority: Mapping[str, str], common: Asked
) -> dict[str, _Rows]:
    """Rows of the baselines' answers: the most frequent answer, and that of the nearest training prompt."""
    found = {}
    types = dict(zip(numbers, common.types(numbers), strict=True))
    answered = [n for n in numbers if types[n] in majority]
    if answered:
        texts = [majority[types[n]] for n in answered]
        found["majority"] = _rows_of(metric, answered, texts, common.samples)

    near = [common.neighbours[n] for n in numbers]
    if any(text is not None for text in near):
        found["neighbour"] = _rows_of(metric, numbers, near, common.samples)
    return found


def _right(metric: Any, rows: Mapping[str, _Rows]) -> _Right:
    """Whether each answer of each pass has the full score."""
    right: _Right = {}
    for name, each in rows.items():
        if not each:
            continue
        is_right = metric.total(np.stack(list(each.values()))) >= _best(metric) - _NEARLY
        for number, one in zip(each, is_right.tolist(), strict=True):
            right[name, number] = one
    return right


def _broken(metric: Any, numbers: Sequence[int], common: Asked) -> dict[str, str]:
    """The image controls whose answers are inconclusive, with the reason."""
    found = {}
    for name, done in common.asked.items():
        here = done.asked(numbers)
        predictions = [done.predictions[n] for n in here]
        why = verdict.broken(predictions, _are_read(metric, done, here))
        if why and name in verdict.CONTROLS:
            found[name] = why
    return found


def _task_scores(task: Task, common: Asked) -> tuple[TaskScores, _Right]:
    """The scores of one task, and which answers were right."""
    scoring = _scoring(task, common)
    numbers = scoring.numbers

    # Compute each metric once for the whole task, because it may compare rows across types (as consistency does).
    rows: dict[str, _Rows] = {task.first: scoring.rows[SIGHTED]}
    for name, metric in task.metrics.items():
        if name == task.first:
            continue
        try:
            rows[name] = _further_rows(metric, numbers, common)
        except (DataError, BackendError) as error:
            why = str(error).removeprefix(f"{name}: ").removeprefix("not computed: ")
            common.notes.append(f"{task.name}: {name} was not computed: {why}")

    # Score each question type, then the task over all of them.
    of_type: dict[str, list[int]] = {}
    for number, kind in zip(numbers, common.types(numbers), strict=True):
        of_type.setdefault(kind, []).append(number)
    types = tuple(_type_scores(scoring, kind, of_type[kind], rows) for kind in sorted(of_type))
    scores = _summary(scoring, types, rows)

    # Add further facts about each metric, and the calibration.
    facts = {name: _facts(metric, rows.get(name), numbers, common) for name, metric in task.metrics.items()}
    computed = {name: task.metrics[name] for name in rows if scores.metrics.get(name) is not None}
    scores = replace(
        scores,
        facts=facts,
        floors=_floors(computed, numbers, common),
        ceilings=_ceilings(computed, numbers, common),
        calibration=_calibration(scoring),
    )
    return scores, dict(scoring.right)


def _floors(metrics: Mapping[str, Any], numbers: Sequence[int], common: Asked) -> dict[str, float]:
    """What a copy of the source scores by each metric; empty if there is no such control, or no source."""
    found = {}
    for name in COPIES.keys() & common.asked.keys():
        done = common.asked[name]
        here = done.asked(numbers)
        for metric_name, metric in metrics.items() if here else ():
            if not is_of_likelihoods(metric):
                found[metric_name] = _mean(partial(_rows_in, metric, done), metric, here, common)
    return _finite(found)


def _ceilings(metrics: Mapping[str, Any], numbers: Sequence[int], common: Asked) -> dict[str, float]:
    """What the reference images score by each metric of images; empty if no sample has one."""
    images = {}
    for number in numbers:
        image = target_image(common.samples[number])
        if image is not None:
            images[number] = image

    def rows(metric: Any, here: Sequence[int], common: Asked) -> _Rows:
        return _rows_of(metric, here, [image_files.load(images[n]) for n in here], common.samples)

    found = {}
    for name, metric in metrics.items() if images else ():
        if is_of_pictures(metric):
            found[name] = _mean(partial(rows, metric), metric, list(images), common)
    return _finite(found)


def _mean(
    rows_of: Callable[[Sequence[int], Asked], _Rows], metric: Any, here: Sequence[int], common: Asked
) -> float:
    """The unweighted mean of a metric over question types; NaN if the metric does not fit these answers."""
    try:
        rows = rows_of(here, common)
    except DataError as error:  # such as a reference image of another size
        common.notes.append(str(error))
        return float("nan")
    return float(statistics.mean_over_strata(_stacked(rows, here)[None], metric.total, common.types(here))[0])


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _type_scores(
    scoring: _Scoring, kind: str, chosen: Sequence[int], rows: Mapping[str, _Rows]
) -> TypeScores:
    """The scores of one question type, from its samples and the rows of each metric that was computed."""
    common, task = scoring.common, scoring.task
    near = scoring.baselines.get("neighbour")
    controls = scoring.controls(chosen)
    over = _best_of(controls, scoring.usable)
    gain = scoring.gain(over, chosen) if over else None

    return TypeScores(
        type=kind,
        count=len(chosen),
        pictures=len(set(common.groups(chosen))),
        correct=scoring.num_right(chosen),
        unparsed=scoring.num_unread(SIGHTED, chosen),
        score=scoring.estimate(SIGHTED, chosen),
        chance=_chance(common.chosen(chosen)),
        majority=_majority_score(scoring, kind, chosen),
        majority_answer=scoring.majority.get(kind, ""),
        neighbour=None if near is None else _total(scoring.of_texts, near, chosen),
        controls=controls,
        gain=gain,
        gain_over=over if gain is not None else "",
        metrics={
            name: _of_metric(metric, rows.get(name), chosen, common) for name, metric in task.metrics.items()
        },
    )


def _chance(samples: Sequence[Sample]) -> float | None:
    """The score of guessing among the options; None unless every sample has options."""
    counts = [len(sample.options) for sample in samples]
    return float(np.mean([1 / count for count in counts])) if all(counts) else None


def _best_of(controls: Mapping[str, Estimate], usable: Sequence[str]) -> str:
    """The usable control with the highest score; empty if there is none."""
    found = [name for name in usable if name in controls]
    return max(found, key=lambda name: controls[name].value, default="")


def _of_metric(metric: Any, rows: _Rows | None, chosen: Sequence[int], common: Asked) -> Estimate | None:
    """A metric's score on some answers.

    None if it was not computed (no rows), if no answer counts for it, or if its interval has no bounds.
    """
    if rows is None or not chosen:
        return None
    return statistics.score(metric, _stacked(rows, chosen), common.groups(chosen), common.types(chosen))


def _counted(metric: str, types: Sequence[TypeScores], numbers: Sequence[int], common: Asked) -> list[int]:
    """The samples whose question type has a score by the metric."""
    known = {one.type for one in types if one.metrics[metric] is not None}
    kinds = common.types(numbers)
    return [number for number, kind in zip(numbers, kinds, strict=True) if kind in known]


def _facts(metric: Any, rows: _Rows | None, numbers: Sequence[int], common: Asked) -> MetricFacts:
    """The properties of a metric; if it was computed (has rows), also its further totals and its variant."""
    totals: dict[str, float] = {}
    signature = ""
    if rows is not None and hasattr(metric, "totals"):
        found = metric.totals(np.stack(list(rows.values())).sum(0))
        totals = {name: float(value) for name, value in found.items() if np.isfinite(value)}
    if rows is not None and hasattr(metric, "reads"):
        is_read = _are_read(metric, common.sighted, numbers)
        totals["unread"] = is_read.count(False) / len(is_read)
    if rows is not None and hasattr(metric, "signature"):
        signature = str(metric.signature(common.chosen(numbers)))

    return MetricFacts(
        less_is_better=bool(getattr(metric, "less_is_better", False)),
        unit=str(getattr(metric, "unit", "%")),
        signature=signature,
        totals=totals,
    )


def _are_read(metric: Any, done: Pass, numbers: Sequence[int]) -> list[bool]:
    """Whether each answer of a pass could be read."""
    return [_is_read(metric, done.parsed[n], done.samples[n]) for n in numbers]


def _is_read(metric: Any, answer: str | None, sample: Sample) -> bool:
    """Whether the metric can read an answer; False if the task could not parse it."""
    return answer is not None and (not hasattr(metric, "reads") or bool(metric.reads(answer, sample)))


def _calibration(scoring: _Scoring) -> calibration.Calibration | None:
    """How well confidence predicts right answers; None if a confidence is unknown or the score is not a share."""
    if not scoring.metric.is_proportion or is_of_likelihoods(scoring.metric):
        return None
    common, numbers = scoring.common, scoring.numbers
    predictions = [common.sighted.predictions[number] for number in numbers]
    if not all(map(_has_confidence, predictions)):
        return None

    right = np.array([scoring.right[SIGHTED, number] for number in numbers])
    confidence = calibration.confidences(predictions)
    found = calibration.calibration(confidence, right, groups=common.groups(numbers))
    return replace(found, curve=calibration.thinned(found.curve, _CURVE_POINTS))


def _has_confidence(prediction: Prediction) -> bool:
    return prediction.logprob is not None and bool(np.isfinite(prediction.logprob))


def _total(metric: Any, rows: _Rows, chosen: Sequence[int]) -> float | None:
    """The score of some answers; None if none of them counts."""
    score = float(metric.total(_stacked(rows, chosen).sum(0)))
    return None if np.isnan(score) else score


def _majority_of(task: str, numbers: Sequence[int], common: Asked) -> dict[str, str]:
    """The most frequent training answer, by question type.

    A type that is not in the training data has none: an answer counted on the scored samples themselves would have
    seen the questions.
    """
    known: dict[str, str] = {}
    unknown = []
    for kind in sorted(set(common.types(numbers))):
        answer = common.majority.get(f"{task}/{kind}")
        if answer is None:
            unknown.append(kind)
        else:
            known[kind] = answer

    if unknown:
        which = f" of {', '.join(unknown[:3])}{' and more' if len(unknown) > 3 else ''}" if known else ""
        common.notes.append(
            f"{task}: the majority answer{which} is unknown, because there are no training answers to count."
        )
    return known


def _majority_score(scoring: _Scoring, kind: str, chosen: Sequence[int]) -> float | None:
    """The score of always giving the most frequent training answer to one question type; None if there is no such answer."""
    if kind not in scoring.majority:
        return None
    return _total(scoring.of_texts, scoring.baselines["majority"], chosen) or 0.0


def _summary(scoring: _Scoring, types: tuple[TypeScores, ...], rows: Mapping[str, _Rows]) -> TaskScores:
    """The scores of the task as a whole: unweighted means over its types, and whether it uses the image."""
    common, task, numbers = scoring.common, scoring.task, scoring.numbers
    groups = common.groups(numbers)

    # Types share images, so estimate their mean from all rows at once, not from the types' intervals.
    controls = scoring.controls(numbers)
    metrics = {}
    for name, metric in task.metrics.items():
        counted = _counted(name, types, numbers, common)
        metrics[name] = _of_metric(metric, rows.get(name), counted, common)
    detectable = statistics.detectable(
        scoring.metric, _stacked(scoring.rows[SIGHTED], numbers), groups, common.types(numbers)
    )

    # Compute the gain of the image over each way to answer without it.
    gains = _gains(scoring, [name for name in scoring.usable if name in controls])
    over = _best_of(controls, [name for name in gains if name in verdict.CONTROLS])
    found = _verdict(scoring, gains)

    return TaskScores(
        task=task.name,
        metric=task.first,
        count=len(numbers),
        pictures=len(set(groups)),
        correct=scoring.num_right(numbers),
        unparsed=scoring.num_unread(SIGHTED, numbers),
        score=scoring.estimate(SIGHTED, numbers),
        chance=_mean_of_all(types, "chance"),
        majority=_mean_of_all(types, "majority"),
        neighbour=_mean_of_all(types, "neighbour"),
        detectable=detectable,
        controls=controls,
        gain=gains.get(over),
        gain_over=over,
        gain_p=scoring.gain_p(over, numbers) if over else None,
        gains=gains,
        broken=scoring.broken,
        leakage=scoring.leakage(over) if over else None,
        metrics=metrics,
        uses_image=found.word,
        needs_image=found.needs_image,
        sentence=found.sentence,
        types=types,
    )


def _gains(scoring: _Scoring, controls: Sequence[str]) -> dict[str, Estimate]:
    """The gain over each control and baseline that has samples to compare, by name."""
    gains = {}
    for name in (*controls, *scoring.baselines):
        gain = scoring.gain(name, scoring.numbers)
        if gain is not None:
            gains[name] = gain
    return gains


def _verdict(scoring: _Scoring, gains: Mapping[str, Estimate]) -> verdict.Verdict:
    """The verdict on whether the answers of this task come from the image."""
    common = scoring.common
    sighted = scoring.with_media(scoring.numbers)

    # Score rivals on the same samples as their gain, so that the numbers of the sentence add up.
    rivals = []
    for name, gain in gains.items():
        here = scoring.comparable(name, scoring.numbers)
        unread = scoring.num_unread(name, here) / len(here) if name in common.asked else 0.0
        rivals.append(
            verdict.Rival(name=name, score=scoring.reached(name, here), gain=gain, unreadable=unread)
        )

    # If there are no training answers of these types, no answer is known to be the most frequent one.
    known = scoring.comparable("majority", scoring.numbers) if "majority" in scoring.baselines else []

    return verdict.judge(
        scoring.task.name,
        scoring.reached(SIGHTED, sighted) if sighted else None,
        rivals,
        scoring.broken,
        pictures=len(set(common.groups(sighted))),
        best=_best(scoring.metric),
        prior=scoring.reached("majority", known) if known else 1.0,
        open_share=verdict.left_open(common.chosen(sighted)),
    )


def _mean_of_all(types: Sequence[TypeScores], name: str) -> float | None:
    """The mean of one score over all question types; None unless every type has the score."""
    values = [getattr(one, name) for one in types]
    return None if None in values else float(np.mean(values))
