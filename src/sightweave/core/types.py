"""The plain types that more than one room handles; no tensors here, so that data needs no torch.

files -> Record (in ``data/tasks/<task>.py``) -> Sample -> Batch (``core/batch.py``) -> Prediction
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightweave.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    Source = Path | bytes | np.ndarray | PIL.Image.Image | Callable[[], np.ndarray | bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Medium:
    """One image, video, sound or similar medium, before it is decoded.

    A generated image is a function that draws it: nothing is drawn before somebody asks for the pixels.
    """

    source: Source
    """A path, the bytes of a file, an array, or a function that returns such bytes or an array. For an image, the array
    is H W or H W C, an open Pillow image is allowed too, and a function returns uint8 H W 3."""
    key: str
    """A stable name, equal for equal media: used to share one encoding, to shuffle, and in messages."""
    modality: str = "image"
    """Name of a file in ``data/inputs/media``, or the dotted path of a user's own module of that kind."""

    @property
    def identity(self) -> str:
        """The key, prefixed with the modality unless it is an image: a dataset may use the same keys in two modalities."""
        return self.key if self.modality == "image" else f"{self.modality}:{self.key}"


@dataclass(frozen=True, slots=True)
class MediumInfo:
    """What the header of an image says, before anything is decoded."""

    width: int
    """Pixels, after any EXIF rotation."""
    height: int
    """Pixels, after any EXIF rotation."""
    mode: str
    """Pillow's name of the colour mode, such as RGB or CMYK."""
    format: str
    """JPEG, PNG, WEBP, GIF, or ARRAY for what is already in memory."""
    frames: int = 1
    """Number of images in the file; only the first is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """An object in an image, and the words for it. Regions help training but are never required."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as fractions (0 to 1) of the image's width and height."""
    words: tuple[str, ...]
    """Its possible names, in any language."""
    mask: np.ndarray | None = None
    """The exact outline as bool H W, if it is known."""


