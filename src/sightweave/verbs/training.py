"""Training: plans, builds, trains, scores and reports a run, or resumes one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import checkpoint, files, outputs, terminal
from sightweave.core.device import Precision
from sightweave.core.errors import CheckpointError, FolderError
from sightweave.core.file_memory import weights_in_files
from sightweave.core.outputs import MARKERS, ROWS_LEFT_OUT, RUN_FILES
from sightweave.core.progress import wanted
from sightweave.core.run_folder import BEGAN, CHECKPOINTS, FAILURE, TITLE, TRACKERS, holds_run
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.models.vlm import VLM
from sightweave.programs.evaluation import stored
from sightweave.programs.training import context_parallel, durations, sharding, summary, tensor_parallel
from sightweave.programs.training.checkpoints import (
    Checkpoints,
    Saver,
    Snapshot,
    check_space,
    space_for,
    weight_names,
)
from sightweave.programs.training.durations import Epoch
from sightweave.programs.training.feed import fingerprint_of
from sightweave.programs.training.logs import METRICS, Report, read_metrics
from sightweave.programs.training.quarantine import FILE_NAME as QUARANTINE
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.state import State
from sightweave.programs.training.tracking import Tracking
from sightweave.programs.training.trainer import Ending, Storage, Trainer, TrainingData
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.world import World, opened
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs import forecasting, planning, resuming
from sightweave.verbs.building import composed, emptied, plan_lengths
from sightweave.verbs.checking import check_wiring, parameter_count
from sightweave.verbs.evaluating import (
    Answering,
    add_to_tensorboard,
    evaluate_into,
    report,
    scores_by_tag,
)
from sightweave.verbs.planning import NOTHING_HELD_OUT, Plan
from sightweave.verbs.resuming import Earlier
from sightweave.verbs.sources import (
    check_splits,
    read_recipe,
    say,
    with_data,
)

RUNS = Path("runs")
_LOOKED_AT = 20
"""Number of held-out images per dataset that are searched for an answer to compare with."""


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    data: Any = None,
    out: str | Path | None = None,
    evaluate: bool = True,
    overwrite: bool = False,
    allow_changes: bool = False,
    progress: bool | Report | None = None,
    console: Console | None = None,
) -> Run:
    """Trains a model as a recipe describes it, and writes a run folder.

    If `out` holds an unfinished run of the same recipe and data, its training is resumed: on the same machine it ends with
    the bits of a run that was never stopped. A finished run is scored if it was not yet, and returned.

    Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 finish the current step, save and return; a second signal stops at once.

    With ``mesh.dp=N``, N processes that torchrun started train together, and each of them calls this. The first one writes
    the files and evaluates; the others return after training. With ``mesh.shard=true`` or ``mesh.tp``, their runs have no
    weights.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings, such as ``"model.fusion=concat"``.
        data: Used instead of the recipe's sources: a path, a source as in a recipe, a list of these, or rows (dicts as in
            a ``data.jsonl``, or the tasks' records).
        out: The run's folder; by default a new one under ``runs/``.
        evaluate: Whether to score the held-out splits after training.
        overwrite: Whether to replace a run in `out`; it is replaced only when everything before the first step has
            succeeded. Files that Sightweave did not write are never replaced.
        allow_changes: Whether an unfinished run may be resumed with another recipe or other data; the run records the
            differences.
        progress: True shows progress in a log too, False never; None shows it in a terminal or a notebook. A function is
            called with a `TrainingProgress` for each row of the log, in addition to what None shows. An error that it
            raises stops training: the model is saved, and then the error is raised.
        console: Where progress is shown; by default standard error, or the cell's output in a notebook.

    Returns:
        The trained run, ready to answer.

    Raises:
        RecipeError: a mistake in the recipe, parts that do not fit, or an unfinished run of another recipe in `out`.
        DataError: nothing to train on, too many rows that cannot be read, or other data than that of the unfinished run.
        CheckpointError: no checkpoint of the unfinished run can be read, or the disk is too small for one.
        FolderError: `out` holds a finished run of another recipe, holds files that Sightweave did not write and would
            overwrite, or another process writes into it.
        BackendError: a process of several stopped, hangs or cannot be reached; or a tracker of ``train.trackers`` is not
            installed or cannot be reached.
    """
    recipe, settings, records = with_data(recipe, settings, data)
    asked = read_recipe(recipe, settings)
    check_splits(asked)
    report_to = progress if callable(progress) else None
    console = wanted(console, None if callable(progress) else progress)
    tracking = Tracking(asked.train.trackers)

    with opened(asked.mesh, os.environ) as world:
        if not world.is_first:
            return _train_along(world, asked, records)

        with _claimed(out, asked) as folder:
            earlier = None
            if not overwrite:
                earlier = resuming.earlier_run(folder, asked, allow_changes=allow_changes)
            world.from_first([str(folder.absolute()), resuming.to_json(earlier)])
            if earlier is not None and earlier.state is None:
                world.close()
                return _finished(folder, asked, records, evaluate=evaluate, console=console)
            try:
                with tracking:
                    return _train_into(
                        folder,
                        asked,
                        records,
                        earlier,
                        world,
                        evaluate=evaluate,
                        console=console,
                        tracking=tracking,
                        report_to=report_to,
                    )
            except BaseException:
                _forget_unstarted(folder)
                raise


def _train_along(world: World, asked: Recipe, records: list[Any] | None) -> Run:
    """Trains in a process other than the first one, which writes no files; the recipe is the one as given."""
    name, document = world.from_first(None)
    folder, earlier = Path(name), resuming.of_json(document, Path(name))
    if earlier is None or earlier.state is not None:
        return _train_into(
            folder,
            asked,
            records,
            earlier,
            world,
            evaluate=False,
            console=None,
            tracking=Tracking(),
            report_to=None,
        )

    run = runs.load(folder, modules=recipes.modules_of(asked))
    run.rank = world.rank
    return run


def _train_into(
    folder: Path,
    asked: Recipe,
    records: list[Any] | None,
    earlier: Earlier | None,
    world: World,
    *,
    evaluate: bool,
    console: Console | None,
    tracking: Tracking,
    report_to: Report | None,
) -> Run:
    """Plans, builds, trains, scores and reports a run, or the rest of one, in a folder that is locked for it."""
    resumed = None if earlier is None else earlier.state
    if world.tensor is not None:
        tensor_parallel.check(asked.train, world.tensor.size)
    elif world.shards:
        sharding.check(asked.train)
    plan = planning.plan(folder, asked, records, resumed, world, console)
    forecasting.check_fits(plan.recipe, plan.precision.device)
    run = _built(plan, folder, console, world)
    if world.tensor is not None:
        tensor_parallel.check_model(run.model, world.tensor.size)
    if world.context is not None:
        context_parallel.check_model(run.model, world.context.size)

    # The wiring of a resumed run was checked when it began.
    if resumed is None and plan.recipe.train.check and world.is_first:
        say(console, check_wiring(run))

    # Before an earlier run is removed: a tracker that cannot be reached must not cost it.
    known = None if resumed is None else runs.facts_of(folder).get(TRACKERS)
    ids = tracking.start(folder, title=run.recipe.title, recipe=run.recipe.to_plain(), ids=known)
    for name, place in tracking.places.items():
        say(console, f"{name}: {place}")

    if earlier is None or resumed is None:
        state = _started(run, plan, folder, world)
    else:
        state = _resumed(run, plan, folder, earlier, resumed, world, console)
    if world.is_first:
        runs.record(folder, {TRACKERS: ids})
    world.barrier()  # the others have read the data later, and only the first one has checked the wiring

    if not world.is_first:
        ending = _trained(run, plan, folder, state, world, None, None)
        if world.shards:
            run.model = emptied(run)
        return _returned(run, folder, ending, world)

    with _recording_failure(folder):
        ending = _trained(run, plan, folder, state, world, console, tracking.reporting(report_to))
        world.close()  # the others need not wait for the scores
        if world.shards:
            # The whole model may not fit on the device, which only scoring needs.
            device = plan.precision.device if evaluate and plan.held_out else torch.device("cpu")
            saved = runs.load(folder, device=str(device), modules=recipes.modules_of(plan.recipe))
            run.model = saved.model
        _end(run, folder, state, ending, plan.sources, console)

        scores: dict[str, float] = {}
        if evaluate and plan.held_out and not ending.stop_signal and _can_be_scored(plan):
            scores = _score(run, plan, folder, console, step=state.steps)
        elif not plan.held_out:
            say(console, NOTHING_HELD_OUT)

    page = report(folder)
    tracking.finish("interrupted" if ending.is_interrupted else "finished", scores=scores, report=page)
    return run


def _finished(
    folder: Path, asked: Recipe, records: list[Any] | None, *, evaluate: bool, console: Console | None
) -> Run:
    """Loads a finished run of the same recipe and data, and scores it if the process ended before that was done."""
    plan = planning.plan(folder, asked, records, None, World(), console)
    resuming.check_data(folder, plan.sources)
    say(
        console,
        f"{folder}: this run is finished; to train it further, use a recipe with init_from={folder}; to train it again, "
        "--overwrite (overwrite=True)",
    )
    Checkpoints(folder).remove()

    # What the user's own recipe names may be opened and imported; what only the folder names may not.
    modules = recipes.modules_of(asked)
    run = runs.load(folder, modules=modules)
    if not evaluate or (folder / stored.EVALUATION).is_file():
        return run

    if plan.held_out and _can_be_scored(plan):
        steps = runs.facts_of(folder).get("steps")
        _score(run, plan, folder, console, step=steps if isinstance(steps, int) else 0)
        report(folder)
    return run


def _built(plan: Plan, folder: Path, console: Console | None, world: World) -> Run:
    """Builds the untrained run, and reports what it is made of."""
    # Quantize, or shard, on the CPU first: the full-precision model may not fit on the device.
    is_kept = bool(plan.recipe.train.quantize) or world.shards
    device = torch.device("cpu") if is_kept else plan.precision.device
    if world.shards and not world.is_first:  # its weights come from the first process
        device = torch.device("meta")
    with weights_in_files(folder) if world.shards else contextlib.nullcontext():
        run = composed(plan.recipe, plan.sources, device)

    say(console, _opening(run, folder, plan.precision))
    for source in plan.sources:
        for note in getattr(source, "notes", ()):
            say(console, note)
    say(console, plan_lengths(run, plan.sources).to_text())
    return run


def _started(run: Run, plan: Plan, folder: Path, world: World) -> State:
    """Removes an earlier run's files, and returns the initial state of the training.

    It also writes a ``run.json`` that is marked as unfinished, in case the process is killed.
    """
    state = State(languages=_languages_before(plan.recipe))
    if not world.is_first:
        return state

    checkpoint.remove(folder / runs.CHECKPOINT)
    Checkpoints(folder).remove()
    outputs.remove(folder, RUN_FILES)
    began = {BEGAN: datetime.now(UTC).isoformat(timespec="seconds")}
    runs.record(folder, began | _counts(state, is_interrupted=True) | _description(run, plan))
    return state


def _resumed(
    run: Run,
    plan: Plan,
    folder: Path,
    earlier: Earlier,
    state: State,
    world: World,
    console: Console | None,
) -> State:
    """Compares the data and the machine with those that the run began with, reports the resume, and records it."""
    changes = list(earlier.changes)
    changes += resuming.compare_data(folder, state, plan.sources, allow_changes=earlier.may_change)
    world.barrier()  # all have read the record of the data that the first one replaces
    if not world.is_first:
        return state

    say(console, f"{folder}: resumed after step {state.steps:,} of {state.planned_steps:,}")
    for change in changes:
        say(console, f"changed: {change}")
    inexact = resuming.inexact(folder, state, plan.precision)
    if inexact:
        say(
            console,
            f"the result may differ in the last bits from a run that was never stopped: {'; '.join(inexact)}",
        )

    resuming.record_resume(folder, state, changes)
    runs.record(folder, _description(run, plan))
    return state


def _trained(
    run: Run,
    plan: Plan,
    folder: Path,
    state: State,
    world: World,
    console: Console | None,
    report_to: Report | None,
) -> Ending:
    """Trains, and updates the counts in `state`."""
    settings = plan.recipe.train
    if world.is_first:
        _check_space(run, folder, settings, console)

    def begin(trials: Trials) -> None:
        if world.is_first:
            predict(trials)
            _begin(folder, settings, plan.epochs, trials, console)

    saver = Saver(folder)

    def read(steps: int) -> State:
        saver.finish()  # it may be the one that is being written
        return Checkpoints(folder, settings.keep_checkpoints).read(steps)

    task_settings = {name: plan.recipe.task(name) for name in plan.tasks}
    data = TrainingData(plan.sources, plan.tasks, plan.mix, plan.validation, task_settings)
    trainer = Trainer(
        run.model,
        run.processor,
        data,
        settings,
        precision=plan.precision,
        out=folder,
        seed=plan.recipe.seed,
        storage=Storage(
            lambda state, model: _save(run, folder, state, model, saver, world), saver.finish, read
        ),
        state=state,
        world=world,
    )

    watched = forecasting.watched(run, data, settings, plan.precision, folder, state, world, console)
    with saver, watched as predict:
        return trainer.run(console=console, begins=begin, report=report_to)


def _check_space(run: Run, folder: Path, settings: Settings, console: Console | None) -> None:
    """Checks that the first checkpoint fits on the disk, and warns if all that are kept may not.

    Raises:
        CheckpointError: the first one does not fit.
    """
    has_averages = any(stage.ema for stage in settings.stages)
    keeps = settings.keep_checkpoints + (settings.keep == "best")
    least, most = space_for(run.model, keeps, has_averages=has_averages)
    check_space(folder, least)
    free = shutil.disk_usage(folder).free
    if free < most:
        say(console, f"{folder}: the checkpoints take up to {most:,} bytes, and {free:,} are free")


def _can_be_scored(plan: Plan) -> bool:
    """Whether a stage trains the model to answer, and a held-out image has an answer to compare with, or to look at.

    Only the first images of each split are looked at.
    """
    if not any(stage.reads_text for stage in plan.recipe.train.stages):
        return False

    for sources in plan.held_out.values():
        for dataset in sources:
            for index in range(min(_LOOKED_AT, len(dataset))):
                samples = [plan.tasks[task_of(record)].sample(record) for record in dataset[index]]
                if any(sample.references or sample.pictures for sample in samples):
                    return True
    return False


def _score(run: Run, plan: Plan, folder: Path, console: Console | None, *, step: int) -> dict[str, float]:
    """Evaluates the held-out splits, adds the scores to TensorBoard at this step, and returns them by name."""
    answering = Answering(run.predictor(), plan.recipe, plan.recipe, folder, lambda: plan.sources, run=run)
    found = evaluate_into(answering, plan.recipe, folder, plan.held_out, console, lambda: plan.sources)
    add_to_tensorboard(folder, found, step=step)
    return {tag.replace(", ", "/"): value for tag, value in scores_by_tag(found).items()}


def _languages_before(recipe: Recipe) -> set[str] | None:
    """Language pairs that the initial weights can already translate between; None if not known."""
    if "language_model" in recipe.model.pretrained:
        return None
    if not recipe.init_from:
        return set()
    earlier = runs.languages_of(runs.known_of(Path(recipe.init_from)))
    return None if earlier is None else set(earlier)


def _description(run: Run, plan: Plan) -> dict[str, Any]:
    """What ``run.json`` holds about a run before the first step: its recipe, data, machine and versions."""
    return {
        TITLE: run.recipe.title,
        "seed": run.recipe.seed,
        "device": str(plan.precision.device),
        "precision": f"{plan.precision.name} ({plan.precision.reason})",
        "parameters": parameter_count(run),
        "pictures_in_data": sum(map(len, plan.sources)),
        "data": fingerprint_of(plan.sources),
        **runs.facts(plan.precision.device),
        **_asked(plan.asked, plan.recipe),
        runs.GIVEN: plan.asked.to_plain(),
        runs.SOURCES: resuming.facts_of_sources(plan.sources),
        runs.EPOCH_IMAGES: [round(epoch.shown, 3) for epoch in plan.epochs],
    }


def _end(
    run: Run,
    folder: Path,
    state: State,
    ending: Ending,
    sources: Sequence[Dataset],
    console: Console | None,
) -> None:
    """Records how training ended, in ``run.json`` and in the run, and reports it."""
    runs.record(folder, _counts(state, is_interrupted=ending.is_interrupted))
    if not ending.is_interrupted:
        Checkpoints(folder).remove()
    for stopped in state.stopped_early:
        say(console, stopped.to_text())
    say(console, _closing(state, sum(map(len, sources))))
    if not ending.is_interrupted:
        for line in summary.restoring(run.recipe.train, state.validations, state.kept_steps):
            say(console, line)
        for line in summary.advice(run.recipe.train, state.losses):
            say(console, line)
    if state.left_out:
        say(console, f"skipped: {state.left_out}; reasons in {folder / QUARANTINE}")

    run.model.eval()
    run.is_interrupted, run.stop_signal = ending.is_interrupted, ending.stop_signal
    known = runs.facts_of(folder)
    run.unfinished, run.languages = runs.unfinished(known), runs.languages_of(known)


def _returned(run: Run, folder: Path, ending: Ending, world: World) -> Run:
    """The trained run of a process that does not write its files."""
    run.model.eval()
    run.folder, run.rank = folder, world.rank
    run.is_interrupted, run.stop_signal = ending.is_interrupted, ending.stop_signal
    return run


@contextlib.contextmanager
def _claimed(out: str | Path | None, recipe: Recipe) -> Iterator[Path]:
    """Locks the run's folder against other commands: the one that was named, or a new one under ``runs/``."""
    writes = (runs.CHECKPOINT, CHECKPOINTS, *RUN_FILES, *ROWS_LEFT_OUT)
    with contextlib.ExitStack() as stack:
        while True:  # until a folder is locked
            folder = Path(out) if out is not None else _new_folder(recipe)
            claim = files.claimed(folder, writes=writes, markers=MARKERS, purpose="training")
            try:
                stack.enter_context(claim)
                break
            except FolderError:
                if out is not None or not folder.exists():
                    raise
                # Another training run that started in the same second took the name.

        yield folder


