"""Tiny models of every legal composition, with their processors and samples, for the contract tests."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any, NamedTuple

import numpy as np
import torch
from contracts._folders import FORMS, OF_KIND, folder, installed

from sightweave.core import catalog
from sightweave.core.batch import Batch, Output
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.loss import answer_loss, token_loss
from sightweave.models.pairs import declared, legal_pairs
from sightweave.models.vlm import VLM

ANSWERS = ("red", "blue", "two")
SENTENCES = (
    "what colour is the ball ?",
    "the ball is red",
    "how many cats are there ? two",
    "compare this picture with that one",
    "it is blue , a blue box",
)
_SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "channels": (16, 32, 32),
    "blocks": (0, 0, 1),
    "dim": 32,
    "depth": 2,
    "encoder_depth": 1,
    "decoder_depth": 2,
    "num_heads": 4,
    "num_queries": 5,
    "side": 2,
}
"""Values for the fields of any kind's Config that have these names: all that makes a model small."""
_OF_KIND: dict[str, dict[str, Any]] = {"resnet": {"image_size": 64}}  # it halves pictures five times
"""Other values of one kind."""


class Case(NamedTuple):
    """One legal pair, with one choice of the fusion's own words."""

    fusion: str
    fields: tuple[tuple[str, Any], ...]
    language_model: str

    def __str__(self) -> str:
        return "-".join([self.fusion, *(str(value) for _, value in self.fields), self.language_model])

    @property
    def form(self) -> str:
        """What the language model can do."""
        kind, _, name = self.language_model.partition(":")
        return FORMS[name] if name else str(declared("models.language_models", kind).form)


def small(family: str, kind: str, **fields: Any) -> Any:
    """A kind's Config with the small values, and then with these; what stands behind a colon is the folder that it reads."""
    kind, _, folder_name = kind.partition(":")
    cls = catalog.config_class(family, kind)
    names = {field.name for field in dataclasses.fields(cls)}
    values = {name: value for name, value in (_SMALL | _OF_KIND.get(kind, {})).items() if name in names}
    if "folder" in names:
        values["folder"] = folder(folder_name or OF_KIND[family, kind])
    return cls(**values | fields)


def _variants(fusion: str) -> list[tuple[tuple[str, Any], ...]]:
    """The defaults, and every other word that a field of the fusion's Config may hold."""
    cls = catalog.config_class("models.fusions", fusion)
    hints = typing.get_type_hints(cls)
    found: list[tuple[tuple[str, Any], ...]] = [()]
    for field in dataclasses.fields(cls):
        if typing.get_origin(hints[field.name]) is typing.Literal:
            words = [word for word in typing.get_args(hints[field.name]) if word != field.default]
            found += [((field.name, word),) for word in words]
    return found


def _adapted() -> list[Case]:
    """Language models of another library, of each form with each fusion that it can have."""
    if "from_transformers" not in installed("models.language_models"):
        return []
    family = declared("models.language_models", "from_transformers")
    offers = {kind.form: kind.offers for kind in family.__subclasses__()}
    return [
        Case(fusion, (), f"from_transformers:{name}")
        for name, form in FORMS.items()
        for fusion in catalog.kinds("models.fusions")
        if declared("models.fusions", fusion).places <= offers[form]
    ]


_OWN = [pair for pair in legal_pairs().items() if pair[0][1] != "from_transformers"]
PAIRS = [pair for pair, legal in _OWN if legal]
ILLEGAL = [pair for pair, legal in _OWN if not legal]
ADAPTED = _adapted()
PLAIN_CASES = [Case(fusion, (), model) for fusion, model in PAIRS] + ADAPTED
"""Every legal pair, once."""
CASES = [Case(fusion, fields, model) for fusion, model in PAIRS for fields in _variants(fusion)] + ADAPTED
"""Every legal pair, in every form of its fusion; the forms that a fusion has do not depend on who reads."""
GENERATING = [case for case in CASES if case.form != "classify"]


