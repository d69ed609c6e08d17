"""Evaluation of anything that answers prompts, the report pages, and the comparison of two evaluations."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.answers.metrics import multiple_choice
from sightweave.answers.metrics.background_psnr import inside_boxes
from sightweave.core import answer_files, bounded, catalog, files, json_lines, old_names, outputs, places
from sightweave.core import config as configs
from sightweave.core.bounded import UnreadableError
from sightweave.core.config import config, one_of
from sightweave.core.device import choose_device, keep_freed_memory, limit_threads
from sightweave.core.errors import CheckpointError, DataError, MediaError, RecipeError
from sightweave.core.progress import wanted
from sightweave.core.text_regions import parse_regions
from sightweave.core.types import Medium, Sample
from sightweave.data.inputs import image_files, order, thumbnails
from sightweave.data.phrasing.lettered_options import hides_options
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.splits import is_for_choosing
from sightweave.data.reading.subset import draw
from sightweave.pages import gallery
from sightweave.pages import page as pages
from sightweave.pages.beside import write_beside
from sightweave.pages.difference import Difference, difference
from sightweave.pages.notebook import Shown
from sightweave.programs import generation
from sightweave.programs.evaluation import beside as beside_program
from sightweave.programs.evaluation import circular, scores, stored
from sightweave.programs.evaluation import program as evaluation_program
from sightweave.programs.evaluation.bar import PassesBar
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.programs.evaluation.beside import Beside
from sightweave.programs.evaluation.controls import COPIES
from sightweave.programs.evaluation.drawings import Draw, RunJudge, WithDrawings, drawer, is_drawn
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.evaluation.passes import target_image
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.sharing import Sharing
from sightweave.programs.evaluation.stored import EVALUATION, PREDICTIONS
from sightweave.programs.predictors import run as run_predictor
from sightweave.programs.predictors._base import Predictor
from sightweave.programs.training import spikes
from sightweave.programs.training.logs import METRICS, EventsFile, read_metrics
from sightweave.programs.training.world import World, all_of
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs import text_only
from sightweave.verbs.building import load
from sightweave.verbs.sources import (
    build_sources,
    check_places,
    check_splits,
    has_near_places,
    held_out_of,
    read_data,
    say,
)

logger = logging.getLogger(__name__)

KEPT = "answers.jsonl"
"""The file that caches answers as they arrive, so that a stopped evaluation can resume."""
_ALONE = World()
GALLERY, INDEX, REPORT = "gallery", "index.json", "report.html"
EVALUATIONS = Path("evaluations")
PREDICTORS = "programs.predictors"


@old_names.accepts(pictures="max_images")
def evaluate(  # one argument for each option of the command
    who: str | Path | Mapping[str, Any] | Run,
    *settings: str,
    data: Any = None,
    splits: Sequence[str] = (),
    max_images: int | None = None,
    controls: Sequence[str] | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    trust_run: bool = False,
    processes: int = 1,
    progress: bool | None = None,
    console: Console | None = None,
) -> list[Evaluation]:
    """Evaluates a run or any other model on held-out data, with confidence intervals, chance levels and controls.

    Answers are cached as they arrive: the same call resumes where it was stopped, and no prompt is asked twice.

    Args:
        who: A run or its folder, a Transformers folder, an endpoint's URL, a file of answers, or a mapping with a
            kind of ``programs/predictors`` and its fields (also as text, ``{kind: endpoint, url: ..., model: ...}``).
        settings: ``path=value`` settings of ``evaluate``, ``tasks`` and ``seed``, such as
            ``"tasks.vqa.metrics=[vqa_official, exact_match]"``.
        data: A path, a source as in a recipe (also as text, ``{kind: scenes, seed: 1}``), a list of these, or rows; by
            default the test splits of the run's own data.
        splits: The splits to score; use ``validation`` to choose between recipes.
        max_images: Maximum images per split, sampled from the whole split; by default the recipe's value.
        controls: Names of ``programs/evaluation/controls.py``; by default the recipe's value.
        out: Folder for evaluation.json, predictions.jsonl, report.html and the cached answers; by default the run's
            folder, a folder inside it for other data, or one under ``evaluations/``. A name that ends in ``.csv`` leaves
            the default folder in place and also writes the answers to that table.
        fresh: Whether to ignore cached answers and ask again.
        trust_run: As for `load`.
        processes: Number of processes that torchrun started, each of which calls this: they share the prompts. The first
            one scores the answers and writes the files; the others return an empty list.
        progress: True shows progress in a log too, False never; None shows it in a terminal or a notebook.
        console: Where progress is shown; by default standard error, or the cell's output in a notebook.

    Raises:
        DataError: there is nothing to score.
        RecipeError: a mistake in a setting, or an address that no predictor recognises.
        BackendError: the model or endpoint cannot answer, or another process stopped or cannot be reached.
        FolderError: the folder holds files that Sightweave did not write and would overwrite, or another process writes
            into it.
    """
    keep_freed_memory()
    limit_threads()
    chosen = {"splits": splits or None, "max_images": max_images, "controls": controls}
    settings = (*settings, *_as_settings(chosen))
    with all_of(processes, os.environ, "evaluate") as world:
        world.device(choose_device())  # each process of a machine takes its own GPU
        shown = wanted(console, progress) if world.is_first else None
        return _evaluated(who, settings, data, out, world, fresh, trust_run, shown)


def _evaluated(  # all arguments of `evaluate`
    who: str | Path | Mapping[str, Any] | Run,
    settings: Sequence[str],
    data: Any,
    out: str | Path | None,
    world: World,
    fresh: bool,
    trust_run: bool,
    console: Console | None,
) -> list[Evaluation]:
    """Evaluates in one of the processes."""
    other = _other_data(settings, data)
    answering = _answering(who, trust_run=trust_run)
    if other is None and answering.run is not None:
        check_places(answering.run)

    # The settings and the data.
    measured, records = _measured(answering, data, settings)
    if other is None and answering.run is not None and not measured.data:
        raise RecipeError(
            f"{answering.predictor.name}: was trained on records passed in Python, which a run does not store; pass them "
            "again, as evaluate(run, data=records), or evaluate it on a folder: sightweave evaluate RUN --data FOLDER."
        )
    held_out = _held_out(measured, records, is_other=other is not None)

    if answering.recipe is None:
        measured = _scored_by_choice(measured, held_out)
    train = answering.train if answering.recipe is not None else lambda: _training_data(measured)

    # The answers and their scores.
    if not world.is_first:
        _answer_along(answering, measured, held_out, world)
        return []
    folder, table = _outputs(answering, out, None if other is None else _data_name(other, records))
    with _claimed(folder):
        if fresh and folder is not None:
            (folder / KEPT).unlink(missing_ok=True)
        found = evaluate_into(answering, measured, folder, held_out, console, train, world)
    if table is not None:
        written = answer_files.write(table, _predictions(found), more=("right", "expected"))
        collections.deque(written, maxlen=0)
    return found


def _answer_along(
    answering: Answering,
    measured: recipes.Measured,
    held_out: Mapping[str, Sequence[Dataset]],
    world: World,
) -> None:
    """Answers this process's share of the prompts; the first process scores all answers."""
    who = answering.predictor
    _limit_batches(who, measured)
    sharing = Sharing(who, world)

    tasks = measured.build_tasks()
    world.barrier()  # the first process has more to prepare
    for sources in held_out.values():
        samples, _, _ = _drawn_samples(sources, tasks, measured)
        _check_same(samples, world)
        for some in _by_subset(samples).values():
            evaluation_program.ask(
                some,
                sharing.follow,
                controls=_controls(who, measured),
                tasks={name: measured.task(name) for name in tasks},
                seed=measured.seed,
                can_score=who.can_score,
            )


