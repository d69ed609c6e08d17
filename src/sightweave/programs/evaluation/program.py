"""Asks a model every sample of a split, then asks again without the pictures and with other pictures, and counts.

samples --predict--> predictions --tasks.parse--> answers --metrics--> rows --statistics--> scores with intervals
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from sightweave.answers.metrics import exact_match
from sightweave.core import catalog
from sightweave.core import config as configs
from sightweave.core.errors import BackendError, DataError, RecipeError, UnansweredError, did_you_mean
from sightweave.core.types import Prediction, Sample
from sightweave.programs.evaluation import statistics, verdict
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.copies import merged
from sightweave.programs.evaluation.passes import SIGHTED, Asked, Pass, Task, is_of_likelihoods, type_of
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item, TaskScores
from sightweave.programs.evaluation.scoring import scored


class Predict(Protocol):
    """Answers samples: one prediction for each, in order."""

    def __call__(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        """Writes an answer to each sample if `write`, and judges for each its `texts` as answers."""
        ...


Progress = Callable[[str, int], None]
"""Called with the name of a pass (``image`` or a control) and its number of samples before the pass starts."""


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
            for a type that it lacks, neither is known. `Baselines` of it can be shared by several evaluations.
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
            f"{len(groups)} images include duplicates ({len(distinct)} distinct): duplicates count as one image "
            "in intervals "
            "and in shuffling."
        )
    made = {
        name: _task(name, (tasks or {}).get(name), can_score, notes)
        for name in sorted({sample.task for sample in samples})
    }
    sighted = _ask(SIGHTED, dict(enumerate(samples)), predict, made, None, progress)
    asked: dict[str, Pass] = {}
    with_media = [number for number, sample in enumerate(samples) if sample.media]
    for name in controls if with_media else ():
        try:
            changed = CONTROLS[name](samples, seed)
            if not changed:
                raise DataError("it applies to none of the samples.")
            asked[name] = _ask(name, changed, predict, made, sighted, progress)
        except (DataError, UnansweredError) as error:
            # Too few pictures to exchange, or a model that takes no prompt without one: the other numbers still stand.
            notes.append(f"The control {name} was skipped: {error}")
    if len(with_media) < len(samples):
        notes.append(
            f"{len(samples) - len(with_media)} of {len(samples)} samples have no image; they are excluded from the controls."
        )
    known = train if isinstance(train, Baselines) else Baselines(train)
    notes += known.notes()
    common = Asked(samples, sighted, asked, known.majority, known.neighbour.answers(samples), seed, notes)
    each_task = [scored(task, common, is_alone=len(made) == 1) for task in made.values()]
    found = _with_holm([scores for scores, _ in each_task])
    right: dict[tuple[str, int], bool] = {}
    for _, each in each_task:
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


def _task(name: str, config: Any, can_score: bool, notes: list[str]) -> Task:
    config = config if config is not None else catalog.config_class("data.tasks", name)()
    metrics = {configs.kind_of(one): one.build() for one in config.metrics}
    if not metrics:
        raise RecipeError(f"task {name!r} has no metric; set one, such as metrics: [exact_match].")
    if len(metrics) < len(config.metrics):
        raise RecipeError(
            f"task {name!r} lists a metric twice: {', '.join(configs.kind_of(one) for one in config.metrics)}."
        )
    first, metric = next(iter(metrics.items()))
    if getattr(metric, "less_is_better", False):
        raise RecipeError(
            f"task {name!r}: lower is better for {first}, so it cannot be the score; list another metric first."
        )
    if is_of_likelihoods(metric) and tuple(metric.passes) != (SIGHTED,):
        raise RecipeError(
            f"task {name!r}: {first} compares passes, so it cannot be the score; list another metric first."
        )
    if not can_score:
        left_out = [other for other, one in metrics.items() if is_of_likelihoods(one)]
        if first in left_out:
            raise BackendError(
                f"task {name!r}: {first} needs likelihoods, which this predictor does not provide; list another "
                "metric first."
            )
        notes += [
            f"{name}: {other} was not computed: it needs likelihoods, which this predictor does not provide."
            for other in left_out
        ]
        metrics = {other: one for other, one in metrics.items() if other not in left_out}
    return Task(name, config.build().parse, metrics)


def _check(samples: Sequence[Sample], controls: Sequence[str]) -> None:
    if not samples:
        raise DataError("evaluate: there are no samples; at least one is needed.")
    empty = [sample for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"evaluate: {len(empty)} of {len(samples)} samples have no reference answer, the first being "
            f"{empty[0].id!r} ({empty[0].task}); remove them or add answers."
        )
    for name in controls:
        if name not in CONTROLS:
            raise RecipeError(f"evaluate: no control {name!r}. {did_you_mean(name, CONTROLS)}")


def _ask(
    name: str,
    samples: Mapping[int, Sample],
    predict: Predict,
    tasks: Mapping[str, Task],
    sighted: Pass | None,
    progress: Progress | None,
) -> Pass:
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
    return Pass(samples, predictions, parsed, judged)


def _check_count(name: str, given: Sequence[Prediction], samples: Mapping[int, Any]) -> None:
    if len(given) != len(samples):
        raise DataError(
            f"evaluate, pass {name!r}: {len(given)} prediction(s) for {len(samples)} sample(s); "
            "the predictor must return one for each, in order."
        )


def _with_holm(tasks: Sequence[TaskScores]) -> tuple[TaskScores, ...]:
    """The p-values of the gains, adjusted over the tasks."""
    tested = [n for n, task in enumerate(tasks) if task.gain_p is not None]
    adjusted = statistics.holm([tasks[n].gain_p or 0.0 for n in tested])
    found = dict(zip(tested, adjusted, strict=True))
    return tuple(replace(task, gain_p=found.get(n)) for n, task in enumerate(tasks))


def _item(
    number: int,
    sample: Sample,
    sighted: Pass,
    asked: Mapping[str, Pass],
    right: Mapping[tuple[str, int], bool],
) -> Item:
    def answer(name: str, done: Pass) -> Answer:
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
        type=type_of(sample),
        prompt=sample.prompt,
        references=sample.references,
        options=sample.options,
        tags=dict(sample.tags),
        answer=answer(SIGHTED, sighted),
        controls={name: answer(name, done) for name, done in asked.items() if number in done.predictions},
    )
