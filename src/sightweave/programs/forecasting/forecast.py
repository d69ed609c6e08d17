"""Forecasts what each stage of a training run needs, from its simulation, its memory and its time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightweave.core.batch import Batch
from sightweave.models.adapters import quantization
from sightweave.models.parts import PART_NAMES, PartName, enter_training, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting import memory as memories
from sightweave.programs.forecasting.flops import Flops
from sightweave.programs.forecasting.memory import Memory
from sightweave.programs.forecasting.simulation import Simulation, Subject, without_media_values
from sightweave.programs.forecasting.timing import StepTime
from sightweave.programs.forecasting.workload import Workload, feature_bytes, with_features
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.summary import duration
from sightweave.programs.training.work import prepare

SIMULATION_ERRORS = (RuntimeError, NotImplementedError, TypeError)
"""Errors of models that read the values of tensors, for which activations cannot be forecast."""


@dataclass(frozen=True, slots=True)
class Part:
    """The number of parameters of one part in one stage."""

    part: str
    trained: int
    frozen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageForecast:
    """The forecast of one stage."""

    name: str
    steps: int | None
    """Number of optimizer updates; None for a stage with minutes."""
    parts: Sequence[Part]
    flops: Flops
    """Number of operations for one sample."""
    samples: float
    """Number of samples in an update."""
    tokens: float
    """Number of tokens in an update, without padding."""
    memory: Memory
    """Peak memory of each device."""
    capacity: int
    """Number of bytes that are available on a device."""
    time: StepTime
    """Time of one update."""
    seconds: float
    """Time of the whole stage, in seconds."""
    batch_size: int
    """Number of images in each microstep, on all devices together."""
    fitting_batch_size: int
    """Largest batch size that fits into memory; 0 if not even one image fits."""
    layout: str = "one device"
    """Layout of the state over several devices: ``one device``, ``replicated`` or ``sharded``."""
    notes: Sequence[str] = ()

    @property
    def fits(self) -> bool:
        """Whether a step fits into the memory."""
        return self.memory.total <= self.capacity

    @property
    def flops_of_step(self) -> float:
        """Number of operations in an update, on all devices together."""
        return self.flops.total * self.samples

    def to_json(self) -> dict[str, Any]:
        """The forecast as plain data."""
        return {
            "stage": self.name,
            "steps": self.steps,
            "parts": [dataclasses.asdict(one) for one in self.parts],
            "flops_per_sample": {"forward": self.flops.forward, "backward": self.flops.backward},
            "samples_per_step": self.samples,
            "tokens_per_step": self.tokens,
            "memory_bytes": self.memory.to_json(),
            "capacity_bytes": self.capacity,
            "fits": self.fits,
            "batch_size": self.batch_size,
            "fitting_batch_size": self.fitting_batch_size,
            "layout": self.layout,
            "step_seconds": self.time.total,
            "step_seconds_by_phase": {
                name: getattr(self.time, name) for name in ("gradients", "update", "feed", "communication")
            },
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast of a training run, computed before the run starts."""

    stages: Sequence[StageForecast]
    device: str
    """Name of the device, for readers."""
    count: int = 1
    """Number of devices."""
    precision: str = "fp32"
    """Number format of matrix products."""
    peak_flops: float | None = None
    """Peak number of operations per second of one device according to its vendor; None on this machine."""
    watts: float | None = None
    """Power of one device in watts; None if unknown."""
    price: float | None = None
    """Price of one device per hour; None if unknown."""
    source: str = ""
    """Source of the device's figures; empty for a trial on this machine."""
    notes: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """Time of all stages, in seconds."""
        return sum(one.seconds for one in self.stages)

    @property
    def hours(self) -> float:
        """Time of all stages, in hours."""
        return self.seconds / 3600

    @property
    def energy_kwh(self) -> float | None:
        """Energy of all devices in kWh at their maximum power; None if the power is unknown."""
        return None if self.watts is None else self.watts * self.count * self.hours / 1000

    @property
    def cost(self) -> float | None:
        """Price of all devices for the whole time; None if the price per hour is unknown."""
        return None if self.price is None else self.price * self.count * self.hours

    def share_of_peak(self, stage: StageForecast) -> float | None:
        """Share of the devices' peak throughput that a step reaches; None if the peak is unknown."""
        if self.peak_flops is None or not stage.time.total:
            return None
        return stage.flops_of_step / (stage.time.total * self.peak_flops * self.count)

    def to_json(self) -> dict[str, Any]:
        """The forecast as plain data."""
        stages = [one.to_json() | {"share_of_peak": self.share_of_peak(one)} for one in self.stages]
        return {
            "device": self.device,
            "count": self.count,
            "precision": self.precision,
            "source": self.source,
            "hours": self.hours,
            "energy_kwh": self.energy_kwh,
            "price": self.price,
            "cost": self.cost,
            "stages": stages,
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """The forecast as text for the terminal."""
        devices = self.device if self.count == 1 else f"{self.count} x {self.device}"
        lines = [f"forecast for {devices}, {self.precision}"]
        for one in self.stages:
            lines += ["", *_stage_lines(one, self.share_of_peak(one), self.count)]

        lines += ["", f"all stages: {duration(self.seconds)} ({self.hours:.3g} h)"]
        if self.energy_kwh is not None:
            lines.append(f"energy: {self.energy_kwh:.3g} kWh at {self.watts:g} W per device")
        if self.cost is not None:
            lines.append(f"cost: {self.cost:.2f} at {self.price:g} per device and hour")
        lines += [f"note: {one}" for one in self.notes]
        if self.source:
            lines.append(f"figures of the device: {self.source}")
        return "\n".join(lines)


def _stage_lines(stage: StageForecast, share: float | None, count: int) -> list[str]:
    """The lines of text on one stage."""
    parts = []
    for one in stage.parts:
        words = [f"{number(one.trained)} trained"] if one.trained else []
        words += [f"{number(one.frozen)} frozen"] if one.frozen else []
        parts.append(f"{one.part} {' + '.join(words)}")
    kinds = ", ".join(
        f"{name} {size(getattr(stage.memory, name))}"
        for name in ("weights", "gradients", "optimizer", "activations", "other")
    )
    fits = "fits in" if stage.fits else "DOES NOT FIT in"
    of_peak = "" if share is None else f", {share:.0%} of the peak"
    waiting = ", bound by communication" if stage.time.communication > stage.time.gradients else ""
    layout = "" if count == 1 else f" per device, {stage.layout}"

    return [
        f"stage {stage.name}: {'by the clock' if stage.steps is None else f'{stage.steps:,} steps'}, "
        f"{stage.samples:,.0f} samples and {stage.tokens:,.0f} tokens per step",
        f"  parameters: {'; '.join(parts)}",
        f"  operations per sample: {number(stage.flops.forward)} forward, {number(stage.flops.backward)} backward",
        f"  memory{layout}: {size(stage.memory.total)} ({kinds}); {fits} {size(stage.capacity)}",
        f"  batch_size: {stage.batch_size}; the largest that fits is {stage.fitting_batch_size:,}",
        f"  step: {stage.time.total:.3g} s{of_peak}{waiting}; stage: {duration(stage.seconds)}",
        *[f"  note: {one}" for one in stage.notes],
    ]


def number(value: float) -> str:
    """Formats a count with three digits and a unit, such as ``1.23 M``."""
    for unit, least in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= least:
            return f"{value / least:.3g} {unit}"
    return f"{value:.3g}"


def size(count: float) -> str:
    """Formats a number of bytes with three digits and a unit, such as ``1.23 GiB``."""
    for unit, least in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count:.0f} B"