@contextlib.contextmanager
def _recording_failure(folder: Path) -> Iterator[None]:
    """Adds an error that ends training to ``run.json``, for `runs`; a stop by the user is none."""
    try:
        yield
    except Exception as error:
        with contextlib.suppress(OSError, CheckpointError):  # the error itself is more important
            runs.record(folder, {FAILURE: terminal.in_short(f"{type(error).__name__}: {error}")})
        raise


def _forget_unstarted(folder: Path) -> None:
    """Removes the files of a training run that ended before its first checkpoint or log line.

    The reasons for skipped rows are kept.
    """
    if holds_run(folder):
        return
    metrics = folder / METRICS
    if metrics.is_file() and read_metrics(metrics):
        return

    outputs.remove(folder, (*ROWS_LEFT_OUT, QUARANTINE), only_empty=True)
    outputs.remove(folder, [name for name in RUN_FILES if name != QUARANTINE])


def _asked(asked: Recipe, resolved: Recipe) -> dict[str, Any]:
    """The sections of the recipe that training changed when resolving it, as given, for ``run.json``."""
    before, after = asked.to_plain(), resolved.to_plain()
    changed = {name: before[name] for name in ("model", "data", "train") if before[name] != after[name]}
    return {runs.ASKED: changed} if changed else {}


