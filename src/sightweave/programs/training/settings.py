"""The settings of a training run: its stages, each with its duration, parts, optimizer and data, and how it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sightweave.core import catalog
from sightweave.core.config import config, kind_of, one_of
from sightweave.core.errors import did_you_mean
from sightweave.data.inputs.too_long import Policy
from sightweave.models.adapters import quantization
from sightweave.models.adapters.lora import Lora
from sightweave.models.parts import PART_NAMES, PartName
from sightweave.programs.training.early_stopping import BY_LOSS, BY_SCORE
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.schedule import ScheduleConfig, Share

T = TypeVar("T")

DURATIONS = ("steps", "epochs", "minutes")
"""The settings for the duration of a stage, which has exactly one of them."""
BOUNDS = ("min_steps", "max_steps")
"""The settings that limit the steps of a stage with epochs."""


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


def _distinct(trackers: tuple[Any, ...]) -> tuple[Any, ...]:
    names = [kind_of(one) for one in trackers]
    if len(set(names)) < len(names):
        raise ValueError(f"each tracker can be used once (got {', '.join(names)})")
    return trackers


@config
class Stage:
    """One training stage: which parts train, on which samples, for how long."""

    steps: PositiveInt | None = None
    """Number of optimizer updates. A stage has either steps, epochs or minutes."""
    epochs: PositiveFloat | None = None
    """Number of passes over the stage's samples. The steps that follow from it are saved with the run."""
    min_steps: PositiveInt | None = None
    """Minimum number of steps of a stage with epochs, for small datasets."""
    max_steps: PositiveInt | None = None
    """Maximum number of steps of a stage with epochs."""
    minutes: PositiveFloat | None = None
    """Wall time of the stage in minutes. The schedule follows the clock, so such a stage is not exactly repeatable."""
    name: str = "main"
    """Name shown in curves and progress."""
    batch_size: PositiveInt = 8
    """Number of images in one forward and backward pass; each image comes with all its samples."""
    gradient_accumulation_steps: PositiveInt = 1
    """Number of forward and backward passes per optimizer update."""
    learn: Literal["answers", "words", "image_tokens"] = "answers"
    """Training objective: answers (next tokens, or classes, of the targets), words (only the words for what the encoder
    sees) or image_tokens (only the image tokenizer, on the images alone)."""
    words: Literal["none", "regions", "captions", "auto"] = "none"
    """Source of the words for image embeddings; auto uses regions if the data has them, else captions."""
    word_weight: NonNegativeFloat = 0.1
    """Weight of the word loss relative to the answer loss."""
    parts: Annotated[tuple[PartName, ...], AfterValidator(_some)] = PART_NAMES[:4]
    """Parts to train: encoder, connector, fusion, language_model, token_embedding."""
    lora: Mapping[PartName, Lora] = field(default_factory=dict)
    """LoRA adapters by part, trained instead of its weights, such as {language_model: {rank: 16}}; merged after the
    stage."""
    gradient_checkpointing: bool = False
    """Whether to recompute Transformer blocks in the backward pass: less memory, about a third more compute."""
    cache_features: NonNegativeInt = 0
    """Size of the cache for features of a frozen encoder in MiB; each image is then encoded once. 0 disables it."""
    tasks: Annotated[tuple[str, ...], AfterValidator(_known_tasks)] = ()
    """Tasks to train on; empty means all."""
    samples_per_image: PositiveInt | None = None
    """Maximum samples per image and step, resampled every step; None means all."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and its learning rates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate schedule of the stage."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of an exponential moving average of the weights, such as 0.999, with which the stage ends and which is
    validated and saved; 0 disables it. In the first n updates the decay is at most (1 + n) / (10 + n)."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Maximum norm of the gradient over all parts, to which it is clipped; 0 disables clipping."""
    length_power: Share = 0.0
    """Exponent p of the token weight 1 / (answer length)^p: 0 weights all tokens equally, 1 all answers."""
    z_loss: NonNegativeFloat = 0.0
    """Weight of the z-loss, the squared log of the softmax denominator."""
    image_token_weight: NonNegativeFloat = 1.0
    """Weight of an image token relative to a text token, where target images are learnt."""
    hide_prompts: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of the samples with a target image whose prompt is hidden, which guidance needs."""
    edge_weight: NonNegativeFloat = 0.1
    """Weight of the error of edges relative to that of pixels, in a stage that learns image_tokens."""
    pack_to: PositiveInt | None = None
    """Row length in tokens for packing several images into one row; None gives each image its own row."""
    pack_window: PositiveInt = 1
    """Number of batches packed together, then split evenly; more of them fill rows better. Requires pack_to."""
    augment: bool = False
    """Whether to apply the augmentation set in inputs."""
    hide_images: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of the images to hide, so that their prompts are answered from the text alone. A model trained on
    prompts without an image answers them as well as the text allows, which makes the no_image control meaningful."""

    def __post_init__(self) -> None:
        self._check_duration()
        self._check_adapters()
        self._check_feature_cache()
        self._check_packing()
        self._check_image_tokenizer()

    @property
    def reads_text(self) -> bool:
        """Whether the language model trains; if not, only images are read."""
        return self.learn == "answers"

    def _check_image_tokenizer(self) -> None:
        is_learnt = self.learn == "image_tokens"
        if is_learnt and self.parts != ("image_tokenizer",):
            raise ValueError(
                f"stage {self.name!r} learns image_tokens, which trains nothing but the image tokenizer; set parts to "
                f"[image_tokenizer] (got {list(self.parts)})"
            )
        if is_learnt and self.words != "none":
            raise ValueError(
                f"words is {self.words}, but learn is image_tokens, which reads no words; remove words"
            )
        if not is_learnt and "image_tokenizer" in self.parts:
            raise ValueError(
                f"parts has image_tokenizer, but learn is {self.learn}, which does not train it; train it in a stage of "
                "its own with learn: image_tokens"
            )

    def _check_adapters(self) -> None:
        for part in self.lora:
            if part not in self.parts:
                raise ValueError(
                    f"lora has {part}, which is not trained: add it to parts (got {list(self.parts)})"
                )
        if "token_embedding" in self.lora:
            raise ValueError(
                "lora has token_embedding, which is a table; only parts with linear layers can have adapters"
            )

    def _check_feature_cache(self) -> None:
        if self.cache_features and "encoder" in self.parts:
            raise ValueError(
                f"cache_features is {self.cache_features}, but the encoder is trained; set it to 0 or remove "
                "encoder from parts"
            )
        if self.cache_features and self.augment:
            raise ValueError(
                f"cache_features is {self.cache_features}, but augment changes the images; disable one of them"
            )

    def _check_packing(self) -> None:
        if self.pack_window > 1 and self.pack_to is None:
            raise ValueError(
                f"pack_window is {self.pack_window}, but pack_to is none, so nothing is packed; set pack_to to "
                "the row length in tokens, or pack_window to 1."
            )
        if self.pack_window > 1 and not self.reads_text:
            raise ValueError(
                f"pack_window is {self.pack_window}, but learn is {self.learn}, which does not pack rows; set pack_window "
                "to 1."
            )

    def _given(self, names: tuple[str, ...]) -> dict[str, float]:
        """The settings that are not None."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _check_duration(self) -> None:
        given = self._given(DURATIONS)
        if len(given) != 1:
            shown = ", ".join(f"{name}={value:g}" for name, value in given.items()) or "none of them"
            raise ValueError(f"stage {self.name!r} needs exactly one of {', '.join(DURATIONS)} (got {shown})")

        bounds = self._given(BOUNDS)
        if bounds and self.epochs is None:
            (name, value), *_ = bounds.items()
            raise ValueError(
                f"stage {self.name!r} has {name} ({value}), which limits epochs, but sets {', '.join(given)}; "
                f"remove {name}"
            )
        if len(bounds) == 2 and bounds["min_steps"] > bounds["max_steps"]:
            raise ValueError(
                f"stage {self.name!r}: min_steps ({self.min_steps}) is above max_steps ({self.max_steps})"
            )


@config
class Settings:
    """The stages of a run, how it computes, and how often it saves."""

    stages: Annotated[tuple[Stage, ...], AfterValidator(_some)]
    """Training stages, run in order."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:0 or mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Numeric precision: fp32, bf16, or auto, which times both once per machine and uses bf16 if it is clearly faster."""
    num_threads: PositiveInt | None = None
    """Number of torch threads on the CPU. None takes at most one per core, and fewer if a trial before the first step is
    faster with fewer. OMP_NUM_THREADS, CPU affinity and the quota of a container are respected."""
    quantize: Mapping[PartName, quantization.Form] = field(default_factory=dict)
    """Frozen parts whose linear layers are quantized to int8 or nf4, such as {language_model: nf4}."""
    num_workers: NonNegativeInt = 0
    """Number of threads that decode images; 0 means one fewer than the CPU cores, from 1 to 8. Does not affect results."""
    save_every: PositiveInt = 500
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """Number of newest checkpoints kept while training, for resuming; all are removed when training is complete."""
    log_every: PositiveInt = 10
    """Steps between rows of metrics.jsonl."""
    trackers: Annotated[
        tuple[Annotated[Any, one_of("programs.training.trackers")], ...], AfterValidator(_distinct)
    ] = ()
    """Experiment trackers, in addition to TensorBoard: wandb or mlflow, also with settings, such as {kind: wandb, project:
    demo}."""
    validate_every: NonNegativeInt | None = None
    """Steps between validations on the validation split, never on a test split; 0 disables them. None chooses an interval:
    at most 10 validations per stage, with at most one validation image per 20 training images."""
    validate_images: PositiveInt | None = 128
    """Maximum images of a validation, sampled from the whole split; None means all."""
    validate_samples: NonNegativeInt = 0
    """Number of samples of these images that are also answered and scored in each validation; 0 computes only the loss."""
    scale_lr: Literal["none", "linear", "sqrt"] = "none"
    """Scaling of all peak learning rates with the effective batch: linear multiplies them by the ratio of its size to
    base_batch_size, sqrt by the square root of the ratio."""
    base_batch_size: PositiveInt | None = None
    """Number of images per update that the learning rates in the recipe are meant for. Requires scale_lr."""
    best_by: str = BY_LOSS
    """What makes a validation the best: loss, score (the mean over tasks) or the name of a task."""
    keep: Literal["last", "best"] = "last"
    """Weights that each stage ends with: those of its last step, or those of its best validation."""
    patience: NonNegativeInt = 0
    """Number of validations without improvement after which a stage ends early; 0 never ends it early."""
    check: bool = True
    """Whether to check the wiring of the model before the first step, and stop if a check fails."""
    too_long: Policy = "drop_row"
    """Handling of samples over inputs.max_length: error, drop_row, drop_turn (whole turns, oldest first) or shrink_image."""

    def __post_init__(self) -> None:
        self._check_validation()
        self._check_scaling()
        for stage in self.stages[:-1]:
            self._check_merging(stage)
        for part, form in self.quantize.items():
            if part == "token_embedding":
                raise ValueError(
                    "quantize has token_embedding, which is a table; only linear layers can be quantized"
                )
            if part == "image_tokenizer":
                raise ValueError(
                    "quantize has image_tokenizer, which has convolutions; only linear layers can be quantized"
                )
            for stage in self.stages:
                if part in stage.parts and part not in stage.lora:
                    raise ValueError(
                        f"quantize stores {part} as {form}, but it is trained in stage {stage.name!r}: remove it from "
                        "parts there, or train adapters instead (lora)"
                    )

    def _check_validation(self) -> None:
        if self.patience and self.validate_every == 0:
            raise ValueError(
                f"patience is {self.patience}, but validate_every is 0, so nothing is validated; set one of the two"
            )
        if self.keep == "best" and self.validate_every == 0:
            raise ValueError(
                "keep is best, but validate_every is 0, so nothing is validated; set keep to last, or validate"
            )
        if self.best_by not in (BY_LOSS, BY_SCORE):
            _known_tasks((self.best_by,))
        if self.best_by != BY_LOSS and not self.validate_samples:
            raise ValueError(
                f"best_by is {self.best_by}, but validate_samples is 0, so nothing is scored; set validate_samples to the "
                "number of samples to score, or best_by to loss"
            )

    def _check_scaling(self) -> None:
        if self.scale_lr != "none" and self.base_batch_size is None:
            raise ValueError(
                f"scale_lr is {self.scale_lr}, but base_batch_size is none; set it to the number of images per update that "
                "the learning rates are meant for"
            )
        if self.scale_lr == "none" and self.base_batch_size is not None:
            raise ValueError(
                f"base_batch_size is {self.base_batch_size}, but scale_lr is none, so it has no effect; set scale_lr to "
                "linear or sqrt, or remove base_batch_size"
            )

    def _check_merging(self, stage: Stage) -> None:
        """Rejects adapters that a stage before the last one cannot merge."""
        for part, adapters in stage.lora.items():
            if adapters.keep:
                raise ValueError(
                    f"stage {stage.name!r} keeps the adapters of {part}, but is not the last stage; set keep "
                    "in the last stage only"
                )
            if part in self.quantize:
                raise ValueError(
                    f"stage {stage.name!r} trains adapters of {part} and is not the last, but quantized weights "
                    f"({self.quantize[part]}) cannot merge adapters: use adapters of {part} in the last stage only"
                )

    @property
    def kept(self) -> Mapping[PartName, Lora]:
        """The adapters that are not merged after the last stage, by part."""
        return {part: one for part, one in self.stages[-1].lora.items() if one.keep}
