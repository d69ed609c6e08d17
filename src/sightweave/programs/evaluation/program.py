"""Evaluates a model on the samples of a split, also without images and with other images, and scores the answers.

samples --predict--> predictions --tasks.parse--> answers --metrics--> rows --statistics--> scores with intervals
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from sightweave.answers.metrics import exact_match
from sightweave.answers.scoring.judges import Judge
from sightweave.core import catalog
from sightweave.core import config as configs
from sightweave.core.errors import BackendError, DataError, RecipeError, UnansweredError, did_you_mean
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.inputs import image_files
from sightweave.programs.evaluation import statistics, verdict
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.programs.evaluation.controls import ALL, CONTROLS, COPIES
from sightweave.programs.evaluation.copies import merged
from sightweave.programs.evaluation.drawings import is_drawn
from sightweave.programs.evaluation.passes import (
    SIGHTED,
    Asked,
    Pass,
    Task,
    is_of_likelihoods,
    is_of_pictures,
    target_image,
    type_of,
)
from sightweave.programs.evaluation.scores import Answer, Drawing, Evaluation, Item, TaskScores
from sightweave.programs.evaluation.scoring import scored

Judges = Callable[[str], Judge]
"""Function that loads a judge of drawings from the folder of its run."""


class Predict(Protocol):
    """Function that answers samples with one prediction each, in order."""

    def __call__(
        self, samples: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool
    ) -> list[Prediction]:
        """Generates an answer to each sample if `write` is set, and computes the likelihoods of its `texts` as answers."""
        ...


Progress = Callable[[str, int], None]
"""Function that is called before each pass with its name (``image`` or a control) and its number of samples."""


def evaluate(
    samples: Sequence[Sample],
    predict: Predict,
    *,
    split: str = "",
    pictures_total: int | None = None,
    train: Iterable[Sample] | Baselines = (),
    controls: Sequence[str] = ("no_image", "shuffled_image", "copied_source"),
    tasks: Mapping[str, Any] | None = None,
    seed: int = 0,
    can_score: bool = True,
    judges: Judges | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Computes scores with intervals, chance levels and controls, per task and per question type (tag ``type``).

    Args:
        samples: Samples to ask; each needs a reference, or a target image to draw.
        predict: Answers samples, including the changed ones of the controls.
        split: Name of the split, for the reader.
        pictures_total: Number of images in the whole split, if the samples are about a random part of them.
        train: Training samples, for the most frequent answer of each type and for the nearest prompt. Without them
            neither baseline exists, nor for types that they lack. `Baselines` can be shared by several evaluations.
        controls: Names of controls in ``controls.py``.
        tasks: Config of a task by its name; the others get their defaults.
        seed: Random seed for exchanging images and for the draws of tests.
        can_score: Whether `predict` can score texts; if not, metrics that need this are left out.
        judges: Loads the judges of drawings.
        progress: Called before each pass.

    Raises:
        DataError: there are no samples, a sample has no reference, there is not exactly one prediction per sample, or
            the metrics of the only task do not fit its samples.
        RecipeError: a control, a task or a metric is unknown.
        BackendError: a task's score needs likelihoods, and `predict` provides none.
    """
    notes: list[str] = []
    passes = ask(
        samples,
        predict,
        controls=controls,
        tasks=tasks,
        seed=seed,
        can_score=can_score,
        judges=judges,
        progress=progress,
        notes=notes,
    )
    samples, built, sighted, asked = passes.samples, passes.tasks, passes.sighted, passes.asked

    # Compute the scores of each task, and those of answers from the training data alone.
    known = train if isinstance(train, Baselines) else Baselines(train)
    notes += known.notes()
    common = Asked(samples, sighted, asked, known.majority, known.neighbour.answers(samples), seed, notes)
    found: list[TaskScores] = []
    right: dict[tuple[str, int], bool] = {}
    for task in built.values():
        scores, is_right = scored(task, common, is_alone=len(built) == 1)
        found.append(scores)
        right.update(is_right)

    items = [_item(common, built[one.task], n, right, split) for n, one in enumerate(samples)]
    word, sentence = verdict.overall((task.task, task.uses_image, task.needs_image) for task in found)
    return Evaluation(
        split=split,
        seed=seed,
        count=len(samples),
        pictures=_num_groups(samples),
        pictures_total=pictures_total,
        tasks=_with_holm(found),
        uses_image=word,
        sentence=sentence,
        notes=tuple(dict.fromkeys(notes)),
        items=tuple(items),
        drawn=_drawn(items, built, common),
    )