def _begin(
    folder: Path, settings: Settings, epochs: Sequence[Epoch], trials: Trials, console: Console | None
) -> None:
    """Reports what training will see and how long it takes, and records the number of threads it chose."""
    runs.record(folder, {"threads": trials.threads})
    for line in summary.start(settings, epochs, trials):
        say(console, line)


def _save(run: Run, folder: Path, state: State, model: VLM, saver: Saver, world: World) -> None:
    """Writes the state to resume from and the weights to load, and the progress to ``run.json``.

    Stages that ended by time are saved with the number of steps they made, so that the recipe can be repeated.
    """
    stages = list(run.recipe.train.stages)
    for number, steps in enumerate(state.stage_steps):
        # A stage with steps that ended early keeps them, since its schedule depends on them.
        if stages[number].steps is None:
            stages[number] = durations.in_steps(stages[number], steps)
    settings = dataclasses.replace(run.recipe.train, stages=tuple(stages))
    run.recipe = recipe = dataclasses.replace(run.recipe, train=settings)
    progress = _counts(state, is_interrupted=True)

    if world.shards:
        _save_share(run, folder, state, saver, world)
        return
    if not state.model:
        # Training is complete, so the model does not change any more: no copy is needed, and nothing to resume from.
        saver.wait()
        run.save(folder, model)
        runs.record(folder, progress)
        return

    def write(snapshot: Snapshot) -> None:
        _force_log(folder)
        Checkpoints(folder, settings.keep_checkpoints).write(snapshot)
        runs.write(folder, snapshot.weights, run.processor, recipe)
        runs.record(folder, progress)

    saver.save(Snapshot.of(state, model), write)