def _check_same(samples: Sequence[Sample], world: World) -> None:
    """Checks that all processes have the same prompts, whose answers are texts."""
    drawn = sum(map(is_drawn, samples))
    if drawn:
        raise DataError(
            f"evaluate: {drawn} of {len(samples)} samples are drawings, which {world.size} processes cannot share; evaluate "
            "them in one process, without torchrun."
        )
    parts = [f"{one.task} {one.id} {one.prompt}" for one in samples]
    world.check_same("the data to evaluate on", order.fingerprint(parts))


def _limit_batches(who: Predictor, measured: recipes.Measured) -> None:
    most = measured.evaluate.max_batch_tokens
    if most is not None and hasattr(who, "max_batch_tokens"):  # it runs in this process
        who.max_batch_tokens = most


def _other_data(settings: Sequence[str], data: Any) -> Any:
    """The data scored instead of the run's own, from the argument or from a setting; None if neither names any."""
    if data is not None:
        return data
    for setting in settings:
        name, _, value = setting.partition("=")
        if name.strip().partition(".")[0] == "data":
            return value
    return None


def _as_settings(chosen: Mapping[str, Any]) -> list[str]:
    """Arguments of `evaluate` as ``evaluate.NAME=VALUE`` settings; those that are None are left out."""
    found = []
    for name, value in chosen.items():
        if value is not None:
            plain = list(value) if isinstance(value, Sequence) else value
            found.append(f"evaluate.{name}={json.dumps(plain)}")
    return found


def _measured(
    answering: Answering, data: Any, settings: Sequence[str]
) -> tuple[recipes.Measured, list[Any] | None]:
    """The evaluation settings of the run or predictor, overridden by `data` and `settings`.

    Also returns the rows if `data` is a list of rows, else None.
    """
    values, records = answering.measured.to_plain(), None
    if data is not None:
        sources, records = read_data(data)
        values["data"] = list(map(configs.to_plain, sources)) or values["data"]

    names = [field.name for field in dataclasses.fields(recipes.Measured)]
    measured = recipes.measured({name: values[name] for name in names}, settings)
    check_splits(measured)
    return measured, records


def _held_out(
    measured: recipes.Measured, records: list[Any] | None, *, is_other: bool
) -> dict[str, list[Dataset]]:
    """The splits to score; if data other than the run's own has no held-out split, all of its rows are scored.

    Raises:
        DataError: there is nothing to score.
    """
    held_out = held_out_of(measured, records)
    if not held_out and is_other:
        everything = build_sources(measured, records, "train")
        held_out = {"all": everything} if any(map(len, everything)) else {}
    if not held_out:
        raise DataError("evaluate: the data has no held-out records; choose a split, or use other data.")
    return held_out


