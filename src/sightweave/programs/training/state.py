"""The state of a training run: with the recipe, the data and the code, training resumes from it.

Everything else follows from it: the order of the images from the seed and a position (see `Feed`), the learning rate from
the step and the settings of the stage. A state consists of numbers, saved as JSON, and of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

import pydantic
import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError
from sightweave.core.sharded_files import ShardedTensors
from sightweave.programs.training.early_stopping import Best, Stopped, Validated
from sightweave.programs.training.logs import Averages
from sightweave.programs.training.optimizers import Optimizer
from sightweave.programs.training.quarantine import Kept, Quarantine
from sightweave.programs.training.seen import Seen

FORMAT_VERSION = 1


@dataclass
class Progress:
    """The progress of a run, in numbers."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        extra="forbid", allow_inf_nan=False
    )

    # The position in the recipe.
    stage: NonNegativeInt = 0
    """Index of the current stage; the number of stages once all have ended."""
    step: NonNegativeInt = 0
    """Number of updates of this stage."""
    stage_seconds: NonNegativeFloat = 0.0
    """Wall time of this stage in seconds; it ends a stage with minutes and sets its learning rates."""

    # The position in the order of the images.
    position: NonNegativeInt = 0
    """Position at which the next microstep, or the window that it belongs to, begins."""
    within: NonNegativeInt = 0
    """Number of the next microstep within its window."""
    end: NonNegativeInt = 0
    """Position after the last image trained on, where the next stage begins."""

    # Totals.
    steps: NonNegativeInt = 0
    """Number of updates over all stages."""
    planned_steps: NonNegativeInt = 0
    """Expected number of updates over all stages; for a stage with minutes, estimated from the speed so far."""
    stage_steps: list[NonNegativeInt] = field(default_factory=list)
    """Number of updates of each stage that has ended."""
    pictures: NonNegativeInt = 0
    """Number of images trained on; repeated ones count each time."""
    samples: NonNegativeInt = 0
    """Number of samples trained on; repeated ones count each time."""
    tokens: NonNegativeInt = 0
    """Number of tokens trained on, image tokens included."""
    seconds: NonNegativeFloat = 0.0
    """Wall time of the loop in seconds."""
    feed_seconds: NonNegativeFloat = 0.0
    """Time that the loop waited for its input, in seconds."""
    languages: set[str] | None = field(default_factory=set)
    """Language pairs, such as ``en-de``, of the translations trained on; None if a pretrained part may know others."""
    threads: NonNegativeInt = 0
    """Number of torch threads used for training; 0 until it is known."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the training; ``auto`` until it is known."""

    # The validations.
    validations: list[list[Validated]] = field(default_factory=list)
    """All validations, by stage."""
    best: Best | None = None
    """The best validation of this stage; after the end, of the last stage."""
    without_improvement: NonNegativeInt = 0
    """Number of validations of this stage since the best one."""
    kept_steps: list[NonNegativeInt] = field(default_factory=list)
    """Number of updates over all stages that made the weights with which each stage ended."""
    validation_seconds: NonNegativeFloat = 0.0
    """Wall time of all validations in seconds."""
    stopped_early: list[Stopped] = field(default_factory=list)
    """The stages that ended early."""

    # The curve.
    losses: list[list[float]] = field(default_factory=list)
    """Mean loss of every row of the log, by stage."""
    averages: Averages = field(default_factory=Averages)
    """Sums over the updates that are not in the log yet."""
    recent_losses: list[float] = field(default_factory=list)
    """Losses of the latest updates of this stage, to find spikes."""
    is_in_spike: bool = False
    """Whether the latest loss belongs to a spike that is already in the log."""


