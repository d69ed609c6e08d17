"""Asks a model every sample of a split, then asks again without the pictures and with other pictures, and counts.

samples --predict--> predictions --tasks.parse--> answers --metrics--> rows --statistics--> scores with intervals
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from sightweave.answers.metrics import exact_match
from sightweave.core import catalog
from sightweave.core import config as configs
from sightweave.core.errors import BackendError, DataError, RecipeError, UnansweredError, did_you_mean
from sightweave.core.types import Likelihood, Prediction, Sample
from sightweave.programs.evaluation import calibration, statistics, verdict
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.copies import merged
from sightweave.programs.evaluation.scores import (
    Answer,
    Evaluation,
    Item,
    MetricFacts,
    TaskScores,
    TypeScores,
)
from sightweave.programs.evaluation.statistics import Estimate


class Predict(Protocol):
    """Answers samples: one prediction for each, in order."""

    def __call__(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        """Writes an answer to each sample if `write`, and judges for each its `texts` as answers."""
        ...


Progress = Callable[[str, int], None]
"""Called with the name of a pass (``image`` or a control) and its number of samples before the pass starts."""

SIGHTED = "image"
"""The pass that shows each sample as it is."""
_STAND_IN = "exact_match"
"""The score of a task whose own metrics cannot be computed; it needs nothing but references."""
_NEARLY = 1e-6
"""What rounding and smoothing may take from a perfect answer's score."""
_CURVE_POINTS = 101
"""Of a risk-coverage curve that is kept."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass over the samples: what was said to those that it asked."""

    samples: Mapping[int, Sample]
    """By the number of the sample that each was made of."""
    predictions: Mapping[int, Prediction]
    parsed: Mapping[int, str | None]
    judged: Mapping[int, Mapping[str, Likelihood]]
    """How likely texts are as answers to a sample."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One task of an evaluation: how answers are read and scored."""

    name: str
    parse: Callable[[str], str | None]
    metrics: Mapping[str, Any]
    """By name; the first one is the score."""

    @property
    def first(self) -> str:
        return next(iter(self.metrics))

    def judging(self, name: str) -> list[Any]:
        """Metrics that need likelihoods in a pass; the score needs its own in every one."""
        return [
            made
            for other, made in self.metrics.items()
            if is_of_likelihoods(made) and (name in made.passes or other == self.first)
        ]