def _outputs(
    answering: Answering, out: str | Path | None, other: str | None
) -> tuple[Path | None, Path | None]:
    """The folder for the results, and the table for the answers if `out` names one.

    Args:
        answering: Gives the default folder.
        out: As for `evaluate`.
        other: A name for the data if it is not the run's own.
    """
    if out is not None and not answer_files.is_table(out):
        return Path(out), None

    table = None if out is None else Path(out)
    if table is not None:
        answer_files.check(table)
    folder = answering.folder
    if folder is not None and other is not None and answering.recipe is not None:
        folder = folder / EVALUATIONS / other  # keeps the run's scores on its own data
    return folder, table


def _data_name(data: Any, records: list[Any] | None) -> str:
    """The name of a folder for scores on these data."""
    return "records" if records is not None else _word_of(data)


def _predictions(found: Sequence[Evaluation]) -> Iterator[dict[str, Any]]:
    """The rows of ``predictions.jsonl`` of all splits."""
    for one in found:
        yield from one.predictions()


def _claimed(folder: Path | None) -> AbstractContextManager[None]:
    """Locks the folder of an evaluation against other commands."""
    if folder is None:
        return contextlib.nullcontext()
    return files.claimed(
        folder, writes=outputs.EVALUATION_FILES, markers=outputs.MARKERS, purpose="evaluation"
    )


@dataclasses.dataclass(frozen=True)
class Answering:
    """A predictor, with the settings and the data that its evaluation needs."""

    predictor: Predictor
    measured: recipes.Measured
    recipe: Recipe | None
    """The recipe of a run; None for any other predictor."""
    folder: Path | None
    """Default folder for the results."""
    train: Callable[[], Sequence[Dataset]]
    """Reads the data it was trained on."""
    unfinished: str = ""
    """A sentence about a run whose training ended early."""
    run: Run | None = None
    """The run, if the predictor is one."""


def _answering(who: str | Path | Mapping[str, Any] | Run, *, trust_run: bool) -> Answering:
    """The predictor that `who` names, with its settings and its training data."""
    who = who if isinstance(who, Run) else _read_who(who)
    if isinstance(who, str | Path) and run_predictor.recognise(str(who)):
        who = load(who, trust_run=trust_run)
    if isinstance(who, Run):
        return _answering_run(who)

    # A run was trained with or without listed options; any other model knows only what the prompt says.
    found = predictor(who)
    listing = {name: {"list_options": True} for name in _tasks_with_options()}
    measured = recipes.Measured(tasks=listing)
    return Answering(found, measured, None, EVALUATIONS / _word_of(found.name), lambda: ())


def _answering_run(run: Run) -> Answering:
    def train() -> Sequence[Dataset]:
        if has_near_places(run):
            return _training_data(run.recipe)
        logger.warning(
            "the majority answer is unknown: the training data of %s is elsewhere and is read only if you trust the "
            "run (--trust-run, or trust_run=True)",
            run.folder,
        )
        return []

    run.warn_untrained()
    return Answering(run.predictor(), run.recipe, run.recipe, run.folder, train, run.unfinished, run)


def _tasks_with_options() -> list[str]:
    """Names of the tasks that can list answer options in their prompts."""
    found = []
    for name in catalog.kinds("data.tasks"):
        fields = dataclasses.fields(catalog.config_class("data.tasks", name))
        if any(field.name == "list_options" for field in fields):
            found.append(name)
    return found


def _scored_by_choice(
    measured: recipes.Measured, held_out: Mapping[str, Sequence[Dataset]]
) -> recipes.Measured:
    """The same settings, with multiple_choice as the first metric of tasks whose questions all list their options.

    Chat models answer "B. red", which equals no reference. Tasks whose metrics were set explicitly keep them.
    """
    tasks = measured.build_tasks()
    samples: list[Sample] = []
    for sources in held_out.values():
        samples += _drawn_samples(sources, tasks, measured)[0]
    samples_of = _by_task(samples)

    chosen = {name: dict(values) for name, values in measured.tasks.items()}
    for name in _tasks_with_options():
        here = samples_of.get(name, [])
        lists = chosen.get(name, {}).get("list_options", False) and not any(map(hides_options, here))
        if here and lists and "metrics" not in chosen[name] and _are_choices(here):
            own = map(configs.to_plain, measured.task(name).metrics)
            chosen[name]["metrics"] = ["multiple_choice", *own]

    return dataclasses.replace(measured, tasks=chosen)