@functools.cache
def tokenizer() -> Tokenizer:
    """A tokenizer that knows the words of the sentences."""
    return Tokenizer.train([*SENTENCES, *ANSWERS] * 2, vocab_size=320)


def compose(
    case: Case,
    *,
    encoder: str = "cnn",
    connector: str = "linear",
    nudged: bool = True,
    seed: int = 0,
    language_model: dict[str, Any] | None = None,
    **fields: Any,
) -> tuple[VLM, Processor]:
    """A tiny model and its processor.

    Args:
        case: Fusion and language model.
        encoder: Kind of encoder.
        connector: Kind of connector.
        nudged: Whether what starts at zero gets small random values, since nothing flows through zeros.
        seed: Of the weights.
        language_model: More fields of the language model's Config.
        fields: More fields of the fusion's Config.
    """
    torch.manual_seed(seed)
    eyes = small("models.encoders", encoder).build()
    text = small("models.language_models", case.language_model, **(language_model or {}))
    speaker = text.build(vocab_size=tokenizer().vocab_size, num_answers=len(ANSWERS))
    joint = small("models.connectors", connector).build(
        in_dim=eyes.dim, out_dim=speaker.dim, grid=eyes.grid()
    )
    fusion = small("models.fusions", case.fusion, **dict(case.fields), **fields)
    made = fusion.build(dim=speaker.dim, num_heads=speaker.num_heads, depth=speaker.depth)
    model = VLM(eyes, joint, made, speaker)
    if nudged:
        nudge(model)
    processor = Processor(
        tokenizer=tokenizer(),
        transform=transforms.Config(size=eyes.image_size),
        layout=model.layout,
        answers=ANSWERS,
    )
    return model, processor


def nudge(model: torch.nn.Module) -> None:
    """Gives every parameter that is zero small random values."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)


def picture(number: int) -> Medium:
    """A small picture of odd size, another one for each number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8).repeat(6, 0).repeat(5, 1)
    return Medium(pixels, key=f"picture-{number}")


def sample(
    name: str, *content: str | Medium, answer: str = "red", references: tuple[str, ...] = ()
) -> Sample:
    """A prompt of texts and pictures in this order, with its answer."""
    prompt = tuple(Part("user", one) for one in content)
    parts = (*prompt, Part("assistant", answer, learn=True))
    return Sample(id=name, task="vqa", parts=parts, references=references or (answer,))


def samples() -> list[Sample]:
    """No picture, one, one shared by three prompts, three, one in the middle of a prompt, and both."""
    return [
        sample("text", "how many cats are there ?", answer="two"),
        sample("one", picture(1), "what colour is the ball ?", answer="the ball is red", references=("red",)),
        sample("again", picture(1), "how many ?", answer="two"),
        sample("three", picture(2), picture(3), picture(4), "compare", answer="blue"),
        sample("again with another", picture(1), "compare this picture", picture(5), "with that one ?"),
        sample(
            "middle", "compare this picture", picture(6), "with that one", picture(7), answer="a blue box"
        ),
        sample("short", "how ?", answer="blue"),
    ]


def total_loss(model: VLM, batch: Batch) -> torch.Tensor:
    """Loss summed over what is learnt, so that losses of parts of a batch add up."""
    output = model(batch)
    mean = answer_loss(output, batch) if batch.class_scores is not None else token_loss(output, batch)
    return mean * len(output.logits)


def gradients(model: VLM, losses: typing.Iterable[torch.Tensor]) -> tuple[float, dict[str, torch.Tensor]]:
    """The sum of losses, and the gradient of that sum by each parameter."""
    model.zero_grad()
    total = 0.0
    for loss in losses:
        loss.backward()
        total += float(loss.detach())
    return total, {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def logits_of(model: VLM, processor: Processor, one: Sample, **settings: Any) -> torch.Tensor:
    """Logits of one sample alone."""
    with torch.inference_mode():
        output: Output = model(processor.batch([one], **settings))
    assert output.logits is not None
    return output.logits
