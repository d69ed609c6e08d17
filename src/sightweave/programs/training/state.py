"""All that changes while a run trains: together with the recipe, the data and the code, a training resumes from it.

What is not here is a function of what is: the order of the images of the seed and a position (see `Feed`), the learning rate
of the step and the stage's settings. A state is numbers, which are written as JSON, and tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import pydantic
import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError
from sightweave.programs.training.logs import Averages
from sightweave.programs.training.optimizers import Optimizer
from sightweave.programs.training.quarantine import Kept, Quarantine
from sightweave.programs.training.seen import Seen

FORMAT_VERSION = 1


@dataclass
class Progress:
    """How far a run has come, in numbers."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        extra="forbid", allow_inf_nan=False
    )

    # The place in the recipe.
    stage: NonNegativeInt = 0
    """Index of the stage that trains; the number of stages where all have ended."""
    step: NonNegativeInt = 0
    """Updates that this stage has made."""
    stage_seconds: NonNegativeFloat = 0.0
    """Wall time of this stage, which ends a stage with minutes and sets its rates."""

    # The place in the order of the images.
    position: NonNegativeInt = 0
    """Where the next microstep begins, or the window that it belongs to."""
    within: NonNegativeInt = 0
    """Number of the next microstep in its window."""
    end: NonNegativeInt = 0
    """Position after the last image that was trained on: where the next stage begins."""

    # Totals.
    steps: NonNegativeInt = 0
    """Updates that were made."""
    planned_steps: NonNegativeInt = 0
    """Updates that the settings ask for, over all stages; where the clock ends a stage, by the speed so far."""
    stage_steps: list[NonNegativeInt] = field(default_factory=list)
    """Updates of each stage that has ended."""
    pictures: NonNegativeInt = 0
    """Pictures that were trained on, each as often as it was shown."""
    samples: NonNegativeInt = 0
    """Samples that were trained on, each as often as it was shown."""
    tokens: NonNegativeInt = 0
    """Tokens of their rows, those that stand for pictures included."""
    seconds: NonNegativeFloat = 0.0
    """Wall time of the loop."""
    feed_seconds: NonNegativeFloat = 0.0
    """Time that the loop waited for its input."""
    languages: set[str] | None = field(default_factory=set)
    """Pairs of languages, such as ``en-de``, that it was shown translations between; None where a part may know others."""
    threads: NonNegativeInt = 0
    """Number of torch threads that it trains with; 0 before that is known."""

    # The curve.
    losses: list[list[float]] = field(default_factory=list)
    """Of each stage that has begun, the mean loss of every row of the log."""
    averages: Averages = field(default_factory=Averages)
    """Of the updates that no row has yet."""