def _by_task(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """The samples of each task, in their order."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.task, []).append(sample)
    return found


def _are_choices(samples: Sequence[Sample]) -> bool:
    """Whether multiple_choice can score all samples: each has options, and its references are among them."""
    try:
        multiple_choice.Config().build().rows([None] * len(samples), samples)
    except DataError:
        return False
    return True


def _hidden_options(samples: Sequence[Sample]) -> list[str]:
    """A sentence about each task with answer options that vary by question and that its prompts do not list."""
    found = []
    for name, here in sorted(_by_task(samples).items()):
        hidden = list(filter(hides_options, here))
        options_of: dict[str | None, set[Any]] = collections.defaultdict(set)
        for sample in hidden:
            options_of[sample.tags.get("type")].add(sample.options)

        # If all questions of a type share the same options, a model may have learnt them.
        if any(len(options) > 1 for options in options_of.values()):
            found.append(
                f"{name}: {len(hidden)} of {len(here)} prompts do not list their options; "
                f"set tasks.{name}.list_options=true to list them."
            )
    return found


def predictor(who: str | Path | Mapping[str, Any]) -> Predictor:
    """Returns the predictor for a path or an address: one of the kinds of ``programs/predictors``.

    Raises:
        RecipeError: no kind recognises it, or a mistake in its fields.
        CheckpointError: a damaged folder.
    """
    who = _read_who(who)
    if isinstance(who, Mapping):
        return configs.build(_PredictorOnly, {"who": dict(who)}, where="who").who.build()  # type: ignore[no-any-return]  # any kind
    if run_predictor.recognise(str(who)):
        return load(who).predictor()

    for kind in catalog.kinds(PREDICTORS):
        if catalog.module(PREDICTORS, kind).recognise(str(who)):
            return catalog.config_class(PREDICTORS, kind).at(str(who)).build()  # type: ignore[no-any-return]  # any kind
    places.refuse_who(str(who))


def _read_who(who: str | Path | Mapping[str, Any]) -> str | Path | Mapping[str, Any]:
    """Parses a mapping given as text; returns the path of one that names a run as a Transformers folder.

    The one line of code of a ``custom_code`` export imports Sightweave, so the run inside is loaded natively.
    """
    if isinstance(who, str) and who.lstrip().startswith("{"):
        who = configs.override({}, [f"who={who}"])["who"]
    if isinstance(who, Mapping) and who.get("kind") == "from_transformers":
        path = who.get("path")
        return path if isinstance(path, str) and run_predictor.recognise(path) else who
    return who


@config
class _PredictorOnly:
    who: Annotated[Any, one_of(PREDICTORS)]


_MAX_WORD = 60
"""Maximum characters of a word that names a folder."""
_MAX_PATH = 255
"""Maximum characters of a text that is looked up as a path."""


def _word_of(value: Any) -> str:
    """Turns a value into a short word that is safe to use in the name of a folder."""
    if isinstance(value, list | tuple):
        return "-".join(map(_word_of, value))[:_MAX_WORD] or "data"

    text = str(value).rstrip("/")
    is_path = len(text) < _MAX_PATH and Path(text).exists()
    name = Path(text).name if is_path else text
    word = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
    while "--" in word:
        word = word.replace("--", "-")
    return word[:_MAX_WORD] or "data"


def evaluate_into(
    answering: Answering,
    measured: recipes.Measured,
    folder: Path | None,
    held_out: Mapping[str, Sequence[Dataset]],
    console: Console | None,
    train: Callable[[], Sequence[Dataset]],
    world: World = _ALONE,
) -> list[Evaluation]:
    """Scores each split; with a folder, writes evaluation.json, predictions.jsonl and the report.

    Several processes share the prompts; this is called in the first one.
    """
    began = time.perf_counter()
    asked = measured.evaluate
    who = answering.predictor
    _limit_batches(who, measured)
    baselines = text_only.baselines(train(), measured, answering.recipe, answering.folder)
    if folder is not None:
        _check_outputs(folder, KEPT, EVALUATION, PREDICTIONS, GALLERY, REPORT)
        folder.mkdir(parents=True, exist_ok=True)

    # Answers are cached in the folder, where a later call finds them.
    bar = PassesBar(console)
    path = None if folder is None else folder / KEPT
    sharing = Sharing(who, world)
    asking = sharing if world.size > 1 else who
    kept = Kept(asking, path, max_tokens=asked.max_tokens, progress=bar.advance)
    predict = sharing.lead(kept) if world.size > 1 else kept
    predict = WithDrawings(predict, _drawer(answering, measured), bar.advance)

    world.barrier()
    scoring = _Scoring(
        answering, measured, baselines, kept, predict, bar, console, world, functools.cache(_judge)
    )
    found: list[Evaluation] = []
    images: dict[str, Medium] = {}
    for split, sources in held_out.items():
        evaluations, of_split = scoring.score(split, sources)
        found += evaluations
        images |= of_split
    if kept.reused:
        say(console, f"{kept.reused} answers reused, {kept.asked} new")

    if folder is not None:
        done = {
            "answers": {"new": kept.asked, "reused": kept.reused},
            "seconds": round(time.perf_counter() - began, 1),
        }
        document = _document(answering, measured, held_out, found) | done
        rows_shown = _write_evaluation(folder, found, images, document)
        say(console, f"report: {_write_report(folder, found, rows_shown)}")
    return Shown(found)


def _drawer(answering: Answering, measured: recipes.Measured) -> Draw | None:
    """A function that draws with the evaluated run; None if it is no run, or makes no images."""
    if answering.run is None:
        return None
    options = generation.Options(
        picture_decoding=measured.evaluate.picture_decoding,
        guidance=measured.evaluate.guidance,
        seed=measured.seed,
        max_batch_tokens=measured.evaluate.max_batch_tokens,
    )
    return drawer(answering.run.model, answering.run.processor, options)


def _judge(folder: str) -> RunJudge:
    """The run in a folder as a judge of drawings.

    Raises:
        CheckpointError: there is no run, or it is damaged.
    """
    run = load(folder)
    run.warn_untrained()
    return RunJudge(
        model=run.model,
        processor=run.processor,
        tasks={name: run.recipe.task(name).build() for name in ("vqa", "reasoning")},
        name=folder,
        fingerprint=run.fingerprint(),
    )


@dataclasses.dataclass(frozen=True)
class _Scoring:
    """Scores each split in turn, with the same predictor and settings."""

    answering: Answering
    measured: recipes.Measured
    baselines: Baselines
    """Baselines that answer from the training data alone."""
    kept: Kept
    """The predictor behind a cache of its answers."""
    predict: evaluation_program.Predict
    """Answers a pass with it, and with the other processes if there are any."""
    bar: PassesBar
    console: Console | None
    world: World
    judges: Callable[[str], RunJudge]
    """Loads a judge of drawings from the folder of its run."""

    def score(self, split: str, sources: Sequence[Dataset]) -> tuple[list[Evaluation], dict[str, Medium]]:
        """Returns an evaluation of each subset of a split, and the split's images by key."""
        measured, who = self.measured, self.answering.predictor
        tasks = measured.build_tasks()
        samples, total, counted = _drawn_samples(sources, tasks, measured)
        if self.world.size > 1:
            _check_same(samples, self.world)
        unscored = _unscored(sources, tasks, measured, who)
        images = _images_of([*samples, *unscored])
        controls = _controls(who, measured)
        num_asked = len([name for name in controls if name not in COPIES])
        say(
            self.console,
            f"evaluating {split}: {counted}, {len(samples):,} prompts, {num_asked} controls",
        )

        # Drawings first: a split may have nothing else.
        drawings: tuple[scores.Drawing, ...] = ()
        if unscored:
            with self.bar:
                self.bar.start("drawings", len(unscored))
                drawings, drawn = evaluation_program.drawings(unscored, self.predict, split=split)
            images |= drawn
        if not samples:
            return [_only_drawings(split, measured.seed, drawings)], images

        found = []
        for subset, some in _by_subset(samples).items():
            with self.bar:
                one = evaluation_program.evaluate(
                    some,
                    self.predict,
                    split=f"{split}, {subset}" if subset else split,
                    pictures_total=total,
                    train=self.baselines,
                    controls=controls,
                    tasks={name: measured.task(name) for name in tasks},
                    seed=measured.seed,
                    can_score=who.can_score,
                    judges=self.judges,
                    progress=self.bar.start,
                )

            # Notes and thumbnails are for the report and for notebooks.
            notes = [*self._notes_on(one, some), *_notes(split, who, measured, len(some), len(samples))]
            shown = {row["image"] for row in scores.few_rows(one)} & images.keys()
            thumbnails_of = {key: thumbnails.kept(images[key]) for key in shown}
            images |= one.drawn
            found.append(dataclasses.replace(one, notes=tuple(notes), media=thumbnails_of))
        found[0] = dataclasses.replace(found[0], drawings=drawings)
        return found, images

    def _notes_on(self, one: Evaluation, samples: Sequence[Sample]) -> list[str]:
        """Notes from everything that took part in scoring these samples."""
        unfinished = self.answering.unfinished
        return [
            *([unfinished] if unfinished else []),
            *one.notes,
            *_hidden_options(samples),
            *getattr(self.answering.predictor, "notes", ()),
            *self.kept.notes,
            *self.kept.take_notes(),
        ]


def _only_drawings(split: str, seed: int, drawings: tuple[scores.Drawing, ...]) -> Evaluation:
    """The evaluation of a split whose answers are drawings, which are shown but not scored."""
    return Evaluation(
        split=split,
        seed=seed,
        count=0,
        pictures=0,
        tasks=(),
        sentence=f"{len(drawings)} drawings are shown in the report; they are not scored.",
        drawings=drawings,
    )


def _images_of(samples: Sequence[Sample]) -> dict[str, Medium]:
    """The images of all samples by key, with their reference images."""
    found: dict[str, Medium] = {}
    for sample in samples:
        found |= {medium.key: medium for medium in sample.media if medium.modality == "image"}
        target = target_image(sample)
        if target is not None:
            found[target.key] = target
    return found


def _controls(who: Predictor, measured: recipes.Measured) -> tuple[str, ...]:
    """The controls to run; a file of answers allows only those that ask nothing."""
    names: tuple[str, ...] = measured.evaluate.controls
    return names if who.can_control else tuple([name for name in names if name in COPIES])


def _check_outputs(folder: Path, *names: str) -> None:
    """Raises `DataError` if one of the files to be written is a link."""
    try:
        bounded.check_no_links(folder, *names)
    except UnreadableError as error:
        raise DataError(str(error)) from None


def _notes(split: str, who: Predictor, measured: recipes.Measured, count: int, total: int) -> Iterator[str]:
    """Caveats about how the scores of `count` of a split's `total` prompts were obtained."""
    if is_for_choosing(split) and not measured.evaluate.splits:
        yield (
            f"There is no test split with answers, so {split} is used; scores are optimistic for anything chosen on it."
        )
    if not who.can_control:
        yield "A file of answers cannot be asked again with other images, so there are no controls that ask it."
    if count < total:
        yield f"{count} of the {total} prompts of {split!r}; the others are in a separate table."


def _by_subset(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """The samples without a ``subset`` tag under "", then those of each subset."""
    found: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: bool(sample.tags.get("subset"))):
        found.setdefault(sample.tags.get("subset", ""), []).append(sample)
    return found


def _document(
    answering: Answering,
    measured: recipes.Measured,
    held_out: Mapping[str, Sequence[Dataset]],
    found: Sequence[Evaluation],
) -> dict[str, Any]:
    """The content of ``evaluation.json``: the scores, and everything they depend on."""
    # The device is known only for models that run in this process, not for endpoints and files of answers.
    device = getattr(answering.predictor, "device", None)
    facts = runs.facts(device or torch.device("cpu"))
    where = {} if device is None else {"device": str(device), "processor": facts["processor"]}

    tasks: set[str] = set()
    for one in found:
        tasks |= {task.task for task in one.tasks}
    instructions = [f"{name}: {measured.task(name).instruction}" for name in sorted(tasks)]
    fingerprints: list[str] = []
    for sources in held_out.values():
        fingerprints += map(_fingerprint_of, sources)

    return {
        "format_version": scores.FORMAT_VERSION,
        "who": answering.predictor.name,
        "fingerprint": answering.predictor.fingerprint,
        "recipe": (answering.recipe or measured).to_plain(),
        "measured": measured.to_plain(),
        "seed": measured.seed,
        "data": order.fingerprint(fingerprints),
        "versions": facts["versions"] | {"python": facts["python"]},
        "commit": facts["commit"],
        **where,
        "template": "\n".join(instructions),
        "splits": [one.to_json() for one in found],
    }


def _fingerprint_of(dataset: Dataset) -> str:
    return str(getattr(dataset, "fingerprint", len(dataset)))


def _drawn_samples(
    sources: Sequence[Dataset], tasks: Mapping[str, Any], measured: recipes.Measured
) -> tuple[list[Sample], int | None, str]:
    """The samples of a split to score, its image count if only some were sampled, and a phrase that states both.

    Drawings are scored if their task has metrics.
    """
    asked = measured.evaluate
    scored = {name for name in tasks if measured.task(name).metrics}
    total = sum(map(len, sources))
    chosen = draw(sources, asked.max_images, seed=asked.draw_seed)

    samples = []
    for number, index in chosen:
        for record in sources[number][index]:
            sample = tasks[task_of(record)].sample(record)
            if sample.references or (is_drawn(sample) and sample.task in scored):
                samples.append(sample)
    if asked.circular:
        samples = circular.expand(samples)

    if len(chosen) == total:
        return samples, None, f"{total:,} images"
    return samples, total, f"{len(chosen):,} of {total:,} images"


def _unscored(
    sources: Sequence[Dataset], tasks: Mapping[str, Any], measured: recipes.Measured, who: Predictor
) -> list[Sample]:
    """The first samples of a split that ask for an image and are not scored, if the predictor makes images."""
    if not getattr(who, "draws_pictures", False):
        return []
    asked = measured.evaluate
    found: list[Sample] = []
    for number, index in draw(sources, asked.max_images, seed=asked.draw_seed):
        for record in sources[number][index]:
            sample = tasks[task_of(record)].sample(record)
            is_scored = bool(sample.references or measured.task(sample.task).metrics)
            if sample.pictures and not is_scored:
                found.append(sample)
        if len(found) >= _MOST_DRAWINGS:
            break
    return found[:_MOST_DRAWINGS]


_MOST_DRAWINGS = 24
"""Maximum number of drawings of a split that are made for the report."""


def _training_data(recipe: recipes.Measured) -> list[Dataset]:
    """The training data, for the majority answer; empty if it can no longer be read."""
    try:
        return build_sources(recipe, None, "train") if recipe.data else []
    except DataError as error:
        logger.warning("the majority answer is unknown, because the training data cannot be read: %s", error)
        return []


def _write_evaluation(
    folder: Path, found: Sequence[Evaluation], images: Mapping[str, Medium], document: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Writes everything except the report; returns the rows of the report's gallery."""
    folder.mkdir(parents=True, exist_ok=True)
    gallery_folder = folder / GALLERY
    gallery_folder.mkdir(exist_ok=True)
    # The scores of an earlier evaluation do not belong to these answers.
    for stale in (folder / EVALUATION, gallery_folder / INDEX):
        stale.unlink(missing_ok=True)

    rows = list(_predictions(found))
    with files.replacing(folder / PREDICTIONS) as stream:
        for row in rows:
            stream.write(json_lines.dumps(row).encode() + b"\n")

    # Keep the gallery's images, so that the report can be drawn again without the data.
    names: dict[str, str] = {}
    shown = gallery.choose(gallery.spread(rows))
    for key in pages.image_keys([*shown, *_drawing_rows(found)]):
        pixels = _loaded(images.get(key))
        if pixels is not None:
            names[key] = f"{len(names):04d}.png"
            image_files.save_png(pixels, gallery_folder / names[key])
    files.write_text(gallery_folder / INDEX, json_lines.dumps(names, indent=1))

    # Written last, because its presence marks the evaluation as complete.
    files.write_text(folder / EVALUATION, json_lines.dumps(document, indent=1))
    return shown


def _drawing_rows(found: Sequence[Evaluation]) -> list[Mapping[str, Any]]:
    """The keys of the images of all drawings, as in rows of predictions."""
    rows: list[Mapping[str, Any]] = []
    for one in found:
        for drawing in one.drawings:
            rows.append({"target_image": drawing.target_image, "pictures": drawing.pictures})
    return rows


def _loaded(medium: Medium | None) -> Any:
    """The pixels of an image for the gallery; None for an unknown one, or one whose words cannot be replaced."""
    if medium is None:
        return None
    try:
        return image_files.load(medium)
    except MediaError as error:
        logger.warning("%s: not shown in the report: %s", medium.key, error)
        return None


def report(run: str | Path) -> Path:
    """Writes ``report.html`` from the contents of a run's folder, and returns its path."""
    folder = Path(run)
    if not folder.is_dir():
        raise CheckpointError(places.no_folder(folder))

    scored = stored.read_evaluations(folder) if (folder / EVALUATION).exists() else []
    rows = list(_predictions(scored))
    return _write_report(folder, scored, gallery.choose(gallery.spread(rows)))


def _write_report(folder: Path, scored: Sequence[Evaluation], shown: Sequence[Mapping[str, Any]]) -> Path:
    """Writes the report of a folder from its evaluations and the rows of the gallery; returns its path."""
    facts = runs.facts_of(folder)
    known, unfinished = runs.shown_facts(facts), runs.unfinished(facts)
    recipe = _shown_recipe(folder / runs.RECIPE)
    pictures = {}
    if (folder / EVALUATION).exists():
        known = known | _evaluation_facts(stored.read_document(folder))
        pictures = _gallery(folder)

    history = read_metrics(folder / METRICS) if (folder / METRICS).exists() else []
    page = pages.Page(
        title=_title_of(recipe, folder / "recipe.yaml") or folder.name,
        facts=known,
        recipe=recipe,
        history=history,
        evaluations=[one.to_json() for one in scored],
        gallery=shown,
        pictures=pictures,
        notes=[*([unfinished] if unfinished else []), *spikes.notes(history)],
        differences=_differences(shown, pictures),
    )

    path = folder / REPORT
    _check_outputs(folder, REPORT)
    pages.write_report(path, page)
    return path


def _differences(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, Any]) -> dict[str, Difference]:
    """The differences between images of answers and their sources, by the key of the answer's image."""
    found = {}
    for row in rows:
        source = pictures.get(row["image"])
        if source is None:
            continue
        keys = [key for key in (row.get("pictures") or {}).values() if key in pictures]
        for key in keys:
            # Boxes of the reference, since those of the answer may be anywhere.
            signs = parse_regions(next(iter(row["references"]), "")).regions
            one = difference(source, pictures[key], inside_boxes(signs, source.shape[:2]))
            if one is not None:
                found[key] = one
    return found


_EVALUATION_FACTS = (
    "who",
    "seed",
    "data",
    "answers",
    "seconds",
    "device",
    "processor",
    "template",
    "commit",
    "versions",
)
"""Fields of ``evaluation.json`` that the report lists."""


def _evaluation_facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the report lists about an evaluation, by name."""
    found = {}
    for name in _EVALUATION_FACTS:
        if document.get(name) not in (None, ""):
            found[f"evaluated {name}"] = document[name]

    # The report shows the run's own recipe; the evaluation may have used other settings.
    measured = document.get("measured")
    if isinstance(measured, Mapping) and measured.get("evaluate"):
        current = old_names.update({"evaluate": measured["evaluate"]}, tell=False)
        found["evaluated settings"] = current["evaluate"]
    return found


def add_to_tensorboard(folder: Path, found: Sequence[Evaluation], *, step: int) -> None:
    """Adds an evaluation to the TensorBoard events of its run: all scores, and some images with their answers.

    Args:
        folder: The run's folder, with the images of its gallery.
        found: The evaluation of each split.
        step: Number of steps the run was trained for.
    """
    rows = gallery.choose(gallery.spread(list(_predictions(found))), limit=_IN_EVENTS)
    pictures = _gallery(folder)
    files_of = stored.read_gallery(folder)

    with EventsFile(folder) as events:
        events.write(step, scores_by_tag(found))
        for row in rows:
            if row["image"] not in pictures:
                continue
            height, width, _ = pictures[row["image"]].shape
            png = files_of[row["image"]].read_bytes()
            tag = f"answers, {row['split']}/{row['id']}"
            events.picture(step, tag, png, size=(width, height), about=_caption(row))


_IN_EVENTS = 16
"""Maximum images of each split in TensorBoard."""
_MAX_CAPTION = 500
"""Maximum characters of each text in a caption."""


def scores_by_tag(found: Sequence[Evaluation]) -> dict[str, float]:
    """The finite scores of all tasks and of their controls, by TensorBoard tag."""
    scores_of = {}
    for one in found:
        for task in one.tasks:
            scores_of[f"scores, {one.split}/{task.task}"] = task.score.value
            for name, control in task.controls.items():
                scores_of[f"scores, {one.split}/{task.task}, {name}"] = control.value
    return {tag: value for tag, value in scores_of.items() if math.isfinite(value)}


def _caption(row: Mapping[str, Any]) -> str:
    """A question and its answer for TensorBoard, indented so that none of it is read as Markdown."""
    texts = {"asked": row["prompt"], "answered": row["answer"], "right": " | ".join(row["references"])}
    lines = []
    for name, text in texts.items():
        on_one_line = " ".join(text.split())
        lines.append(f"    {name}: {on_one_line[:_MAX_CAPTION]}")
    return "\n".join(lines)


def _shown_recipe(path: Path) -> str:
    """The text of a run's recipe; empty if there is none.

    Raises:
        CheckpointError: not a regular file, or too large.
    """
    if not path.exists():
        return ""
    try:
        return bounded.read(path, most=configs.MAX_BYTES).decode("utf-8", errors="replace")
    except UnreadableError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _title_of(recipe: str, path: Path) -> str:
    """The title in a recipe's text; the recipe is only parsed, and nothing it names is looked up."""
    title = configs.parse_yaml(recipe, where=str(path)).get("title") if recipe else ""
    return title if isinstance(title, str) else ""


def beside(
    first: str | Path,
    second: str | Path,
    *,
    data: Any = None,
    out: str | Path | None = None,
    trust_run: bool = False,
    console: Console | None = None,
) -> tuple[Path, str]:
    """Compares two evaluations of the same data: tests of their difference, and the answers that differ.

    Args:
        first: Folder of a run or of an evaluation; with `data`, any path or address that `evaluate` takes.
        second: The other one.
        data: Data on which to score both first, in any of the forms that `evaluate` takes; by default the evaluations
            in the two folders are compared.
        out: The page; by default ``beside-NAME.html`` in the first folder, where NAME is the name of the second.
        trust_run: Whether the first folder may name Python modules with your own metrics; with `data`, as for `load`,
            for both.
        console: Where progress is shown.

    Returns:
        The page's path, and its content as plain text.

    Raises:
        DataError: no evaluation in a folder, or no samples in common.
        RecipeError: the first folder names a Python module, and `trust_run` is not set.
        FolderError: `out` is a file that Sightweave did not write.
    """
    path, found = put_beside(first, second, data=data, out=out, trust_run=trust_run, console=console)
    return path, found.text


def put_beside(
    first: str | Path,
    second: str | Path,
    *,
    data: Any = None,
    out: str | Path | None = None,
    trust_run: bool = False,
    console: Console | None = None,
) -> tuple[Path, Beside]:
    """Like `beside`, but returns the whole comparison instead of its text."""
    folders = (Path(first), Path(second))
    name = _word_of(folders[1].name)
    if data is not None:
        sources, records = read_data(data)
        word = _data_name(data, records)
        folders = (_evaluation_folder(first, word), _evaluation_folder(second, word))
        for who, folder in zip((first, second), folders, strict=True):
            evaluate(who, data=records or sources, out=folder, trust_run=trust_run, console=console)

    path = Path(out) if out is not None else folders[0] / f"beside-{name}.html"
    outputs.check_page(path)
    found = beside_program.beside(
        stored.read_evaluations(folders[0]),
        stored.read_evaluations(folders[1]),
        names=(str(folders[0]), str(folders[1])),
        metrics=_metrics_of(folders[0], trust_run=trust_run),
    )

    pictures: dict[str, Any] = {}
    for folder in folders:
        pictures = _gallery(folder) | pictures
    # Rows with an image come first.
    rows = sorted(gallery.spread(list(found.rows())), key=lambda row: row["image"] not in pictures)
    title = f"{folders[0]} vs {folders[1]}"
    write_beside(path, title, found.to_json(), gallery.choose(rows, by="kind"), pictures)
    return path, found


def _evaluation_folder(who: str | Path, word: str) -> Path:
    """The folder for an evaluation on other data, whose name is `word`."""
    if run_predictor.recognise(str(who)):
        return Path(who) / EVALUATIONS / word
    return EVALUATIONS / _word_of(who) / word


def _metrics_of(folder: Path, *, trust_run: bool) -> dict[str, Any]:
    """The first metric of each task, with its settings when the folder was evaluated."""
    measured = stored.read_document(folder).get("measured")
    if not isinstance(measured, Mapping):
        return {}
    source = None if trust_run else configs.Downloaded()
    config = recipes.measured({"tasks": measured.get("tasks", {})}, source=source)
    # A task such as drawing may have no metrics.
    return {name: metrics[0] for name in config.task_names() if (metrics := config.task(name).metrics)}


def _gallery(folder: Path) -> dict[str, Any]:
    """Pixels of the images in an evaluation's gallery, by key; images that cannot be read are left out."""
    found = {}
    for key, path in stored.read_gallery(folder).items():
        try:
            found[key] = image_files.load(Medium(path, key))
        except MediaError as error:
            logger.warning("%s: not shown on the page: %s", path, error)
    return found