def evaluate(
    samples: Sequence[Sample],
    predict: Predict,
    *,
    split: str = "",
    pictures_total: int | None = None,
    train: Iterable[Sample] | Baselines = (),
    controls: Sequence[str] = ("no_image", "shuffled_image"),
    tasks: Mapping[str, Any] | None = None,
    seed: int = 0,
    can_score: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores with intervals, chance levels and controls, per task and per type of question (tag ``type``).

    Args:
        samples: What is asked; each needs a reference.
        predict: Answers samples; it is also given those of the controls.
        split: Name of what the samples are, for the reader.
        pictures_total: Images of the whole split, where the samples are of some of them that were drawn.
        train: What was trained on: for the commonest answer of each type, and for the nearest prompt. Without it, or
            for a type that it lacks, the commonest answer of these samples stands in, and there is no nearest one.
            `Baselines` of it can be shared by several evaluations.
        controls: Names of controls in ``controls.py``.
        tasks: Config of a task by its name; the others get their defaults.
        seed: Of the exchange of pictures and of the draws in tests.
        can_score: Whether `predict` can judge texts; metrics that need it are left out otherwise.
        progress: Told of each pass.

    Raises:
        DataError: no samples, a sample without a reference, not one prediction per sample, or metrics of the only task
            that do not fit its samples.
        RecipeError: an unknown control, task or metric.
        BackendError: a task's score needs likelihoods, and `predict` gives none.
    """
    _check(samples, controls)
    notes: list[str] = []
    named = samples
    samples = merged(samples)
    groups, distinct = ({sample.group for sample in some} for some in (named, samples))
    if len(distinct) < len(groups):
        notes.append(
            f"{len(groups)} pictures by name are {len(distinct)} different ones: copies count as one picture in intervals "
            "and in exchanges."
        )
    made = {
        name: _task(name, (tasks or {}).get(name), can_score, notes)
        for name in sorted({sample.task for sample in samples})
    }
    sighted = _ask(SIGHTED, dict(enumerate(samples)), predict, made, None, progress)
    asked: dict[str, _Pass] = {}
    with_media = [number for number, sample in enumerate(samples) if sample.media]
    for name in controls if with_media else ():
        try:
            changed = CONTROLS[name](samples, seed)
            if not changed:
                raise DataError("it applies to none of the samples.")
            asked[name] = _ask(name, changed, predict, made, sighted, progress)
        except (DataError, UnansweredError) as error:
            # Too few pictures to exchange, or a model that takes no prompt without one: the other numbers still stand.
            notes.append(f"The control {name} is left out: {error}")
    if len(with_media) < len(samples):
        notes.append(
            f"{len(samples) - len(with_media)} of {len(samples)} samples have no picture; they stay out of the controls."
        )
    known = train if isinstance(train, Baselines) else Baselines(train)
    notes += known.notes()
    common = _Common(samples, sighted, asked, known.majority, known.neighbour.answers(samples), seed, notes)
    scored = [_scored(task, common, is_alone=len(made) == 1) for task in made.values()]
    found = _with_holm([scores for scores, _ in scored])
    right: dict[tuple[str, int], bool] = {}
    for _, each in scored:
        right.update(each)
    word, sentence = verdict.overall((task.task, task.uses_image, task.needs_image) for task in found)
    return Evaluation(
        split=split,
        seed=seed,
        count=len(samples),
        pictures=len({sample.group for sample in samples}),
        pictures_total=pictures_total,
        tasks=found,
        uses_image=word,
        sentence=sentence,
        notes=tuple(dict.fromkeys(notes)),
        items=tuple(_item(number, sample, sighted, asked, right) for number, sample in enumerate(samples)),
    )


def is_of_likelihoods(metric: Any) -> bool:
    """Whether a metric is a `LikelihoodMetric`."""
    return hasattr(metric, "candidates")


def majority_answers(samples: Iterable[Sample]) -> dict[str, str]:
    """The answer that is right most often, for each ``task/type``; ties go to the first in the alphabet."""
    return Baselines(samples).majority


def rescored(config: Any, items: Sequence[Item]) -> tuple[Any, np.ndarray]:
    """A metric and what each stored answer adds to it: R K.

    Likelihoods are not stored; a metric of those is scored by which answers were right.
    """
    metric = config.build()
    if is_of_likelihoods(metric):
        metric = exact_match.ExactMatch()
        return metric, np.array([(float(item.answer.right), 1.0) for item in items])
    return metric, metric.rows([item.answer.parsed for item in items], [item.sample for item in items])


def _task(name: str, config: Any, can_score: bool, notes: list[str]) -> _Task:
    config = config if config is not None else catalog.config_class("data.tasks", name)()
    metrics = {configs.kind_of(one): one.build() for one in config.metrics}
    if not metrics:
        raise RecipeError(f"task {name!r} names no metric; give it one, such as metrics: [exact_match].")
    if len(metrics) < len(config.metrics):
        raise RecipeError(
            f"task {name!r} names a metric twice: {', '.join(configs.kind_of(one) for one in config.metrics)}."
        )
    first, metric = next(iter(metrics.items()))
    if getattr(metric, "less_is_better", False):
        raise RecipeError(
            f"task {name!r}: of {first} less is better, so it cannot be the score; name it second."
        )
    if is_of_likelihoods(metric) and tuple(metric.passes) != (SIGHTED,):
        raise RecipeError(
            f"task {name!r}: {first} compares passes, so it cannot be the score; name it second."
        )
    if not can_score:
        left_out = [other for other, one in metrics.items() if is_of_likelihoods(one)]
        if first in left_out:
            raise BackendError(
                f"task {name!r}: {first} needs likelihoods, which this predictor does not give; name another metric first."
            )
        notes += [
            f"{name}: {other} was not computed: it needs likelihoods, which this predictor does not give."
            for other in left_out
        ]
        metrics = {other: one for other, one in metrics.items() if other not in left_out}
    return _Task(name, config.build().parse, metrics)


def _check(samples: Sequence[Sample], controls: Sequence[str]) -> None:
    if not samples:
        raise DataError("evaluate: there are no samples; give at least one.")
    empty = [sample for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"evaluate: {len(empty)} of {len(samples)} samples have no reference answer, the first being "
            f"{empty[0].id!r} ({empty[0].task}); leave them out or add their answers."
        )
    for name in controls:
        if name not in CONTROLS:
            raise RecipeError(f"evaluate: no control {name!r}. {did_you_mean(name, CONTROLS)}")


def _ask(
    name: str,
    samples: Mapping[int, Sample],
    predict: Predict,
    tasks: Mapping[str, _Task],
    sighted: _Pass | None,
    progress: Progress | None,
) -> _Pass:
    """One pass; what its metrics judge is asked together with the answers where it is known before them."""
    if progress is not None:
        progress(name, len(samples))

    def wanted(number: int, said: str | None) -> tuple[str, ...]:
        sample = samples[number]
        texts = (text for made in tasks[sample.task].judging(name) for text in made.candidates(said, sample))
        return tuple(dict.fromkeys(texts))

    before = {n: wanted(n, sighted.parsed[n] if sighted else None) for n in samples}
    given = predict(list(samples.values()), list(before.values()), write=True)
    _check_count(name, given, samples)
    predictions = dict(zip(samples, given, strict=True))
    judged = {n: dict(zip(before[n], said.likelihoods, strict=True)) for n, said in predictions.items()}
    parsed = {number: tasks[samples[number].task].parse(said.text) for number, said in predictions.items()}
    if sighted is None:  # a metric may judge what was just written
        after = {n: [text for text in wanted(n, parsed[n]) if text not in judged[n]] for n in samples}
        late = {n: texts for n, texts in after.items() if texts}
        more = predict([samples[n] for n in late], list(late.values()), write=False) if late else []
        _check_count(name, more, late)
        for (n, texts), said in zip(late.items(), more, strict=True):
            judged[n].update(zip(texts, said.likelihoods, strict=True))
    return _Pass(samples, predictions, parsed, judged)


def _check_count(name: str, given: Sequence[Prediction], samples: Mapping[int, Any]) -> None:
    if len(given) != len(samples):
        raise DataError(
            f"evaluate, pass {name!r}: {len(given)} prediction(s) for {len(samples)} sample(s); "
            "the predictor must give one for each, in order."
        )


@dataclass(frozen=True, slots=True)
class _Common:
    """What all tasks share."""

    samples: Sequence[Sample]
    sighted: _Pass
    asked: Mapping[str, _Pass]
    majority: Mapping[str, str]
    neighbours: Sequence[str | None]
    seed: int
    notes: list[str]

    @property
    def passes(self) -> dict[str, _Pass]:
        return {SIGHTED: self.sighted, **self.asked}


_Rows = dict[int, np.ndarray]
"""What each answer adds (K), by the number of its sample."""


def _score_rows(metric: Any, name: str, numbers: Sequence[int], common: _Common) -> _Rows:
    """Rows of the score in one pass."""
    done = common.passes[name]
    here = [number for number in numbers if number in done.parsed]
    if not is_of_likelihoods(metric):
        # A control may have changed the options, so its own samples count.
        return _rows_of(metric, here, [done.parsed[n] for n in here], done.samples)
    return _judged_rows(metric, here, [done], common)


def _further_rows(metric: Any, numbers: Sequence[int], common: _Common) -> _Rows:
    """Rows of any metric of a task, with all passes that it names."""
    if not is_of_likelihoods(metric):
        return _rows_of(metric, numbers, [common.sighted.parsed[n] for n in numbers], common.samples)
    absent = [name for name in metric.passes if name not in common.passes]
    if absent:
        raise DataError(f"it compares with the control {absent[0]}, which was not asked.")
    return _judged_rows(metric, numbers, [common.passes[name] for name in metric.passes], common)


def _judged_rows(metric: Any, numbers: Sequence[int], passes: Sequence[_Pass], common: _Common) -> _Rows:
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


def _scored(
    task: _Task, common: _Common, *, is_alone: bool
) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
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

    task: _Task
    common: _Common
    numbers: Sequence[int]
    """Of the task's samples."""
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
            kind = _type(samples[chosen[0]])
            raise DataError(
                f"{self.task.first}: none of {len(chosen)} answers of type {kind!r} ({self.task.name}) can be scored by "
                "it; name another metric first."
            )
        groups, kinds = [samples[n].group for n in chosen], [_type(samples[n]) for n in chosen]
        found = statistics.score(self.metric, stack, groups, kinds)
        value = float(statistics.mean_over_strata(stack[None], self.metric.total, kinds)[0])
        return found or Estimate(value, min(0.0, value), max(self.best, value))  # nothing bounds it

    def paired(self, name: str, chosen: Sequence[int]) -> statistics.PairedTest | None:
        """What the answers with the picture score above a control or a baseline, on the samples that have a picture."""
        if name in self.baselines:
            theirs = self.baselines[name]
            if name == "majority":  # one taken from the very samples that are scored has seen their answers
                known = self.common.majority
                chosen = [n for n in chosen if f"{self.task.name}/{_type(self.common.samples[n])}" in known]
            ours, metric = self._rows_like_baselines(), self.of_texts
        else:
            theirs, ours, metric = self.rows[name], self.rows[SIGHTED], self.metric
        return _paired(ours, theirs, self._with_media(chosen), metric, self.common)

    def leakage(self, name: str) -> statistics.PairedTest | None:
        """What a control scores above the most frequent answer."""
        if self.of_texts is not self.metric:
            return None
        both = self._with_media(self.numbers)
        return _paired(self.rows[name], self.baselines["majority"], both, self.metric, self.common)

    def is_unread(self, name: str, number: int) -> bool:
        """Whether nothing could be read in an answer, by the task or by the metric."""
        done = self.common.passes[name]
        return not _is_read(self.metric, done.parsed[number], done.samples[number])

    def _with_media(self, chosen: Sequence[int]) -> list[int]:
        return [number for number in chosen if self.common.samples[number].media]

    def _rows_like_baselines(self) -> _Rows:
        if self.of_texts is self.metric:
            return self.rows[SIGHTED]
        # Likelihoods have no text to compare, so right answers are compared with right answers.
        return {n: np.array([float(self.right[SIGHTED, n]), 1.0]) for n in self.numbers}


def _paired(
    first: _Rows, second: _Rows, chosen: Sequence[int], metric: Any, common: _Common
) -> statistics.PairedTest | None:
    """First minus second on the samples that both have; None where there are none."""
    both = [number for number in chosen if number in first and number in second]
    if not both:
        return None
    return statistics.paired_test(
        np.stack([first[number] for number in both]),
        np.stack([second[number] for number in both]),
        [common.samples[number].group for number in both],
        metric.total,
        strata=[_type(common.samples[number]) for number in both],
        best=float(getattr(metric, "best", 1.0)),
        is_share=metric.is_proportion,
        seed=common.seed,
    )


def _scoring(task: _Task, common: _Common) -> _Scoring:
    """Scores every answer of one task."""
    samples, metric = common.samples, task.metrics[task.first]
    numbers = [number for number, sample in enumerate(samples) if sample.task == task.name]
    rows = {name: _score_rows(metric, name, numbers, common) for name in common.passes}

    # What needs no model: the most frequent answer, and that of the nearest training prompt.
    always = _majority_of(task.name, numbers, common)
    of_texts = exact_match.ExactMatch() if is_of_likelihoods(metric) else metric
    baselines = {
        "majority": _rows_of(of_texts, numbers, [always[_type(samples[n])] for n in numbers], samples)
    }
    if any(common.neighbours[n] is not None for n in numbers):
        near = [common.neighbours[n] for n in numbers]
        baselines["neighbour"] = _rows_of(of_texts, numbers, near, samples)

    best = float(getattr(metric, "best", 1.0))
    right = {
        (name, n): float(metric.total(row)) >= best - _NEARLY
        for name, each in rows.items()
        for n, row in each.items()
    }
    return _Scoring(
        task=task,
        common=common,
        numbers=numbers,
        rows=rows,
        of_texts=of_texts,
        baselines=baselines,
        majority=always,
        right=right,
        broken={} if of_texts is not metric else _broken(metric, numbers, common),
    )


def _broken(metric: Any, numbers: Sequence[int], common: _Common) -> dict[str, str]:
    """The controls of the image whose answers prove nothing, with the reason."""
    found = {}
    for name, done in common.asked.items():
        here = [n for n in numbers if n in done.predictions]
        is_read = [_is_read(metric, done.parsed[n], done.samples[n]) for n in here]
        why = verdict.broken([done.predictions[n] for n in here], is_read)
        if why and name in verdict.CONTROLS:
            found[name] = why
    return found


def _task_scores(task: _Task, common: _Common) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
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

    kinds = sorted({_type(samples[number]) for number in scoring.numbers})
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
    chosen = [number for number in scoring.numbers if _type(samples[number]) == kind]
    here = [samples[number] for number in chosen]
    options = [len(sample.options) for sample in here]
    near = scoring.baselines.get("neighbour")

    seen = {control: [n for n in chosen if n in done.parsed] for control, done in common.asked.items()}
    controls = {control: scoring.estimate(control, some) for control, some in seen.items() if some}
    over = _best_of(controls, scoring.usable)
    gain = scoring.paired(over, chosen) if over else None

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
        majority=_total(scoring.of_texts, scoring.baselines["majority"], chosen) or 0.0,
        majority_answer=scoring.majority[kind],
        neighbour=None if near is None else _total(scoring.of_texts, near, chosen),
        controls=controls,
        gain=None if gain is None else gain.difference,
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
        metric, stack, [samples[n].group for n in chosen], [_type(samples[n]) for n in chosen]
    )