@dataclass(frozen=True, slots=True)
class Passes:
    """All passes of an evaluation."""

    samples: Sequence[Sample]
    """The samples, with duplicate images in one group."""
    tasks: Mapping[str, Task]
    """Their tasks by name, in alphabetical order."""
    sighted: Pass
    """The pass in which samples are unchanged."""
    asked: Mapping[str, Pass]
    """Passes of the controls, by name."""


def ask(
    samples: Sequence[Sample],
    predict: Predict,
    *,
    controls: Sequence[str],
    tasks: Mapping[str, Any] | None = None,
    seed: int = 0,
    can_score: bool = True,
    judges: Judges | None = None,
    progress: Progress | None = None,
    notes: list[str] | None = None,
) -> Passes:
    """Asks every sample as it is, then again in each control; nothing is scored.

    Args:
        samples: As for `evaluate`, like the other arguments.
        predict: Answers samples.
        controls: Names of controls.
        tasks: Config of a task by its name.
        seed: Random seed for exchanging images.
        can_score: Whether `predict` can score texts.
        judges: Loads the judges of drawings.
        progress: Called before each pass.
        notes: List to which notes for the reader are added.

    Raises:
        DataError, RecipeError, BackendError: as for `evaluate`.
    """
    _check(samples, controls)
    notes = [] if notes is None else notes
    samples = _with_groups_merged(samples, notes)
    built = _tasks(samples, tasks or {}, can_score, judges, notes)

    sighted = _ask(SIGHTED, dict(enumerate(samples)), predict, built, None, progress)
    asked = _ask_controls(controls, samples, sighted, predict, built, seed, notes, progress)
    return Passes(samples, built, sighted, asked)


def _with_groups_merged(samples: Sequence[Sample], notes: list[str]) -> list[Sample]:
    """Puts duplicate images into one group; adds a note if there are any."""
    found = merged(samples)
    groups, distinct = _num_groups(samples), _num_groups(found)
    if distinct < groups:
        notes.append(
            f"{groups} images include duplicates ({distinct} distinct): duplicates count as one image in intervals "
            "and in shuffling."
        )
    return found


def _num_groups(samples: Sequence[Sample]) -> int:
    return len({sample.group for sample in samples})


def _tasks(
    samples: Sequence[Sample],
    configs_of_tasks: Mapping[str, Any],
    can_score: bool,
    judges: Judges | None,
    notes: list[str],
) -> dict[str, Task]:
    """The tasks of the samples by name, in alphabetical order."""
    found = {}
    for name in sorted({sample.task for sample in samples}):
        draws = all(is_drawn(sample) for sample in samples if sample.task == name)
        found[name] = _task(name, configs_of_tasks.get(name), can_score, draws, notes)
        for metric in found[name].metrics.values():
            if getattr(metric, "judged_by", "") and judges is not None:
                metric.judge = judges(metric.judged_by)
    return found


