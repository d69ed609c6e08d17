"""What a training run is told: stages, each with its steps, its parts, its optimizer and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sightweave.core import catalog
from sightweave.core.config import config
from sightweave.core.errors import did_you_mean
from sightweave.data.inputs.too_long import Policy
from sightweave.models.adapters import quantization
from sightweave.models.adapters.lora import Lora
from sightweave.models.parts import PART_NAMES, PartName
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.schedule import ScheduleConfig, Share

T = TypeVar("T")

DURATIONS = ("steps", "epochs", "minutes")
"""Ways to say how long a stage trains; a stage has exactly one of them."""
BOUNDS = ("min_steps", "max_steps")
"""Bounds on the steps that epochs come to."""


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("at least one is needed (got none)")
    return values


def _known_tasks(names: tuple[str, ...]) -> tuple[str, ...]:
    known = catalog.kinds("data.tasks")
    for name in names:
        if name not in known and "." not in name:  # a dotted path is a task of the user's own
            raise ValueError(f"no task {name!r} (got {list(names)}). {did_you_mean(name, known)}")
    return names


@config
class Stage:
    """One stage: which parts train, on what, for how long."""

    steps: PositiveInt | None = None
    """Number of optimizer updates. A stage has either steps, epochs or minutes."""
    epochs: PositiveFloat | None = None
    """Number of passes over the stage's samples. The steps that follow from it are saved with the run."""
    min_steps: PositiveInt | None = None
    """Fewest steps that epochs may come to, so that a small dataset is trained on long enough."""
    max_steps: PositiveInt | None = None
    """Most steps that epochs may come to."""
    minutes: PositiveFloat | None = None
    """Wall time of the stage in minutes; the schedule follows the clock, so such a stage does not repeat exactly."""
    name: str = "main"
    """For curves and progress."""
    pictures: PositiveInt = 8
    """Pictures of one microstep; each brings all its samples."""
    microsteps: PositiveInt = 1
    """Forward and backward passes summed into one update."""
    learn: Literal["answers", "words"] = "answers"
    """answers: next tokens (or classes) of the targets; words: only the words for what the encoder sees."""
    words: Literal["none", "regions", "captions", "auto"] = "none"
    """Where words for image embeddings come from; auto takes regions where the data has them, else captions."""
    word_weight: NonNegativeFloat = 0.1
    """Weight of the word loss beside the answers."""
    parts: Annotated[tuple[PartName, ...], AfterValidator(_some)] = PART_NAMES[:4]
    """Which parts train: encoder, connector, fusion, language_model, token_embedding."""
    lora: Mapping[PartName, Lora] = field(default_factory=dict)
    """Parts of which adapters train instead, such as {language_model: {rank: 16}}; merged when the stage ends."""
    checkpointing: bool = False
    """Compute what is inside Transformer blocks again in the backward pass: less memory, about a third more work."""
    cache_features: NonNegativeInt = 0
    """MiB for the features of a frozen encoder, which then sees each picture once; 0 keeps none."""
    tasks: Annotated[tuple[str, ...], AfterValidator(_known_tasks)] = ()
    """Only samples of these tasks; empty means all."""
    samples_per_picture: PositiveInt | None = None
    """At most so many of a picture's samples in a step, drawn anew each time; None takes all."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Which optimizer, and its rates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the rates go over the stage."""
    clip: NonNegativeFloat = 1.0
    """Largest norm of the gradient of all parts together; 0 leaves it."""
    length_power: Share = 0.0
    """Weight of a token is 1 / (tokens of its answer) to this power: 0 counts tokens alike, 1 answers alike."""
    z_loss: NonNegativeFloat = 0.0
    """Weight of the squared log of the softmax's denominator."""
    pack_to: PositiveInt | None = None
    """Tokens of a row that several pictures are packed into; None gives each picture its own row."""
    pack_window: PositiveInt = 1
    """Microsteps whose pictures are packed as one and then shared out evenly: more fill rows better. Needs pack_to."""
    augment: bool = False
    """Whether pictures vary as the transform says."""
    hide_images: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the images that are hidden, so that their prompts are answered from the text alone. A model that met
    prompts without an image answers them as well as texts allow, and the control without the image can be believed."""

    def __post_init__(self) -> None:
        self._check_duration()
        if idle := [part for part in self.lora if part not in self.parts]:
            raise ValueError(
                f"lora names {idle[0]}, which does not train: put it into parts (got {list(self.parts)})"
            )
        if "token_embedding" in self.lora:
            raise ValueError(
                "lora names token_embedding, which is a table; only parts with linear layers have adapters"
            )
        if self.cache_features and "encoder" in self.parts:
            raise ValueError(
                f"cache_features is {self.cache_features}, but the encoder trains; set it to 0 or take encoder out of parts"
            )
        if self.cache_features and self.augment:
            raise ValueError(
                f"cache_features is {self.cache_features}, but augment varies the pictures; set one of them off"
            )
        if self.pack_window > 1 and self.pack_to is None:
            raise ValueError(
                f"pack_window is {self.pack_window}, but pack_to is none, so nothing is packed; set pack_to to the tokens "
                "of a row, or pack_window to 1."
            )
        if self.pack_window > 1 and self.learn == "words":
            raise ValueError(
                f"pack_window is {self.pack_window}, but learn is words, and such a stage has no rows; set pack_window to 1."
            )

    def _check_duration(self) -> None:
        given = {name: getattr(self, name) for name in DURATIONS if getattr(self, name) is not None}
        if len(given) != 1:
            shown = ", ".join(f"{name}={value:g}" for name, value in given.items()) or "none of them"
            raise ValueError(f"stage {self.name!r} needs exactly one of {', '.join(DURATIONS)} (got {shown})")
        bounds = {name: getattr(self, name) for name in BOUNDS if getattr(self, name) is not None}
        if bounds and self.epochs is None:
            (name, value), *_ = bounds.items()
            raise ValueError(
                f"stage {self.name!r} has {name} ({value}), which bounds epochs, but counts {', '.join(given)}; "
                f"leave {name} out"
            )
        if len(bounds) == 2 and bounds["min_steps"] > bounds["max_steps"]:
            raise ValueError(
                f"stage {self.name!r}: min_steps ({self.min_steps}) is above max_steps ({self.max_steps})"
            )


@config
class Settings:
    """How a run computes and what it keeps."""

    stages: Annotated[tuple[Stage, ...], AfterValidator(_some)]
    """One after the other."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:0 or mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto times matmuls of both kinds once on a machine and takes bf16 where it is clearly faster."""
    threads: PositiveInt | None = None
    """Number of torch threads on the CPU. None takes at most one per core, and fewer if a trial before the first step is
    faster with fewer. OMP_NUM_THREADS, CPU affinity and the quota of a container are respected."""
    quantize: Mapping[PartName, quantization.Form] = field(default_factory=dict)
    """Parts whose linear layers are kept in few bits while others train, such as {language_model: nf4}: int8 or nf4."""
    workers: NonNegativeInt = 0
    """Threads that decode pictures ahead; 0 means one for each core but one, from 1 to 8. They change no result."""
    save_every: PositiveInt = 500
    """Steps between checkpoints; the last step always saves."""
    log_every: PositiveInt = 10
    """Steps between rows of metrics.jsonl."""
    check: bool = True
    """Look before the first step whether the parts are wired right, and stop where they are not."""
    too_long: Policy = "drop_row"
    """A sample over inputs.max_length: error, drop_row, drop_turn (whole turns, oldest first) or shrink_image."""

    def __post_init__(self) -> None:
        for stage in self.stages[:-1]:
            if kept := [part for part, one in stage.lora.items() if one.keep]:
                raise ValueError(
                    f"stage {stage.name!r} keeps the adapters of {kept[0]}, but is not the last; set keep there only"
                )
            if merged := [part for part in stage.lora if part in self.quantize]:
                raise ValueError(
                    f"stage {stage.name!r} trains adapters of {merged[0]} and is not the last, but weights in few bits "
                    f"({self.quantize[merged[0]]}) take up no adapters: give {merged[0]} adapters in the last stage only"
                )
        for part, form in self.quantize.items():
            if part == "token_embedding":
                raise ValueError(
                    "quantize names token_embedding, which is a table; only linear layers have few bits"
                )
            if trains := [one.name for one in self.stages if part in one.parts and part not in one.lora]:
                raise ValueError(
                    f"quantize keeps {part} as {form}, but it trains in stage {trains[0]!r}: take it out of parts there, or "
                    "let adapters train in its place (lora)"
                )

    @property
    def kept(self) -> Mapping[PartName, Lora]:
        """The adapters that a run keeps, by part."""
        return {part: one for part, one in self.stages[-1].lora.items() if one.keep}
