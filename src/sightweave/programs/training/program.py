"""The training loop: stages of steps, each a forward pass, a loss on targets only, a backward pass and an update."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from sightweave.core.device import Precision
from sightweave.core.errors import RecipeError, SightweaveError
from sightweave.data.inputs.order import Mixing
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset
from sightweave.models.adapters import lora, quantization
from sightweave.models.adapters.lora import Lora
from sightweave.models.nn.block import Block
from sightweave.models.parts import PartName, choose_parts, enter_training, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.training import durations, trial
from sightweave.programs.training.durations import Pace
from sightweave.programs.training.feature_cache import FeatureCache
from sightweave.programs.training.feed import Feed, Step
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.logs import RunLog
from sightweave.programs.training.quarantine import FILE_NAME, Quarantine
from sightweave.programs.training.rates import rate_factors
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trial import Trials

logger = logging.getLogger(__name__)
Save = Callable[[int, VLM], None]
"""Writes a checkpoint; told the number of steps that are done, and handed the model to write."""


class NonFiniteLoss(SightweaveError):
    """The loss or the gradient is no finite number; nothing was updated with it."""


@dataclass
class Trained:
    """What a run did."""

    planned_steps: int = 0
    """Updates that the settings ask for, over all stages; where the clock ends a stage, by the speed so far."""
    steps: int = 0
    """Updates that were made."""
    position: int = 0
    """Place in the order of pictures after the last one that was trained on: where the next stage begins."""
    pictures: int = 0
    """Pictures that were trained on, each as often as it was shown."""
    distinct_pictures: int = 0
    """Different pictures among them."""
    samples: int = 0
    """Samples that were trained on, each as often as it was shown."""
    tokens: int = 0
    """Tokens of their rows, those that stand for pictures included."""
    seconds: float = 0.0
    """Wall time of the loop."""
    feed_seconds: float = 0.0
    """Time that the loop waited for its input."""
    is_interrupted: bool = False
    """Whether it was asked to stop before its end."""
    stop_signal: int = 0
    """Number of the signal that asked; 0 where none did."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Pictures and samples left out, by reason."""
    languages: set[str] | None = field(default_factory=set)
    """Pairs of languages, such as ``en-de``, that it was shown translations between; None where a part may know others."""
    stage_steps: list[int] = field(default_factory=list)
    """Updates of each stage that has ended."""
    losses: list[list[float]] = field(default_factory=list)
    """Of each stage that has begun, the mean loss of every row of the log."""


def train(
    model: VLM,
    processor: Processor,
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    tasks: dict[str, Any],
    precision: Precision,
    out: Path,
    seed: int,
    save: Save,
    mix: Sequence[Mixing] = (),
    console: Console | None = None,
    trained: Trained | None = None,
    begins: Callable[[Trials], None] | None = None,
) -> Trained:
    """Runs all stages.

    Args:
        model: Trained in place, and moved to the precision's device.
        processor: The model's own.
        datasets: Sources of the training split.
        settings: Stages and how often to log and save.
        tasks: Task by name, for the records of the sources.
        precision: In which format to multiply.
        out: The run's folder: gets metrics, events and what was quarantined.
        seed: Of order, choice and dropout.
        save: Called every so often, at the end, and when interrupted.
        mix: How often each source comes; empty means once an epoch each.
        console: Where progress is shown; None shows none.
        trained: Filled in after every step, for a caller that wants to know in between; also what is returned.
        begins: Told what trials of the stages found, before the first step. With None there are no trials, and the number
            of threads stays as it is.

    Raises:
        RecipeError: a stage names no known part, or trains nothing.
        DataError: nothing usable to train on, or too many bad pictures.
        NonFiniteLoss: the loss or the gradient is not finite.
    """
    torch.manual_seed(seed)
    for part, form in settings.quantize.items():
        quantization.quantize(named_parts(model)[part], form, where=part)
    model.to(precision.device)
    if any(stage.epochs is not None for stage in settings.stages):
        settings = durations.resolved(settings, durations.epochs(settings.stages, datasets, tasks, mix))
    trained = trained or Trained()
    trained.planned_steps = sum(stage.steps or 0 for stage in settings.stages)
    seen = Seen(sum(len(dataset) for dataset in datasets))
    quarantine = Quarantine(out / FILE_NAME)
    feeds = [
        Feed(
            datasets,
            tasks,
            processor,
            stage,
            seed=seed,
            quarantine=quarantine,
            mix=mix,
            too_long=settings.too_long,
            workers=settings.workers,
        )
        for stage in settings.stages
    ]
    if begins is not None:
        begins(_tried(model, feeds, settings, precision))

    began = time.perf_counter()
    with RunLog(out, steps=trained.planned_steps, console=console) as log, _stop_signals() as stop:
        for stage, feed in zip(settings.stages, feeds, strict=True):
            _run_stage(
                model,
                feed,
                stage,
                settings,
                precision=precision,
                log=log,
                trained=trained,
                seen=seen,
                began=began,
                save=save,
                stop=stop,
            )
            if stop:
                break
            trained.stage_steps.append(trained.steps - sum(trained.stage_steps))
        trained.seconds = time.perf_counter() - began
        # Of a stage with minutes, nobody knows beforehand which step would have been its last.
        is_timed = any(stage.steps is None for stage in settings.stages)
        trained.is_interrupted = bool(stop) and (is_timed or trained.steps < trained.planned_steps)
        trained.left_out = dict(quarantine.reasons)
        # Saved before signals mean again what they meant outside: one that comes now must not lose the last steps.
        if quantization.is_quantized(model):
            # The whole may have no room on the device: first it is safe on the disk.
            save(trained.steps, _whole(model, keeps=bool(settings.kept)))
        quantization.restore(model)
        if not settings.kept:
            lora.merge(model)
        save(trained.steps, model)
        trained.stop_signal = stop[0] if stop else 0
    return trained