def _ask_controls(
    controls: Sequence[str],
    samples: Sequence[Sample],
    sighted: Pass,
    predict: Predict,
    tasks: Mapping[str, Task],
    seed: int,
    notes: list[str],
    progress: Progress | None,
) -> dict[str, Pass]:
    """Runs the pass of each control; adds notes on controls that cannot be run, and on samples without an image."""
    asked: dict[str, Pass] = {}
    without = sum(not sample.media for sample in samples)
    for name in controls if without < len(samples) else ():
        if name in COPIES:
            copied = _copied(name, samples, tasks)
            if copied.samples:  # it costs nothing, and most tasks have nothing to copy
                asked[name] = copied
            continue
        try:
            changed = CONTROLS[name](samples, seed)
            if not changed:
                raise DataError("it applies to none of the samples.")
            # Images are only looked at in the pass with the image.
            changed = {number: one.without_pictures() for number, one in changed.items()}
            asked[name] = _ask(name, changed, predict, tasks, sighted, progress)
        except (DataError, UnansweredError) as error:
            # There are too few images to exchange, or the model accepts no prompt without one: other results stay
            # valid.
            notes.append(f"The control {name} was skipped: {error}")

    if without:
        notes.append(
            f"{without} of {len(samples)} samples have no image; they are excluded from the controls."
        )
    return asked


def _copied(name: str, samples: Sequence[Sample], tasks: Mapping[str, Task]) -> Pass:
    """The pass of a control that answers without the model, for tasks whose score needs only an answer."""
    found = {}
    for number, prediction in COPIES[name](samples).items():
        task = tasks[samples[number].task]
        if not is_of_likelihoods(task.metrics[task.first]):
            found[number] = prediction

    parsed = {number: tasks[samples[number].task].parse(one.text) for number, one in found.items()}
    return Pass(
        {number: samples[number] for number in found}, found, parsed, {number: {} for number in found}
    )


def majority_answers(samples: Iterable[Sample]) -> dict[str, str]:
    """The most frequent right answer for each ``task/type``; ties go to the alphabetically first."""
    return Baselines(samples).majority


def rescored(config: Any, items: Sequence[Item]) -> tuple[Any, np.ndarray]:
    """A metric, and its rows (R K) for stored answers.

    Likelihoods and drawn images are not stored, so for a metric that needs them each row states whether the answer was
    right.
    """
    metric = config.build()
    if is_of_likelihoods(metric) or is_of_pictures(metric):
        right = [(float(item.answer.right), 1.0) for item in items]
        return exact_match.ExactMatch(), np.array(right)

    answers = [item.answer.parsed for item in items]
    return metric, metric.rows(answers, [item.sample for item in items])


def _task(name: str, config: Any, can_score: bool, draws: bool, notes: list[str]) -> Task:
    """A task with its metrics; adds a note on each metric that is left out.

    Raises:
        RecipeError: the task has no metric, lists one twice, or its first metric cannot be the score.
        BackendError: its first metric needs likelihoods, which the predictor does not provide.
    """
    config = config if config is not None else catalog.config_class("data.tasks", name)()
    kinds = [configs.kind_of(one) for one in config.metrics]
    if not kinds:
        raise RecipeError(f"task {name!r} has no metric; set one, such as metrics: [exact_match].")
    if len(set(kinds)) < len(kinds):
        raise RecipeError(f"task {name!r} lists a metric twice: {', '.join(kinds)}.")

    metrics = {kind: one.build() for kind, one in zip(kinds, config.metrics, strict=True)}
    _check_score(name, kinds[0], metrics[kinds[0]], can_score, draws)
    if not can_score:
        for other in list(metrics):
            if is_of_likelihoods(metrics[other]):
                del metrics[other]
                notes.append(
                    f"{name}: {other} was not computed: it needs likelihoods, which this predictor does not provide."
                )
    return Task(name, config.build().parse, metrics, _writers(config))


_WRITERS = ("rendered", "image_tokens")
"""Writers whose images the report shows."""


def _writers(config: Any) -> dict[str, Any]:
    """Writers that draw answers which have already been given, for a task whose answers are images; its own one first."""
    own = getattr(config, "writer", None)
    if own is None:
        return {}
    others = {name: catalog.config_class("answers.writers", name)() for name in _WRITERS}
    known = {
        configs.kind_of(own): own,
        **{name: one for name, one in others.items() if name != configs.kind_of(own)},
    }
    if not hasattr(own, "completing"):  # such as text: the task wants no images
        return {}
    return {name: one.completing() for name, one in known.items() if hasattr(one, "completing")}