def _counted(
    metric: str, types: Sequence[TypeScores], numbers: Sequence[int], samples: Sequence[Sample]
) -> list[int]:
    """The samples of those types that have the metric."""
    known = {kind.type for kind in types if kind.metrics[metric] is not None}
    return [number for number in numbers if _type(samples[number]) in known]


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


def _majority_of(task: str, numbers: Sequence[int], common: _Common) -> dict[str, str]:
    """What to say always, by type of question: commonest in training, or else among these samples."""
    here = majority_answers([common.samples[number] for number in numbers])
    return {
        name: common.majority.get(f"{task}/{name}") or here[f"{task}/{name}"]
        for name in {_type(common.samples[number]) for number in numbers}
    }


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
        [_type(samples[number]) for number in numbers],
    )

    # What the picture is worth, over each way to answer without looking at it.
    ways = [*(name for name in scoring.usable if name in controls), *scoring.baselines]
    tests = {name: test for name in ways if (test := scoring.paired(name, scoring.numbers)) is not None}
    over = _best_of(controls, [name for name in tests if name in verdict.CONTROLS])
    gain = tests.get(over)
    leak = scoring.leakage(over) if over else None
    found = _verdict(scoring, tests, pictures)

    return TaskScores(
        task=task.name,
        metric=task.first,
        count=sum(kind.count for kind in types),
        pictures=pictures,
        correct=sum(kind.correct for kind in types),
        unparsed=sum(kind.unparsed for kind in types),
        score=scoring.estimate(SIGHTED, numbers),
        chance=_mean_of_all([kind.chance for kind in types]),
        majority=float(np.mean([kind.majority for kind in types])),
        neighbour=_mean_of_all([kind.neighbour for kind in types]),
        detectable=detectable,
        controls=controls,
        gain=None if gain is None else gain.difference,
        gain_over=over,
        gain_p=None if gain is None else gain.p_two_sided,
        gains={name: test.difference for name, test in tests.items()},
        broken=scoring.broken,
        leakage=None if leak is None else leak.difference,
        metrics=metrics,
        uses_image=found.word,
        needs_image=found.needs_image,
        sentence=found.sentence,
        types=types,
    )