def _tried(model: VLM, feeds: Sequence[Feed], settings: Settings, precision: Precision) -> Trials:
    """Times one step of each stage, and sets the number of threads that is best for all of them.

    Stages whose parts get adapters, or weights in few bits, are left out: what they train is not there yet.
    """
    present = torch.get_num_threads()
    may_choose = settings.threads is None and precision.device.type == "cpu"
    threads = trial.counts(present) if may_choose else [present]
    found: list[Mapping[int, float] | None] = []
    for stage, feed in zip(settings.stages, feeds, strict=True):
        if stage.lora or settings.quantize:
            found.append(None)
            continue
        _prepare(model, stage, adapters=None)
        enter_training(model, stage.parts)
        found.append(trial.run(model, feed.trial(), stage, precision, threads))
    trials = Trials.of(settings.stages, found, otherwise=present)
    torch.set_num_threads(trials.threads)
    return trials


def _prepare(model: VLM, stage: Stage, adapters: Mapping[PartName, Lora] | None) -> None:
    """Lets gradients into the stage's parts, and saves memory where it says so."""
    choose_parts(model, stage.parts, adapters)
    for block in model.modules():
        if isinstance(block, Block):
            block.recomputes = stage.checkpointing


def _run_stage(
    model: VLM,
    feed: Feed,
    stage: Stage,
    settings: Settings,
    *,
    precision: Precision,
    log: RunLog,
    trained: Trained,
    seen: Seen,
    began: float,
    save: Save,
    stop: list[int],
) -> None:
    _prepare(model, stage, stage.lora)
    try:
        chosen = stage.optimizer
        factors = rate_factors(model, named_parts(model), chosen.part_lr, chosen.layer_decay)
        optimizer = chosen.build(model, factors)
        pace = Pace(stage)
    except ValueError as error:
        raise RecipeError(f"train.stages, stage {stage.name!r}: {error}") from error
    enter_training(model, stage.parts)
    microsteps = feed.microsteps(trained.position)
    window = _Window()
    parameters = list(optimizer.parameters.values())
    gradients = Gradients(model, parameters, stage, precision)
    known = (
        FeatureCache(model.encoder, precision, stage.cache_features << 20) if stage.cache_features else None
    )
    trained.losses.append([])
    step, is_over = 0, False
    with contextlib.closing(microsteps):
        while not is_over:
            factor = pace.factor(step)
            optimizer.set_factor(factor)
            waited = time.perf_counter()
            steps = [next(microsteps) for _ in range(stage.microsteps)]
            trained.feed_seconds += time.perf_counter() - waited
            loss = gradients.add([one.batch if known is None else known.fill(one.batch) for one in steps])
            tokens = sum(int(t.valid.sum()) for one in steps if (t := one.batch.target) is not None)
            norm = _clip(parameters, stage.clip)
            if not math.isfinite(loss) or not math.isfinite(norm):
                raise NonFiniteLoss(
                    f"stage {stage.name!r}, step {step}: loss {loss}, gradient norm {norm}; no update was made with it. "
                    f"Samples of its last batch: {', '.join(steps[-1].ids[:5])}. Lower the learning rate, or look at them."
                )
            optimizer.step()
            optimizer.zero_grad()
            trained.steps += 1
            _count(steps, trained, seen)
            trained.tokens += tokens
            trained.seconds = time.perf_counter() - began
            trained.left_out = dict(feed.quarantine.reasons)
            if trained.languages is not None:
                trained.languages |= feed.languages
            window.add(loss, norm, tokens, sum(len(one.pictures) for one in steps))
            step += 1
            is_over = pace.is_over(step) or bool(stop)
            trained.planned_steps = _planned(settings, trained, pace.expected(step))
            if step % settings.log_every == 0 or is_over:
                row = window.row() | {"stage": stage.name, "lr": factor * stage.optimizer.lr}
                log.progress.steps = trained.planned_steps
                log.write(trained.steps - 1, row)  # logs count from 0
                trained.losses[-1].append(float(row["loss"]))
                window = _Window()
            if trained.steps % settings.save_every == 0 and not stop:
                save(trained.steps, _whole(model, keeps=bool(settings.kept)))
    if stage is not settings.stages[-1]:
        lora.merge(model)