@dataclass
class State(Progress):
    """Everything that a resumed training needs.

    While a run trains, its `Trainer` counts in this object, and the three mappings of tensors are empty: the model, the
    optimizer and torch hold these. `Trainer.snapshot` gives a state that has them.
    """

    data: str = ""
    """Fingerprint of the data; empty where there is no snapshot."""
    seen: Seen = field(default_factory=lambda: Seen(0))
    """Which pictures were trained on."""
    quarantine: Quarantine = field(default_factory=Quarantine)
    """What was left out."""
    model: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights and statistics as they train: with adapters apart from the layers beside them, and with quantized layers."""
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    """Moments and counters, as `Optimizer.state_tensors` gives them."""
    random: Mapping[str, Tensor] = field(default_factory=dict)
    """States of torch's random number generators by type of device, which dropout draws from."""

    @property
    def distinct_pictures(self) -> int:
        """Different pictures among those that were trained on."""
        return self.seen.count

    @property
    def left_out(self) -> dict[str, int]:
        """Pictures and samples left out, by reason."""
        return dict(self.quarantine.reasons)

    def to_json(self) -> dict[str, Any]:
        """All that is no tensor."""
        progress = Progress(**{one.name: getattr(self, one.name) for one in fields(Progress)})
        document = _Document(FORMAT_VERSION, self.data, progress, self.quarantine.kept())
        found: dict[str, Any] = _DOCUMENT.dump_python(document, mode="json")
        return found

    def to_tensors(self) -> dict[str, Tensor]:
        """All tensors by ``model/<name>``, ``optimizer/<parameter>/<quantity>``, ``random/<device>`` and ``seen``.

        They share memory with what trains, and are to be written or copied before the next step.
        """
        found = {"seen": self.seen.to_tensor()}
        for group in _GROUPS:
            found |= {f"{group}/{name}": value for name, value in getattr(self, group).items()}
        return found

    def snapshot(self, model: nn.Module, optimizer: Optimizer, device: torch.device, *, data: str) -> Self:
        """This state with all its tensors, which share memory with what trains.

        Args:
            model: As it trains.
            optimizer: Of the stage.
            device: On which it trains.
            data: Fingerprint of the data.
        """
        return replace(
            self,
            data=data,
            model=model.state_dict(),
            optimizer=optimizer.state_tensors(),
            random=random_states(device),
        )

    def restore(self, model: nn.Module, optimizer: Optimizer, device: torch.device) -> None:
        """Copies the tensors to where they belong, and forgets them.

        Args:
            model: Prepared for the stage: with its adapters, and with quantized layers.
            optimizer: Of the stage.
            device: On which it trains.

        Raises:
            CheckpointError: they are of another model or another optimizer.
        """
        try:
            model.load_state_dict(self.model)
        except RuntimeError as error:
            raise CheckpointError(
                f"training state: its weights are of another model than the recipe's. {error}"
            ) from error
        optimizer.load_state_tensors(self.optimizer)
        # Last, since making adapters draws numbers, too.
        set_random_states(self.random, device)
        self.model, self.optimizer, self.random = {}, {}, {}

    def check_fits(self, stages: Sequence[str], *, data: str) -> None:
        """Refuses what cannot be resumed with these stages, by name, and data with this fingerprint.

        Raises:
            CheckpointError: it is of other data or other stages, or nothing is left to train.
        """
        if not self.model:
            raise CheckpointError(
                f"training state: it has no weights, so nothing is left to train after its {self.steps} steps."
            )
        if self.data != data:
            raise CheckpointError(
                f"training state: its data has the fingerprint {self.data}, and this data has {data}; resume with the data "
                "that the run began with, or train anew."
            )
        if len(stages) <= self.stage or len(self.stage_steps) != self.stage:
            raise CheckpointError(
                f"training state: it is in stage {self.stage}, and {len(self.stage_steps)} stages have ended; the recipe "
                f"has {len(stages)} ({', '.join(stages)}). Resume with the recipe that the run began with."
            )

    def on_cpu(self) -> Self:
        """The same with its tensors in the memory of the CPU, so that the device's is free."""
        return replace(
            self, model=_on_cpu(self.model), optimizer=_on_cpu(self.optimizer), random=_on_cpu(self.random)
        )

    @classmethod
    def of(cls, document: Any, tensors: Mapping[str, Tensor]) -> Self:
        """The state that `to_json` and `to_tensors` gave.

        Raises:
            CheckpointError: a document of another version or with missing, unknown or impossible values, or tensors of
                another kind.
        """
        found = _checked(document)
        groups: dict[str, dict[str, Tensor]] = {group: {} for group in _GROUPS}
        for name, value in tensors.items():
            group, _, inner = name.partition("/")
            if group in groups and inner:
                groups[group][inner] = value
            elif name != "seen":
                raise CheckpointError(
                    f"training state: unknown tensor {name!r}; expected seen, {', '.join(f'{one}/...' for one in _GROUPS)}."
                )
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
    """What `State.to_json` gives."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    format_version: int
    data: str
    progress: Progress
    quarantine: Kept


_DOCUMENT = pydantic.TypeAdapter(_Document)


def _checked(document: Any) -> _Document:
    version = document.get("format_version") if isinstance(document, Mapping) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"training state: format_version is {version!r}, and this release reads {FORMAT_VERSION}; resume with the "
            "release that wrote it."
        )
    numbers = document.get("progress")
    if isinstance(numbers, Mapping):
        # A number that is missing must not count as the beginning of a run.
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
    """The states of the generators that training on a device draws from, by type of device; copies."""
    found = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        found["mps"] = torch.mps.get_rng_state()
    return found


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Puts generators into these states; one of a device that is not trained on stays as it is."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"].cpu())
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    if "mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["mps"].cpu())