def _verdict(scoring: _Scoring, tests: Mapping[str, statistics.PairedTest], pictures: int) -> verdict.Verdict:
    """Whether this task's answers come from the picture."""
    samples = scoring.common.samples
    sighted = [number for number in scoring.numbers if samples[number].media]
    score = _mean_over_types(scoring.metric, scoring.rows[SIGHTED], sighted, samples) if sighted else None
    rivals = []
    for name, test in tests.items():
        unread = 0.0
        if name in scoring.common.asked:
            here = [n for n in sighted if n in scoring.common.asked[name].parsed]
            unread = float(np.mean([scoring.is_unread(name, n) for n in here]))
        # Of the same samples as the gain, so that the numbers of the sentence add up.
        rows = scoring.baselines.get(name) or scoring.rows[name]
        metric = scoring.of_texts if name in scoring.baselines else scoring.metric
        reached = _mean_over_types(metric, rows, sighted, samples)
        rivals.append(verdict.Rival(name=name, score=reached, gain=test.difference, unreadable=unread))
    return verdict.judge(
        scoring.task.name, score, rivals, scoring.broken, pictures=pictures, best=scoring.best
    )


def _mean_over_types(metric: Any, rows: _Rows, chosen: Sequence[int], samples: Sequence[Sample]) -> float:
    """The unweighted mean over types of question, of the answers that count."""
    by_type: dict[str, list[int]] = {}
    for number in chosen:
        if number in rows:
            by_type.setdefault(_type(samples[number]), []).append(number)
    scores = [score for some in by_type.values() if (score := _total(metric, rows, some)) is not None]
    return float(np.mean(scores)) if scores else 0.0


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _with_holm(tasks: Sequence[TaskScores]) -> tuple[TaskScores, ...]:
    """The p-values of the gains, adjusted over the tasks."""
    tested = [n for n, task in enumerate(tasks) if task.gain_p is not None]
    adjusted = statistics.holm([tasks[n].gain_p or 0.0 for n in tested])
    found = dict(zip(tested, adjusted, strict=True))
    return tuple(replace(task, gain_p=found.get(n)) for n, task in enumerate(tasks))


def _item(
    number: int,
    sample: Sample,
    sighted: _Pass,
    asked: Mapping[str, _Pass],
    right: Mapping[tuple[str, int], bool],
) -> Item:
    def answer(name: str, done: _Pass) -> Answer:
        said = done.predictions[number]
        media = done.samples[number].media
        return Answer(
            text=said.text,
            parsed=done.parsed[number],
            right=right[name, number],
            logprob=said.logprob,
            finish=said.finish,
            image=media[0].key if media else "",
        )

    return Item(
        id=sample.id,
        group=sample.group,
        task=sample.task,
        type=_type(sample),
        prompt=sample.prompt,
        references=sample.references,
        options=sample.options,
        tags=dict(sample.tags),
        answer=answer(SIGHTED, sighted),
        controls={name: answer(name, done) for name, done in asked.items() if number in done.predictions},
    )


def _type(sample: Sample) -> str:
    return sample.tags.get("type", "")
