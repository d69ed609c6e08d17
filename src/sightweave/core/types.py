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
    """One image, video, sound or the like, before it is decoded.

    A generated image is a function that draws it: nothing is drawn before somebody asks for the pixels.
    """

    source: Source
    """A path, the bytes of a file, an array, or a function that returns such bytes or an array. Of an image, the array is
    H W or H W C; it may be an open Pillow image too, and a function draws uint8 H W 3."""
    key: str
    """A stable name, equal for equal media: used to share one encoding, to shuffle, and in messages."""
    modality: str = "image"
    """Name of a file in ``data/inputs/media``, or the dotted path of a user's own module of that kind."""

    @property
    def identity(self) -> str:
        """The key; of another modality than images with its name, since datasets may number both alike."""
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
    """Pictures in the file; we read the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A thing in a picture, and the words for it. A help in training, never a need."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as fractions (0 to 1) of the picture's width and height."""
    words: tuple[str, ...]
    """What it may be called, in any language."""
    mask: np.ndarray | None = None
    """bool H W, where it is known exactly."""


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
    """One prompt with its target: what a task makes of a record. Holds no tensors."""

    id: str
    task: str
    """The file in ``data/tasks`` that made it and that reads its answer."""
    parts: tuple[Part, ...]
    references: tuple[str, ...] = ()
    """All acceptable answers, as the task's metrics compare them."""
    group: str = ""
    """Which picture: samples of one group share its encoding, and statistics cluster by it."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """``type`` (the question's type), languages and the like: tables split by them. Samples with a ``subset`` are scored
    apart from the rest of their split, in a table of that name."""
    options: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    """Of the first medium."""
    is_caption: bool = False
    """Whether the target describes the pictures as a whole, so that its words are true of them."""

    @property
    def media(self) -> tuple[Medium, ...]:
        """Its pictures, in order."""
        # A list, since most samples have one picture, and a generator takes longer than that.
        return tuple([part.content for part in self.parts if isinstance(part.content, Medium)])

    def without_media(self) -> Sample:
        """The same prompt and answer with nothing left of its pictures."""
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
    """What samples cluster by: the pictures that they are about, or their own name where there are none."""
    return "+".join([image.identity for image in images]) or name


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model finds a given text as the answer to one sample."""

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
    """What a person asked, kept with the answer so that a notebook can show both."""

    prompt: str
    html: Callable[[str, Sequence[str]], str]
    """Makes the HTML of the question with its pictures and the answer, of the answer's text and what else is known of it."""


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """What a model said to one sample."""

    text: str
    logprob: float | None = None
    """Mean natural-log probability per token, the end token included; None where it is not known."""
    tokens: int = 0
    """Tokens written, the end token included."""
    finish: str = "stop"
    """``stop`` (it ended by itself), ``length`` (it was cut) or ``none`` (nothing was asked to be written)."""
    likelihoods: tuple[Likelihood, ...] = ()
    """Of the texts that the model was asked to judge, in their order."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked | None = field(default=None, compare=False)
    """What it answers, where a person asked a run; the answer is the same without."""
    ids: tuple[int, ...] = field(default=(), compare=False)
    """Tokens that were generated, including the end token; empty where they are not known. Equality ignores them."""

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
"""Of one further fact in a prediction's representation."""


@dataclass(frozen=True, slots=True)
class MediaLayout:
    """How many embeddings a medium of one modality becomes, known before it is decoded."""

    tokens: int = 0
    """Embeddings of each medium, where all media have the same number."""
    grid: tuple[int, int] | None = None
    """Their rows and columns, where they stand for places in an image."""
    stride: tuple[int, ...] = ()
    """Where the number follows the size of the medium: how many values along each axis become one embedding. The last
    embedding along an axis may cover fewer. Empty means `tokens` for all media."""

    def num_tokens(self, size: Sequence[int]) -> int:
        """Embeddings of one medium.

        Args:
            size: Length of its values along each axis but the channels.

        Raises:
            DataError: the medium has another number of axes than the layout.
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
    """How a composed model wants its tokens laid out; the model says it, the processor follows it."""

    form: str = "causal"
    """``causal``, ``encoder_decoder`` or ``classify``."""
    in_sequence: bool = True
    """Whether media tokens stand in the text (only a fusion such as ``concat`` asks for them)."""
    bidirectional: str = "none"
    """What may look ahead: ``none``, ``image`` (the tokens of each medium), ``prompt`` (media and prompt) or ``all``."""
    one_position: bool = False
    """Whether all tokens of a medium share one position (their places are in their embeddings) or count like words."""
    media: Mapping[str, MediaLayout] = field(default_factory=dict)
    """Number of embeddings by modality."""

    @property
    def tokens_per_image(self) -> int:
        """Embeddings of one image; 0 for a model without an image encoder."""
        return self.media["image"].tokens if "image" in self.media else 0

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of an image's embeddings, where they stand for places in the image."""
        return self.media["image"].grid if "image" in self.media else None