def _force_log(folder: Path) -> None:
    """Flushes the log to disk before a checkpoint: its rows up to there are not written again after a resume."""
    for one in (folder / METRICS, folder / QUARANTINE, folder):
        if one.exists():
            files.force_to_disk(one)


def _save_share(run: Run, folder: Path, state: State, saver: Saver, world: World) -> None:
    """Writes the share of this process; the first one then puts the shares of all together, without holding them in memory.

    At the end of the training, nothing is left to resume, and only the weights to load are kept.
    """
    checkpoints = Checkpoints(folder, run.recipe.train.keep_checkpoints)
    recipe, progress, is_complete = run.recipe, _counts(state, is_interrupted=True), not state.data
    if world.is_first:
        saver.wait()
        checkpoints.begin(state.steps)
    world.wait_for_first()

    def write(snapshot: Snapshot) -> None:
        checkpoints.write_share(snapshot, world.rank, world.size)
        if not world.is_first:
            return
        _force_log(folder)
        shares = checkpoints.gathered(snapshot.steps, world.size, world.patience)
        names = weight_names(shares)
        if is_complete:
            runs.write(folder, lambda path: shares.write(path, names), run.processor, recipe)
            checkpoints.discard(snapshot.steps)
        else:
            shares = checkpoints.complete(snapshot, world.size)
            runs.write(folder, lambda path: shares.write(path, names), run.processor, recipe)
        runs.record(folder, progress)

    saver.save(Snapshot.of(state, None), write)