@dataclass(frozen=True, slots=True)
class Part:
    """A contiguous part of a sample: text or a single medium."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str | Medium
    learn: bool = False
    """Whether it contributes to the loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One prompt with its target: what a task makes from a record. Contains no tensors."""

    id: str
    task: str
    """The file in ``data/tasks`` that made the sample and parses its answer."""
    parts: tuple[Part, ...]
    references: tuple[str, ...] = ()
    """All acceptable answers, in the form in which the task's metrics compare them."""
    group: str = ""
    """Identifies the images: samples of one group share their encoding, and statistics are clustered by group."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """``type`` (the question's type), languages and the like, by which tables are split. Samples with a ``subset`` are
    scored separately from the rest of their split, in a table of that name."""
    options: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    """Regions of the first medium."""
    is_caption: bool = False
    """Whether the target describes the images as a whole, so that its words apply to them."""

    @property
    def media(self) -> tuple[Medium, ...]:
        """Its media, in order."""
        # A list, since most samples have one image, for which a generator is slower.
        return tuple([part.content for part in self.parts if isinstance(part.content, Medium)])

    def without_media(self) -> Sample:
        """The same prompt and answer without the media and regions."""
        parts = tuple(part for part in self.parts if not isinstance(part.content, Medium))
        return replace(self, parts=parts, regions=())

    @property
    def prompt(self) -> str:
        """The text before the answer."""
        texts = [p.content for p in self.parts if isinstance(p.content, str) and not p.learn]
        return "\n".join(texts)

    @property
    def target(self) -> str:
        """The text to learn."""
        return "".join(p.content for p in self.parts if isinstance(p.content, str) and p.learn)


def group_of(images: tuple[Medium, ...], name: str) -> str:
    """The group of a sample: the images that it is about, or its own name if there are none."""
    return "+".join([image.identity for image in images]) or name


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model considers a given text as the answer to one sample."""

    logprob: float
    """Natural-log probability of the whole text, its end included."""
    tokens: int
    """Tokens of the text, its end included."""

    @property
    def per_token(self) -> float:
        """Mean natural-log probability of a token."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question that a person asked, kept with the answer so that a notebook can show both."""

    prompt: str
    html: Callable[[str, Sequence[str]], str]
    """Renders the question, its images and the answer as HTML, given the answer's text and further facts about it."""


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """A model's answer to one sample."""

    text: str
    logprob: float | None = None
    """Mean natural-log probability per token, the end token included; None if it is not known."""
    tokens: int = 0
    """Number of generated tokens, the end token included."""
    finish: str = "stop"
    """``stop`` (the model ended it), ``length`` (it was truncated) or ``none`` (no text was requested)."""
    likelihoods: tuple[Likelihood, ...] = ()
    """Likelihoods of the texts that the model was given to score, in their order."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked | None = field(default=None, compare=False)
    """The question, if a person asked a run; it does not affect the answer."""
    ids: tuple[int, ...] = field(default=(), compare=False)
    """Tokens that were generated, including the end token; empty if they are not known. Equality ignores them."""

    def __repr__(self) -> str:
        facts = [f"logprob={self.logprob:.4g}"] if self.logprob is not None else []
        facts += [f"finish={self.finish!r}"] * (self.finish != "stop")
        facts += [f"likelihoods={len(self.likelihoods)}"] * bool(self.likelihoods)
        facts += [f"{name}={value!r}"[:_LETTERS] for name, value in self.extra.items()]
        return f"Prediction({', '.join([repr(self.text), *facts])})"

    def _repr_html_(self) -> str:
        sure = self.logprob is not None and math.isfinite(self.logprob)
        about = [f"{100 * math.exp(min(0.0, self.logprob or 0.0)):.0f} % sure of each token"] * sure
        about += ["cut at the token limit"] * (self.finish == "length")
        if self.asked is not None:
            return self.asked.html(self.text, about)
        return "".join(f"<p>{html.escape(words)}</p>" for words in (self.text, *about))


_LETTERS = 100
"""Maximum characters of one further fact in a prediction's representation."""


@dataclass(frozen=True, slots=True)
class MediaLayout:
    """How many embeddings a medium of one modality becomes, known before it is decoded."""

    tokens: int = 0
    """Embeddings of each medium, if all media have the same number."""
    grid: tuple[int, int] | None = None
    """Their rows and columns, if they correspond to positions in an image."""
    stride: tuple[int, ...] = ()
    """If the number depends on the size of the medium: how many values along each axis become one embedding. The last
    embedding along an axis may cover fewer. Empty means `tokens` for all media."""

    def num_tokens(self, size: Sequence[int]) -> int:
        """Embeddings of one medium.

        Args:
            size: Number of its values along each axis except the channels.

        Raises:
            DataError: the medium and the layout have different numbers of axes.
        """
        if not self.stride:
            return self.tokens
        if len(size) != len(self.stride):
            raise DataError(
                f"the medium has {len(size)} axes {tuple(size)}, but the encoder reads {len(self.stride)} "
                f"(stride {self.stride})."
            )
        return math.prod(-(-length // stride) for length, stride in zip(size, self.stride, strict=True))


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How a composed model needs its tokens laid out; the model declares it, and the processor follows it."""

    form: str = "causal"
    """``causal``, ``encoder_decoder`` or ``classify``."""
    in_sequence: bool = True
    """Whether the text contains media tokens (only a fusion such as ``concat`` needs them)."""
    bidirectional: str = "none"
    """What may see ahead: ``none``, ``image`` (the tokens of each medium), ``prompt`` (media and prompt) or ``all``."""
    one_position: bool = False
    """Whether all tokens of a medium share one position (their embeddings encode their places), unlike text tokens."""
    media: Mapping[str, MediaLayout] = field(default_factory=dict)
    """Number of embeddings by modality."""

    @property
    def tokens_per_image(self) -> int:
        """Embeddings of one image; 0 for a model without an image encoder."""
        return self.media["image"].tokens if "image" in self.media else 0

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of an image's embeddings, if they correspond to positions in the image."""
        return self.media["image"].grid if "image" in self.media else None