def parts_of(model: VLM) -> list[Part]:
    """Counts the trained and the frozen parameters of each part.

    The token embedding is a part by itself and does not count in the language model.
    """
    modules = named_parts(model)
    table = {id(one) for one in modules["token_embedding"].parameters()}
    found = []
    for name in PART_NAMES:
        if name not in modules:
            continue
        trained = frozen = 0
        for parameter in modules[name].parameters():
            if name == "language_model" and id(parameter) in table:
                continue
            trained += parameter.numel() if parameter.requires_grad else 0
            frozen += 0 if parameter.requires_grad else parameter.numel()
        if trained or frozen:
            found.append(Part(name, trained, frozen))
    return found


@dataclass(frozen=True)
class StagePlan:
    """A stage with its microsteps and its model without data, which determine its memory and its operations."""

    subject: Subject
    workload: Workload
    quantized: Mapping[PartName, quantization.Form]
    is_cpu: bool
    at_once: int = 1
    """Number of microsteps that are computed at the same time."""

    @classmethod
    def of(
        cls,
        build: Callable[[], VLM],
        workload: Workload,
        *,
        precision: str,
        quantized: Mapping[PartName, quantization.Form],
        is_cpu: bool,
        threads: int = 1,
    ) -> StagePlan:
        """Builds the model of a stage and prepares it for training.

        Args:
            build: Function that builds the model on the meta device.
            workload: The microsteps of the stage.
            precision: Number format: ``fp32`` or ``bf16``.
            quantized: Number format of each quantized part.
            is_cpu: Whether the stage trains on a CPU.
            threads: Number of torch threads; on a CPU, each of them computes a microstep.
        """
        model, stage = build(), workload.stage
        prepare(model, stage, stage.lora)
        enter_training(model, stage.parts)
        at_once = min(threads, stage.gradient_accumulation_steps) if is_cpu else 1
        return cls(Subject(model, stage, precision), workload, quantized, is_cpu, max(1, at_once))

    @property
    def stage(self) -> Stage:
        """The settings of the stage."""
        return self.subject.stage

    def shown(self, batch: Batch) -> Batch:
        """The batch as the passes get it: with features if the stage caches those of its frozen encoder."""
        if not self.stage.cache_features:
            return batch
        return with_features(without_media_values(batch), self.subject.model.encoders)

    def simulate(self, batch: Batch) -> Simulation:
        """Simulates the passes of one microstep.

        If the microsteps of an update follow one another, the result is that of the last one.
        """
        is_alone = self.stage.gradient_accumulation_steps == 1 or self.at_once > 1
        return self.subject.simulate(self.shown(batch), passes=1 if is_alone else 2)

    def state(self) -> Memory:
        """The part of the memory that does not depend on the batch."""
        return memories.of_state(self.subject.model, self.stage, self.quantized)

    def memory(self, batch: Batch, simulation: Simulation) -> Memory:
        """The memory of an update in which all microsteps are like this one."""
        update = memories.update_bytes(self.subject.model, self.stage, is_cpu=self.is_cpu)
        return memories.at_peak(
            self.state(),
            simulation,
            batch=memories.batch_bytes(batch),
            microsteps=self.stage.gradient_accumulation_steps,
            at_once=self.at_once,
            update=update,
        ).plus(other=self.cached_bytes(batch))

    def cached_bytes(self, batch: Batch) -> int:
        """Size in bytes of the features that are cached at the end of the stage."""
        if not self.stage.cache_features:
            return 0
        sizes = list(feature_bytes(self.shown(batch)))
        if not sizes:
            return 0
        distinct = min(self.workload.feed.size, self.shown_images)
        return min(self.stage.cache_features << 20, int(distinct * sum(sizes) / len(sizes)))

    @property
    def shown_images(self) -> int:
        """Number of images that the stage shows; for a stage with minutes, the number of all images in the data."""
        each = self.stage.batch_size * self.stage.gradient_accumulation_steps
        return self.workload.feed.size if self.stage.steps is None else self.stage.steps * each


def fitting_batch_size(one: tuple[float, int], other: tuple[float, int], capacity: int) -> int:
    """The largest batch size that fits into memory, estimated from two batch sizes, assuming that memory grows linearly.

    Args:
        one: A batch size, and its peak memory in bytes.
        other: Another batch size, and its peak memory in bytes.
        capacity: Number of available bytes.
    """
    (few, least), (many, most) = sorted([one, other])
    slope = max(1.0, (most - least) / (many - few))
    return max(0, int(few + (capacity - least) / slope))