def _counts(state: State, *, is_interrupted: bool) -> dict[str, Any]:
    """The counts of training for ``run.json``; a run that has not ended yet is marked as interrupted."""
    return {
        "steps": state.steps,
        "steps_planned": state.planned_steps,
        "pictures_shown": state.pictures,
        "distinct_pictures_shown": state.distinct_pictures,
        "samples_shown": state.samples,
        "tokens_shown": state.tokens,
        "training_seconds": round(state.seconds, 1),
        "feed_wait_seconds": round(state.feed_seconds, 1),
        "interrupted": is_interrupted,
        FAILURE: "",
        "left_out": state.left_out,
        runs.LANGUAGES: None if state.languages is None else sorted(state.languages),
        **_validated(state),
    }


def _validated(state: State) -> dict[str, Any]:
    """What ``run.json`` holds about the validations during training; nothing if there were none."""
    found: dict[str, Any] = {}
    if state.best is not None:
        found["best"] = dataclasses.asdict(state.best)
        found["validation_seconds"] = round(state.validation_seconds, 1)
        found["weights_of_steps"] = list(state.kept_steps)
    restored = [validations[-1].measures for validations in state.validations if validations]
    if any(restored):
        found["image_tokenizer"] = [one for one in restored if one][-1]
    if state.stopped_early:
        found["stopped_early"] = list(map(dataclasses.asdict, state.stopped_early))
    return found