def _check_score(task: str, name: str, metric: Any, can_score: bool, draws: bool) -> None:
    """Checks that a metric can be the score of a task, all of whose samples are drawings if `draws` is set.

    Raises:
        RecipeError: lower is better for the metric, it scores images and the task has texts or the other way round, or it
            compares passes.
        BackendError: it needs likelihoods, which the predictor does not provide.
    """
    if getattr(metric, "less_is_better", False):
        raise RecipeError(
            f"task {task!r}: lower is better for {name}, so it cannot be the score; list another metric first."
        )
    if draws and not is_of_pictures(metric):
        raise RecipeError(
            f"task {task!r}: {name} scores texts, but the answers are drawings; list a metric of images first, such as "
            "{kind: drawn_attributes, judge: RUN}."
        )
    if is_of_pictures(metric) and not draws:
        raise RecipeError(
            f"task {task!r}: {name} scores drawn images, which baselines and controls do not have, so it cannot be the "
            "score; list another metric first."
        )
    if not is_of_likelihoods(metric):
        return
    if tuple(metric.passes) != (SIGHTED,):
        raise RecipeError(
            f"task {task!r}: {name} compares passes, so it cannot be the score; list another metric first."
        )
    if not can_score:
        raise BackendError(
            f"task {task!r}: {name} needs likelihoods, which this predictor does not provide; list another "
            "metric first."
        )


def _check(samples: Sequence[Sample], controls: Sequence[str]) -> None:
    if not samples:
        raise DataError("evaluate: there are no samples; at least one is needed.")
    empty = [sample for sample in samples if not sample.references and not is_drawn(sample)]
    if empty:
        raise DataError(
            f"evaluate: {len(empty)} of {len(samples)} samples have no reference answer, the first being "
            f"{empty[0].id!r} ({empty[0].task}); remove them or add answers."
        )
    for name in controls:
        if name not in ALL:
            raise RecipeError(f"evaluate: no control {name!r}. {did_you_mean(name, ALL)}")


def _ask(
    name: str,
    samples: Mapping[int, Sample],
    predict: Predict,
    tasks: Mapping[str, Task],
    sighted: Pass | None,
    progress: Progress | None,
) -> Pass:
    """Runs one pass over samples; `sighted` is the pass with the images, or None during that pass.

    Texts that the metrics score are sent together with the prompts if they are known before the answers.
    """
    if progress is not None:
        progress(name, len(samples))

    def wanted(number: int, answer: str | None) -> tuple[str, ...]:
        sample = samples[number]
        texts: dict[str, None] = {}
        for metric in tasks[sample.task].judging(name):
            texts.update(dict.fromkeys(metric.candidates(answer, sample)))
        return tuple(texts)

    # Get the answers, and the likelihoods of texts that are known before them.
    before = {n: wanted(n, sighted.parsed[n] if sighted else None) for n in samples}
    given = predict(list(samples.values()), list(before.values()), write=True)
    _check_count(name, given, samples)
    predictions = {}
    for (n, sample), one in zip(samples.items(), given, strict=True):
        predictions[n] = tasks[sample.task].completed(one, sample)
    judged = {n: dict(zip(before[n], one.likelihoods, strict=True)) for n, one in predictions.items()}
    parsed = {n: tasks[samples[n].task].parse(one.text) for n, one in predictions.items()}

    # Score texts that depend on the answers with the image, if a metric needs them.
    late: dict[int, list[str]] = {}
    for n in samples if sighted is None else ():
        texts = [text for text in wanted(n, parsed[n]) if text not in judged[n]]
        if texts:
            late[n] = texts
    if late:
        more = predict([samples[n] for n in late], list(late.values()), write=False)
        _check_count(name, more, late)
        for (n, texts), one in zip(late.items(), more, strict=True):
            judged[n].update(zip(texts, one.likelihoods, strict=True))

    return Pass(samples, predictions, parsed, judged)


