"""Asks a model every sample of a split, then asks again without the pictures and with other pictures, and counts.

samples --predict--> predictions --tasks.parse--> answers --metrics--> rows --statistics--> scores with intervals
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightweave.answers.metrics import exact_match
from sightweave.core import catalog
from sightweave.core.errors import BackendError, DataError, RecipeError, did_you_mean
from sightweave.core.types import Prediction, Sample
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item, TaskScores, TypeScores, uses_image
from sightweave.programs.evaluation.statistics import Estimate

Predict = Callable[[Sequence[Sample]], list[Prediction]]
"""One prediction per sample, in order."""
Progress = Callable[[str, int], None]
"""Called with the name of a pass (``image`` or a control) and its number of samples before the pass starts."""


_NEARLY = 1e-6
"""What rounding and smoothing may take from a perfect answer's score."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass over the samples: what was said to those that it asked."""

    samples: Mapping[int, Sample]
    """By the number of the sample that each was made of."""
    predictions: Mapping[int, Prediction]
    parsed: Mapping[int, str | None]


def evaluate(
    samples: Sequence[Sample],
    predict: Predict,
    *,
    split: str = "",
    majority: Mapping[str, str] | None = None,
    controls: Sequence[str] = ("no_image", "shuffled_image"),
    tasks: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Scores with intervals, chance levels and controls, per task and per type of question (tag ``type``).

    Args:
        samples: What is asked; each needs a reference.
        predict: Answers samples; it is also given those of the controls.
        split: Name of what the samples are, for the reader.
        majority: Most frequent answers in training, as ``majority_answers`` gives them; without it, or for a
            type that it lacks, the most frequent answer of these samples stands in.
        controls: Names of controls in ``controls.py``.
        tasks: Config of a task by its name; the others get their defaults.
        seed: Of the exchange of pictures and of the bootstrap.
        progress: Told of each pass.

    Raises:
        DataError: no samples, a sample without a reference, or not one prediction per sample.
        RecipeError: an unknown control, task or metric.
    """
    _check(samples, controls)
    names = dict.fromkeys(sample.task for sample in samples)
    given = tasks or {}
    configs = {name: given.get(name) or catalog.config_class("data.tasks", name)() for name in names}
    parsers = {name: config.build() for name, config in configs.items()}
    sighted = _ask("image", dict(enumerate(samples)), predict, parsers, progress)
    asked: dict[str, _Pass] = {}
    notes = []
    with_media = [number for number, sample in enumerate(samples) if sample.media]
    for name in controls if with_media else ():
        try:
            changed = CONTROLS[name](samples, seed)
        except DataError as error:  # too few pictures to exchange: the other numbers still stand
            notes.append(f"The control {name} is left out: {error}")
            continue
        asked[name] = _ask(name, dict(zip(with_media, changed, strict=True)), predict, parsers, progress)
    if len(with_media) < len(samples):
        notes.append(
            f"{len(samples) - len(with_media)} of {len(samples)} samples have no picture; they stay out of the controls."
        )
    scored = [
        _task_scores(name, configs[name], samples, sighted, asked, majority or {}, seed, notes)
        for name in sorted(configs)
    ]
    right: dict[tuple[str, int], bool] = {}
    for _, found in scored:
        right.update(found)
    return Evaluation(
        split=split,
        seed=seed,
        count=len(samples),
        pictures=len({sample.group for sample in samples}),
        tasks=tuple(scores for scores, _ in scored),
        notes=tuple(notes),
        items=tuple(_item(number, sample, sighted, asked, right) for number, sample in enumerate(samples)),
    )


def majority_answers(samples: Sequence[Sample]) -> dict[str, str]:
    """The answer that is right most often, for each ``task/type``; ties go to the first in the alphabet."""
    counts: dict[str, dict[str, int]] = {}
    fold = exact_match.ExactMatch().fold
    for sample in samples:
        votes = counts.setdefault(f"{sample.task}/{_type(sample)}", {})
        for answer in {fold(reference) for reference in sample.references}:
            votes[answer] = votes.get(answer, 0) + 1
    return {
        kind: min(votes, key=lambda answer: (-votes[answer], answer))
        for kind, votes in counts.items()
        if votes
    }


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
    parsers: Mapping[str, Any],
    progress: Progress | None,
) -> _Pass:
    if progress is not None:
        progress(name, len(samples))
    given = predict(list(samples.values()))
    if len(given) != len(samples):
        raise DataError(
            f"evaluate, pass {name!r}: {len(given)} prediction(s) for {len(samples)} sample(s); "
            "the predictor must give one for each, in order."
        )
    predictions = dict(zip(samples, given, strict=True))
    parsed = {number: parsers[samples[number].task].parse(said.text) for number, said in predictions.items()}
    return _Pass(samples, predictions, parsed)


def _task_scores(
    task: str,
    config: Any,
    samples: Sequence[Sample],
    sighted: _Pass,
    asked: Mapping[str, _Pass],
    majority: Mapping[str, str],
    seed: int,
    notes: list[str],
) -> tuple[TaskScores, dict[tuple[str, int], bool]]:
    """The scores of one task, and which answers were right by (pass, sample number)."""
    metrics = {name: catalog.config_class("answers.metrics", name)().build() for name in config.metrics}
    if not metrics:
        raise RecipeError(f"task {task!r} names no metric; give it one, such as metrics: [exact_match].")
    first, metric = next(iter(metrics.items()))
    if getattr(metric, "less_is_better", False):
        raise RecipeError(
            f"task {task!r}: of {first} less is better, so it cannot be the score; name it second."
        )
    numbers = [number for number, sample in enumerate(samples) if sample.task == task]
    passes = {"": sighted, **asked}
    rows: dict[str, dict[int, np.ndarray]] = {}  # by pass, then by sample number: K
    for name, done in passes.items():
        asked_here = [number for number in numbers if number in done.parsed]
        rows[name] = _rows_of(metric, asked_here, [done.parsed[n] for n in asked_here], samples)
    # A metric may compare rows across types (consistency does), so each is asked once for the whole task.
    told: dict[str, dict[int, np.ndarray]] = {}
    for name, made in metrics.items():
        try:
            told[name] = _rows_of(made, numbers, [sighted.parsed[n] for n in numbers], samples)
        except (DataError, BackendError) as error:
            if name == first:
                raise
            notes.append(f"{task}: {name} was not computed: {error}")
    always = _majority_of(task, numbers, samples, majority)
    guessed = _rows_of(metric, numbers, [always[_type(samples[n])] for n in numbers], samples)
    best = float(getattr(metric, "best", 1.0))
    right = {
        (name, n): float(metric.total(row)) >= best - _NEARLY
        for name, each in rows.items()
        for n, row in each.items()
    }

    def estimate(name: str, chosen: Sequence[int]) -> Estimate:
        stack = np.stack([rows[name][number] for number in chosen])
        if np.isnan(metric.total(stack.sum(0))):
            kind = _type(samples[chosen[0]])
            raise DataError(
                f"{first}: none of {len(chosen)} answers of type {kind!r} ({task}) can be scored by it; "
                "name another metric first."
            )
        if metric.is_proportion:
            return statistics.wilson(*stack.sum(0))
        return statistics.bootstrap(
            stack, [samples[n].group for n in chosen], metric.total, seed=seed, best=best
        )

    def gain(chosen: Sequence[int]) -> Estimate | None:
        both = [number for number in chosen if number in rows.get("no_image", {})]
        if not both:
            return None
        return statistics.paired_difference(
            np.stack([rows[""][number] for number in both]),
            np.stack([rows["no_image"][number] for number in both]),
            [samples[number].group for number in both],
            metric.total,
            strata=[_type(samples[number]) for number in both],
            seed=seed,
        )

    types = []
    for name in sorted({_type(samples[number]) for number in numbers}):
        chosen = [number for number in numbers if _type(samples[number]) == name]
        here = [samples[number] for number in chosen]
        options = [len(sample.options) for sample in here]
        seen = {control: [n for n in chosen if n in done.parsed] for control, done in asked.items()}
        types.append(
            TypeScores(
                type=name,
                count=len(chosen),
                pictures=len({sample.group for sample in here}),
                correct=sum(right["", number] for number in chosen),
                unparsed=sum(sighted.parsed[number] is None for number in chosen),
                score=estimate("", chosen),
                chance=float(np.mean([1 / count for count in options])) if all(options) else None,
                majority=_total(metric, guessed, chosen) or 0.0,
                majority_answer=always[name],
                controls={control: estimate(control, some) for control, some in seen.items() if some},
                gain=gain(chosen),
                metrics={
                    other: _total(made, told[other], chosen) if other in told else None
                    for other, made in metrics.items()
                },
            )
        )
    here = [samples[number] for number in numbers]
    signatures = {name: made.signature(here) for name, made in metrics.items() if hasattr(made, "signature")}
    pictures = len({sample.group for sample in here})
    return _summary(task, first, tuple(types), gain(numbers), pictures, signatures), right


def _rows_of(
    metric: Any, numbers: Sequence[int], answers: Sequence[str | None], samples: Sequence[Sample]
) -> dict[int, np.ndarray]:
    """What each answer adds (K), by the number of its sample."""
    found = metric.rows(list(answers), [samples[number] for number in numbers])
    return dict(zip(numbers, found, strict=True))


def _total(metric: Any, rows: Mapping[int, np.ndarray], chosen: Sequence[int]) -> float | None:
    """The score of some answers; None where none of them counts."""
    score = float(metric.total(np.stack([rows[number] for number in chosen]).sum(0)))
    return None if np.isnan(score) else score


def _majority_of(
    task: str, numbers: Sequence[int], samples: Sequence[Sample], majority: Mapping[str, str]
) -> dict[str, str]:
    """What to say always, by type of question: commonest in training, or else among these samples."""
    here = majority_answers([samples[number] for number in numbers])
    return {
        name: majority.get(f"{task}/{name}") or here[f"{task}/{name}"]
        for name in {_type(samples[number]) for number in numbers}
    }


def _summary(
    task: str,
    metric: str,
    types: tuple[TypeScores, ...],
    gain: Estimate | None,
    pictures: int,
    signatures: Mapping[str, str],
) -> TaskScores:
    score = statistics.mean([kind.score for kind in types])
    names = dict.fromkeys(name for kind in types for name in kind.controls)
    controls = {
        name: statistics.mean([kind.controls[name] for kind in types if name in kind.controls])
        for name in names
    }
    chances = [kind.chance for kind in types if kind.chance is not None]
    word, sentence = uses_image(task, controls, gain, pictures)
    return TaskScores(
        task=task,
        metric=metric,
        count=sum(kind.count for kind in types),
        pictures=pictures,
        correct=sum(kind.correct for kind in types),
        unparsed=sum(kind.unparsed for kind in types),
        score=score,
        chance=float(np.mean(chances)) if len(chances) == len(types) else None,
        majority=float(np.mean([kind.majority for kind in types])),
        controls=controls,
        gain=gain,
        metrics={name: _mean([kind.metrics[name] for kind in types]) for name in types[0].metrics},
        signatures=signatures,
        uses_image=word,
        sentence=sentence,
        types=types,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


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
        answer=answer("", sighted),
        controls={name: answer(name, done) for name, done in asked.items() if number in done.predictions},
    )


def _type(sample: Sample) -> str:
    return sample.tags.get("type", "")
