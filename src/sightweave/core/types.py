"""Data types shared by several packages. They hold no tensors, so that reading data does not need torch.

Data passes through these stages: the dataset's files, a Record (``data/tasks/<task>.py``), a Sample, a Batch
(``core/batch.py``) and a Prediction.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightweave.core.errors import DataError
from sightweave.core.image_tokens import ImageTokens
from sightweave.core.text_regions import TextRegion

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image

    Source = Path | bytes | np.ndarray | PIL.Image.Image | Callable[[], np.ndarray | bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Medium:
    """One image, video, sound or similar medium, before it is decoded.

    The source of a generated image is a function, so that the image is drawn only when its pixels are needed.
    """

    source: Source
    """A path, the bytes of a file, an array, or a function that returns bytes or an array. For an image, an array is H W or
    H W C, a function returns an array uint8 H W 3, and a Pillow image is accepted too."""
    key: str
    """A stable name that equal media share, so that each is encoded only once; also used for shuffling and in messages."""
    modality: str = "image"
    """The modality: the name of a file in ``data/inputs/media``, or the dotted path of a user's own module."""

    @property
    def identity(self) -> str:
        """A key that is unique across modalities: the medium's key, preceded by its modality unless it is an image."""
        return self.key if self.modality == "image" else f"{self.modality}:{self.key}"


@dataclass(frozen=True, slots=True)
class MediumInfo:
    """Size and format of an image, read from its header without decoding the pixels."""

    width: int
    """Width in pixels, after any EXIF rotation."""
    height: int
    """Height in pixels, after any EXIF rotation."""
    mode: str
    """Pillow's name of the colour mode, such as RGB or CMYK."""
    format: str
    """File format: JPEG, PNG, WEBP or GIF, or ARRAY for an image that is already in memory."""
    frames: int = 1
    """Number of frames in the file; only the first is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """An object in an image with the words that name it. Regions help training but are never required."""

    box: tuple[float, float, float, float]
    """Bounding box: left, top, right and bottom as fractions (0 to 1) of the image's width and height."""
    words: tuple[str, ...]
    """Possible names of the object, in any language."""
    mask: np.ndarray | None = None
    """Segmentation mask of the object, bool H W, if it is known."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a sample's conversation: a piece of text or a single medium."""

    role: str
    """Author of the part: ``system``, ``user`` or ``assistant``."""
    content: str | Medium
    learn: bool = False
    """Whether the part's tokens contribute to the loss."""


CHECKED = ("thing", "color", "size", "count", "side", "presence")
"""Kinds of questions about a drawing."""


@dataclass(frozen=True, slots=True)
class Check:
    """A question about a drawing whose answer follows from the drawing's description."""

    aspect: str
    """Kind of question, one of `CHECKED`."""
    task: str
    """Task that asks the question: ``vqa`` or ``reasoning``."""
    question: str
    answer: str
    """The right answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One prompt with its target, made from a record by a task. Contains no tensors."""

    id: str
    task: str
    """The task that made the sample and parses its answer: the name of a file in ``data/tasks``."""
    parts: tuple[Part, ...]
    references: tuple[str, ...] = ()
    """All acceptable answers, in the form in which the task's metrics compare them."""
    group: str = ""
    """Identifier of the sample's images. Samples of one group share an encoding, and statistics treat a group as one
    cluster."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Properties by which result tables are split, such as ``type`` (the type of question) or a language. Samples with a
    ``subset`` tag are scored separately from the rest of their split, in a table of that name."""
    options: tuple[str, ...] = ()
    """Answer options of a multiple-choice question."""
    regions: tuple[Region, ...] = ()
    """Annotated regions of the first medium."""
    is_caption: bool = False
    """Whether the target describes the images as a whole, so that its words can serve as labels for them."""
    target_image: Medium | None = None
    """The image that belongs to the target, such as a translated one. It is a reference and never an input."""
    checks: tuple[Check, ...] = ()
    """Questions with which a drawing is scored; they are never an input."""

    @property
    def media(self) -> tuple[Medium, ...]:
        """All media that the model reads, in order; those of its answer are in `pictures`."""
        # A list, since most samples have one image, for which a generator is slower.
        return tuple(
            [part.content for part in self.parts if isinstance(part.content, Medium) and not part.learn]
        )

    @property
    def has_target(self) -> bool:
        """Whether there is anything to learn: a text that is not empty, or an image."""
        return bool(self.pictures or self.target.strip())

    @property
    def pictures(self) -> tuple[Medium, ...]:
        """The target images, which the model learns to make, in order."""
        return tuple([part.content for part in self.parts if isinstance(part.content, Medium) and part.learn])

    def without_media(self) -> Sample:
        """A copy of the sample without its media and regions; target images stay."""
        parts = tuple(part for part in self.parts if part.learn or not isinstance(part.content, Medium))
        return replace(self, parts=parts, regions=())

    def without_pictures(self) -> Sample:
        """The sample, or a copy of it without its target images, to be answered with a text alone."""
        if not self.pictures:
            return self
        parts = tuple(part for part in self.parts if not (part.learn and isinstance(part.content, Medium)))
        return replace(self, parts=parts)

    def without_prompt(self) -> Sample:
        """A copy of the sample with an empty prompt and without media and regions, but with the same target."""
        parts = tuple(part for part in self.parts if part.learn)
        return replace(self, parts=(Part("user", ""), *parts), regions=())

    @property
    def prompt(self) -> str:
        """The text of all parts that do not contribute to the loss, joined by line feeds."""
        texts = [p.content for p in self.parts if isinstance(p.content, str) and not p.learn]
        return "\n".join(texts)

    @property
    def target(self) -> str:
        """The text of all parts that contribute to the loss."""
        return "".join(p.content for p in self.parts if isinstance(p.content, str) and p.learn)