def _check_count(name: str, given: Sequence[Prediction], samples: Mapping[int, Any]) -> None:
    if len(given) != len(samples):
        raise DataError(
            f"evaluate, pass {name!r}: {len(given)} prediction(s) for {len(samples)} sample(s); "
            "the predictor must return one for each, in order."
        )


def _with_holm(tasks: Sequence[TaskScores]) -> tuple[TaskScores, ...]:
    """The tasks with the p-values of their gains, Holm-corrected over all tasks."""
    tested = [task.gain_p for task in tasks if task.gain_p is not None]
    adjusted = iter(statistics.holm(tested))
    return tuple(task if task.gain_p is None else replace(task, gain_p=next(adjusted)) for task in tasks)


def _item(common: Asked, task: Task, number: int, right: Mapping[tuple[str, int], bool], split: str) -> Item:
    """A sample with its answers in all passes."""
    sample = common.samples[number]
    controls = {}
    for name, done in common.asked.items():
        if number in done.predictions:
            controls[name] = _answer(done, number, right[name, number])

    return Item(
        id=sample.id,
        group=sample.group,
        task=sample.task,
        type=type_of(sample),
        prompt=sample.prompt,
        references=sample.references,
        options=sample.options,
        tags=dict(sample.tags),
        answer=_answer(common.sighted, number, right[SIGHTED, number]),
        controls=controls,
        target_image=_key_of(target_image(sample)),
        pictures=_keys(split, sample, task.images(common.sighted.predictions[number], sample)),
    )


def _key_of(medium: Medium | None) -> str:
    return "" if medium is None else medium.key


def _keys(split: str, sample: Sample, images: Mapping[str, Any]) -> dict[str, str]:
    """Keys of the images of an answer, by the writer that made them."""
    return {writer: f"{split}/{sample.id}#{writer}" for writer in images}


def _drawn(items: Sequence[Item], tasks: Mapping[str, Task], common: Asked) -> dict[str, Medium]:
    """The images of all answers by key; they are drawn when they are loaded."""
    found: dict[str, Medium] = {}
    for number, item in enumerate(items):
        if item.pictures:
            images = tasks[item.task].images(common.sighted.predictions[number], common.samples[number])
            found |= _media(item.pictures, images)
    return found


def _media(keys: Mapping[str, str], images: Mapping[str, Callable[[], Any]]) -> dict[str, Medium]:
    """The images of an answer by key."""
    return {
        keys[writer]: Medium(partial(_pixels, draw, keys[writer]), keys[writer])
        for writer, draw in images.items()
    }


def drawings(
    samples: Sequence[Sample], predict: Predict, *, split: str = ""
) -> tuple[tuple[Drawing, ...], dict[str, Medium]]:
    """Images that a model makes for prompts whose answers are not scored, and these images by key.

    Args:
        samples: Samples whose target contains an image.
        predict: Answers samples.
        split: Name of the split, for the keys.
    """
    found: list[Drawing] = []
    images: dict[str, Medium] = {}
    for sample, one in zip(samples, predict(samples, [()] * len(samples), write=True), strict=True):
        made = Task(sample.task, str, {}).images(one, sample)
        keys = _keys(split, sample, made)
        images |= _media(keys, made)
        target = _key_of(target_image(sample))
        found.append(Drawing(id=sample.id, prompt=sample.prompt, pictures=keys, target_image=target))
    return tuple(found), images


def _pixels(draw: Callable[[], Any], key: str) -> np.ndarray:
    return image_files.load(Medium(draw(), key))


def _answer(done: Pass, number: int, is_right: bool) -> Answer:
    """The answer to a sample in one pass."""
    prediction, media = done.predictions[number], done.samples[number].media
    return Answer(
        text=prediction.text,
        parsed=done.parsed[number],
        right=is_right,
        logprob=prediction.logprob,
        finish=prediction.finish,
        image=media[0].key if media else "",
    )