def _planned(settings: Settings, trained: Trained, expected: int) -> int:
    """Updates over all stages: those of stages that ended, of this one, and of later ones as far as they are known."""
    later = settings.stages[len(trained.stage_steps) + 1 :]
    return sum(trained.stage_steps) + expected + sum(one.steps or 0 for one in later)


def _count(steps: Sequence[Step], trained: Trained, seen: Seen) -> None:
    """Adds what an update was made with. Microsteps that were prepared ahead and never used are not counted."""
    for step in steps:
        # Microsteps of one window share it out, so a later one may end before an earlier one does.
        trained.position = max(trained.position, step.end)
        trained.pictures += len(step.pictures)
        trained.samples += len(step.ids)
        for number in step.pictures:
            seen.add(number)
    trained.distinct_pictures = seen.count


def _whole(model: VLM, *, keeps: bool) -> VLM:
    """What a checkpoint holds: the model, or a copy with ordinary weights, into which adapters that go are merged."""
    is_whole = not quantization.is_quantized(model) and (keeps or not lora.is_adapted(model))
    if is_whole:
        return model
    found = copy.deepcopy(model).to("cpu")
    quantization.restore(found)
    if not keeps:
        lora.merge(found)
    return found


def _clip(parameters: Any, most: float) -> float:
    """Norm of all gradients together, which is brought down to `most` where it is larger."""
    return float(nn.utils.clip_grad_norm_(list(parameters), most or math.inf))


@dataclass
class _Window:
    """Sums over the steps since the last row of the log."""

    steps: int = 0
    loss: float = 0.0
    norm: float = 0.0
    tokens: int = 0
    pictures: int = 0
    began: float = field(default_factory=time.perf_counter)

    def add(self, loss: float, norm: float, tokens: int, pictures: int) -> None:
        """Counts one step."""
        self.steps += 1
        self.loss += loss
        self.norm += norm
        self.tokens += tokens
        self.pictures += pictures

    def row(self) -> dict[str, float | str]:
        """Means and rates."""
        seconds = max(1e-9, time.perf_counter() - self.began)
        return {
            "loss": self.loss / self.steps,
            "grad_norm": self.norm / self.steps,
            "seconds": seconds,
            "steps_per_second": self.steps / seconds,
            "tokens_per_second": self.tokens / seconds,
            "pictures_per_second": self.pictures / seconds,
        }


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that fills on Ctrl-C or a request to end, so that the step is finished and saved; a second one ends now.

    Besides SIGTERM these are SIGHUP (a closed terminal, a lost connection) and SIGUSR1 (which Slurm can send some time
    before it ends a job). Where ``nohup`` had SIGHUP ignored, it stays so.
    """
    asked: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked.append(number)
        logger.warning("asked to stop: finishing this step, then saving")

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # the last two are unknown to Windows
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN:
        numbers.remove(hangup)
    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not in the main thread: signals are somebody else's
        yield asked
        return
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