def _closing(state: State, in_data: int) -> str:
    """A sentence on what training did, with the number of images in the data."""
    of_planned = "" if state.steps == state.planned_steps else f" of {state.planned_steps:,}"
    return (
        f"trained for {state.steps:,}{of_planned} steps on {state.pictures:,} images ({state.distinct_pictures:,} "
        f"distinct, of {in_data:,} in the data) with {state.samples:,} samples"
    )


def _opening(run: Run, folder: Path, precision: Precision) -> str:
    """A line on the size of a model and how it will be trained."""
    return (
        f"{folder}: {parameter_count(run) / 1e6:.2f} M parameters, {run.processor.tokenizer.vocab_size} tokens, "
        f"{precision.device.type}, {torch.get_num_threads()} thread(s), {precision.name} ({precision.reason})"
    )


def _new_folder(recipe: Recipe) -> Path:
    """A path under ``runs/`` that is not in use, named after the time and the recipe's title."""
    title = (recipe.title or "run").lower()
    word = "".join(letter if letter.isalnum() else "-" for letter in title)
    name = word[:40].strip("-") or "run"

    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = RUNS / f"{stamp}-{name}"
    count = 1
    while folder.exists():
        count += 1
        folder = RUNS / f"{stamp}-{name}-{count}"
    return folder