@dataclass
class State(Progress):
    """Everything that resuming needs.

    During training, the `Trainer` counts in this object, and its three mappings of tensors are empty: the model, the
    optimizer and torch hold the tensors. `snapshot` returns a state that has them.
    """

    data: str = ""
    """Fingerprint of the data; empty if this is not a snapshot."""
    seen: Seen = field(default_factory=lambda: Seen(0))
    """Images trained on."""
    quarantine: Quarantine = field(default_factory=Quarantine)
    """Images and samples left out."""
    model: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights and statistics during training: with separate adapters and quantized layers."""
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    """Moments and counters from `Optimizer.state_tensors`."""
    random: Mapping[str, Tensor] = field(default_factory=dict)
    """States of torch's random number generators, which dropout uses, by type of device."""

    @property
    def distinct_pictures(self) -> int:
        """Number of distinct images trained on."""
        return self.seen.count

    @property
    def left_out(self) -> dict[str, int]:
        """Number of images and samples left out, by reason."""
        return dict(self.quarantine.reasons)

    def to_json(self) -> dict[str, Any]:
        """Everything except the tensors, as JSON."""
        progress = Progress(**{one.name: getattr(self, one.name) for one in fields(Progress)})
        document = _Document(FORMAT_VERSION, self.data, progress, self.quarantine.kept())
        found: dict[str, Any] = _DOCUMENT.dump_python(document, mode="json")
        return found

    def to_tensors(self) -> dict[str, Tensor]:
        """All tensors by ``model/<name>``, ``optimizer/<parameter>/<quantity>``, ``random/<device>`` and ``seen``.

        They share memory with the model and the optimizer, so write or copy them before the next step.
        """
        found = {"seen": self.seen.to_tensor()}
        for group in _GROUPS:
            found |= {f"{group}/{name}": value for name, value in getattr(self, group).items()}
        return found

    def snapshot(self, model: nn.Module, optimizer: Optimizer, device: torch.device, *, data: str) -> Self:
        """This state with all its tensors, which share memory with the model and the optimizer.

        Args:
            model: The model in training.
            optimizer: The optimizer of the stage.
            device: The device of the training.
            data: Fingerprint of the data.
        """
        return replace(
            self,
            data=data,
            model=model.state_dict(),
            optimizer=optimizer.state_tensors(),
            random=random_states(device),
        )

    def restore(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        device: torch.device,
        load: Callable[[Mapping[str, Tensor]], Any] | None = None,
    ) -> None:
        """Loads the tensors into the model, the optimizer and torch, and drops them from this state.

        Args:
            model: The model, prepared for the stage with its adapters and quantized layers.
            optimizer: The optimizer of the stage.
            device: The device of the training.
            load: Loads the weights into the model; by default its ``load_state_dict``.

        Raises:
            CheckpointError: they belong to another model or another optimizer.
        """
        try:
            (load or model.load_state_dict)(self.model)
        except RuntimeError as error:
            raise CheckpointError(
                f"training state: its weights do not fit the recipe's model. {error}"
            ) from error
        optimizer.load_state_tensors(self.optimizer)

        # Last, since creating adapters uses random numbers too.
        set_random_states(self.random, device)
        self.model, self.optimizer, self.random = {}, {}, {}

    def check_fits(self, stages: Sequence[str], *, data: str) -> None:
        """Checks that training can resume with these stages, given by name, and data with this fingerprint.

        Raises:
            CheckpointError: the state belongs to other data or other stages, or nothing is left to train.
        """
        if not self.model:
            raise CheckpointError(
                f"training state: it has no weights, so nothing is left to train after its {self.steps} steps."
            )
        if self.data != data:
            raise CheckpointError(
                f"training state: its data has the fingerprint {self.data}, but this data has {data}; resume with the data "
                "that the run began with, or start a new run."
            )
        if len(stages) <= self.stage or len(self.stage_steps) != self.stage:
            raise CheckpointError(
                f"training state: it is in stage {self.stage}, and {len(self.stage_steps)} stages have ended; the recipe "
                f"has {len(stages)} ({', '.join(stages)}). Resume with the recipe that the run began with."
            )

    def on_cpu(self) -> Self:
        """A copy with its tensors on the CPU, to free the memory of the device."""
        return replace(
            self, model=_on_cpu(self.model), optimizer=_on_cpu(self.optimizer), random=_on_cpu(self.random)
        )

    @classmethod
    def of(cls, document: Any, tensors: Mapping[str, Tensor]) -> Self:
        """The state from the results of `to_json` and `to_tensors`.

        Raises:
            CheckpointError: a document of another version, or with missing, unknown or invalid values, or unknown tensors.
        """
        found = _checked(document)

        groups: dict[str, Mapping[str, Tensor]] = {}
        for group in _GROUPS:
            prefix = f"{group}/"
            if isinstance(tensors, ShardedTensors):  # they are not read yet
                groups[group] = tensors.group(prefix)
            else:
                inner = {name: value for name, value in tensors.items() if name.startswith(prefix)}
                groups[group] = {name.removeprefix(prefix): value for name, value in inner.items()}

        for name in tensors:
            is_known = name == "seen" or name.partition("/")[0] in _GROUPS
            if not is_known or name.endswith("/"):
                known = ", ".join(f"{one}/..." for one in _GROUPS)
                raise CheckpointError(f"training state: unknown tensor {name!r}; expected seen, {known}.")
        if "seen" not in tensors:
            raise CheckpointError("training state: the tensor 'seen' is missing.")

        return cls(
            **vars(found.progress),
            data=found.data,
            seen=Seen.of(tensors["seen"]),
            quarantine=Quarantine.of(found.quarantine),
            **groups,  # type: ignore[arg-type]  # mypy takes them for values of every field
        )


_GROUPS = ("model", "optimizer", "random")
"""Fields of `State` that hold tensors."""


@dataclass
class _Document:
    """The JSON document of a state."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    format_version: int
    data: str
    progress: Progress
    quarantine: Kept


_DOCUMENT = pydantic.TypeAdapter(_Document)


def _checked(document: Any) -> _Document:
    """The document, validated; `CheckpointError` if it is not valid."""
    version = document.get("format_version") if isinstance(document, Mapping) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"training state: format_version is {version!r}, and this release reads {FORMAT_VERSION}; resume with the "
            "release that wrote it."
        )

    numbers = document.get("progress")
    if isinstance(numbers, Mapping):
        # A missing number must not be read as 0.
        missing = [one.name for one in fields(Progress) if one.name not in numbers]
        if missing:
            raise CheckpointError(f"training state: progress.{missing[0]} is missing.")

    try:
        return _DOCUMENT.validate_python(document)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"training state: {where}: {first['msg']} (got {first['input']!r}).") from error


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in tensors.items()}


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Copies of the states of the random number generators that training on a device uses, by type of device."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["mps"] = torch.mps.get_rng_state()
    return found


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restores the states of the CPU's generator and of the device's; other devices are left alone."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"].cpu())
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    if "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"].cpu())
