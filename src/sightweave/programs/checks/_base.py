"""The model that is checked, the prompts of the checks, and their findings."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.media import image
from sightweave.data.inputs.processor import Processor
from sightweave.models.adapters.quantization import Form
from sightweave.models.parts import PartName
from sightweave.models.vlm import VLM
from sightweave.programs.training.settings import Stage

State = Literal["pass", "fail", "skip"]
_NUDGE = 0.1
"""Standard deviation of the values that replace parameters which are initially zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    state: State
    measured: str
    """What was measured, with numbers; or the reason why the check was skipped."""
    needed: str = ""
    """Condition for passing."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with everything that a check may look at; `of` creates one from a model that must not be changed."""

    model: VLM
    """A copy in evaluation mode, in fp32, in which no zero-initialised parameter hides the parts before it."""
    processor: Processor
    parts: Any
    """Configs of encoder, connector, fusion and language_model, as attributes with these names."""
    stages: Sequence[Stage] = ()
    """Stages of training."""
    quantized: Mapping[PartName, Form] = field(default_factory=dict)
    """Parts that training quantizes, with the number format."""
    pretrained: Mapping[str, str] = field(default_factory=dict)
    """Folders from which parts were initialised, by part."""
    is_trained: bool = False
    """Whether training may have changed weights from those in the folders."""

    @classmethod
    def of(cls, model: VLM, processor: Processor, **fields: Any) -> Subject:
        """Creates a subject from a copy of the model."""
        copied = copy.deepcopy(model).float().eval().requires_grad_(True)
        nudge(copied)
        return cls(model=copied, processor=processor, **fields)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    @property
    def is_classifier(self) -> bool:
        """Whether the model chooses among answers and generates no text."""
        return self.model.language_model.form == "classify"

    def batch(self, samples: Sequence[Any], **settings: Any) -> Batch:
        """A batch on the model's device."""
        return self.processor.batch(samples, **settings).to(self.device)

    def stage_batch(self, stage: Stage) -> Batch:
        """A batch on which a stage would train, created from the samples of `samples`."""
        asked = samples(self.processor)
        if stage.learn == "words":
            return self.processor.media_batch(asked, words="captions").to(self.device)
        if stage.learn == "image_tokens":
            return self.processor.picture_batch(_noises()).to(self.device)
        return self.batch(asked)

    def logits(self, batch: Batch, at: Tensor | None = None) -> Tensor:
        """Logits, computed without gradients."""
        with torch.inference_mode():
            found: Tensor = self.model(batch, at=at).logits
        return found.float()


def nudge(model: nn.Module) -> None:
    """Sets parameters that are zero to small random values, because closed gates let nothing through by design."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                drawn = torch.empty(parameter.shape).normal_(std=_NUDGE, generator=generator)
                parameter.copy_(drawn)


def ask(name: str, *content: str | Medium, answer: str) -> Sample:
    """A sample whose prompt has these texts and media, in this order, with its answer."""
    prompt = tuple(Part("user", one) for one in content)
    parts = (*prompt, Part("assistant", answer, learn=True))
    return Sample(id=name, task="vqa", parts=parts, references=(answer,))


def samples(processor: Processor) -> list[Sample]:
    """Samples that differ in their media.

    One has no medium, one has one, two share an image, one has two of which the second is in the middle of the text,
    and some have media of each further modality.
    """
    chooses = processor.layout.form == "classify"
    first, other = (processor.answers[0], processor.answers[-1]) if chooses else ("a red ball", "two")
    (_, main), *further = processor.loaders.items()
    found = [
        ask("text", "how many are there ?", answer=other),
        ask("one", main.example(1), "what is in the picture ?", answer=first),
        ask("shared", main.example(1), "how many ?", answer=other),
        ask("middle", main.example(2), "compare it with this one", main.example(3), "please", answer=first),
    ]
    for modality, loader in further:
        found.append(ask(modality, loader.example(1), "what is it ?", answer=first))
        mixed = (main.example(4), "and", loader.example(2), "with", main.example(5))
        found.append(ask(f"mixed with {modality}", *mixed, answer=other))
    return found


def _noises() -> list[Sample]:
    """Samples with an image each, for an image tokenizer."""
    return [ask(f"noise {number}", image.Loader.example(number), answer="noise") for number in (1, 2)]


def largest(one: Tensor, other: Tensor) -> float:
    """Largest difference, as a share of the largest value of `other`; infinite if it is NaN."""
    difference = float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))
    return difference if difference == difference else float("inf")