def group_of(images: tuple[Medium, ...], name: str) -> str:
    """The group of a sample: the identities of its images, or `name` if it has none."""
    return "+".join([image.identity for image in images]) or name


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Probability that a model assigns to a given text as the answer to one sample."""

    logprob: float
    """Natural logarithm of the probability of the whole text, including the end token."""
    tokens: int
    """Number of tokens in the text, including the end token."""

    @property
    def per_token(self) -> float:
        """Mean log probability per token (natural logarithm)."""
        return self.logprob / max(1, self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question that a user asked interactively, kept with the answer so that a notebook can show both."""

    prompt: str
    html: Callable[[str, Sequence[str]], str]
    """Renders the question, its images and the answer as HTML, given the answer's text and further facts about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """An image in which words were replaced."""

    picture: PIL.Image.Image
    """The new image, in the size and mode of the old one."""
    faults: tuple[str, ...] = ()
    """One sentence for each region that was left out."""


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """A model's answer to one sample."""

    text: str
    logprob: float | None = None
    """Mean log probability per generated token (natural logarithm), including the end token; None if it is not known."""
    tokens: int = 0
    """Number of generated tokens, including the end token."""
    finish: str = "stop"
    """Reason why the text ended: ``stop`` (end token), ``length`` (token limit) or ``none`` (no text was requested)."""
    likelihoods: tuple[Likelihood, ...] = ()
    """Likelihoods of the texts that the model was asked to score, in the same order."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further facts about the answer by name, such as the model's thoughts."""
    asked: Asked | None = field(default=None, compare=False)
    """The question, if a user asked it interactively; it does not affect the answer."""
    ids: tuple[int, ...] = field(default=(), compare=False)
    """Ids of the generated tokens, including the end token; empty if they are not known. Ignored in comparisons."""
    parts: tuple[str | PIL.Image.Image, ...] = field(default=(), compare=False)
    """Texts and images of the answer, in order, if the writer makes images; empty for an answer that is only `text`. Ignored
    in comparisons."""
    regions: tuple[TextRegion, ...] = field(default=(), compare=False)
    """Texts with their places, if the writer reads them from `text`."""
    drawing: Callable[[], Rendered] | None = field(default=None, compare=False)
    """Draws the regions into the image of the prompt, if the writer can. The image is drawn only when it is needed, because
    many large images would not fit into memory."""

    @property
    def images(self) -> tuple[PIL.Image.Image, ...]:
        """The images of the answer, in order."""
        return tuple([part for part in self.parts if not isinstance(part, str)])

    def rendered(self) -> Rendered:
        """The image of the prompt with the words of the regions in it, and what could not be drawn.

        Raises:
            DataError: The answer has no image; it needs a writer that draws, such as ``rendered``, and a prompt with an
                image.
        """
        if self.drawing is None:
            raise DataError(
                "this answer has no image: answer a prompt with an image, and with writer='rendered'."
            )
        return self.drawing()

    @property
    def picture(self) -> PIL.Image.Image | None:
        """The image of the answer; None if it has none.

        It is the image of the prompt with new words, drawn each time, or else the first of `images`.
        """
        if self.drawing is not None:
            return self.drawing().picture
        return next(iter(self.images), None)

    def __repr__(self) -> str:
        facts = [f"logprob={self.logprob:.4g}"] if self.logprob is not None else []
        facts += [f"finish={self.finish!r}"] * (self.finish != "stop")
        facts += [f"images={len(self.images)}"] * bool(self.images)
        facts += [f"likelihoods={len(self.likelihoods)}"] * bool(self.likelihoods)
        facts += [f"regions={len(self.regions)}"] * bool(self.regions)
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
"""Maximum characters of each entry of ``extra`` in a prediction's representation."""


@dataclass(frozen=True, slots=True)
class MediaLayout:
    """Number of embeddings that a model makes from each medium of one modality; known before the medium is decoded."""

    tokens: int = 0
    """Number of embeddings per medium, if it is the same for all media."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the embeddings, if they correspond to positions in an image."""
    stride: tuple[int, ...] = ()
    """Number of values along each axis that become one embedding, if the number of embeddings depends on the size of the
    medium; the last embedding along an axis may cover fewer values. Empty means that every medium has `tokens`."""

    def num_tokens(self, size: Sequence[int]) -> int:
        """Number of embeddings of one medium.

        Args:
            size: Size of the medium along each axis except the channels.

        Raises:
            DataError: The medium has another number of axes than ``stride``.
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
    """The layout of tokens and media that a model expects: declared by the model, and followed by the processor."""

    form: str = "causal"
    """Form of the model: ``causal``, ``encoder_decoder`` or ``classify``."""
    in_sequence: bool = True
    """Whether the token sequence has a place for each media embedding, as a fusion such as ``concat`` needs."""
    bidirectional: str = "none"
    """Tokens that attend to each other in both directions: ``none``, ``image`` (the tokens of each medium), ``prompt``
    (media and prompt) or ``all``."""
    one_position: bool = False
    """Whether all tokens of a medium share one position id, because their embeddings already encode their positions."""
    media: Mapping[str, MediaLayout] = field(default_factory=dict)
    """Number of embeddings by modality."""
    image_tokens: ImageTokens | None = None
    """Ids of the image tokens that the model writes; None if it writes only text."""

    @property
    def tokens_per_image(self) -> int:
        """Number of embeddings of each image; 0 if the model has no image encoder."""
        return self.media["image"].tokens if "image" in self.media else 0

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of an image's embeddings, if they correspond to positions in the image."""
        return self.media["image"].grid if "image" in self.media else None
