"""Draws the texts of an answer into the image of the prompt, in place of the words that are there.

The answer has one line per region, in the plain-text form of ``core/text_regions.py``. The old words are taken out, and the
surface around them is continued inward; the new ones are set with fonts, so they are always crisp. No pixel outside the
regions changes. Systems for in-image translation such as Translatotron-V (Lan et al. 2024, arXiv:2407.02894) generate the
pixels instead.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator, PositiveInt

from sightweave.answers.writers._base import decoded
from sightweave.core.config import config
from sightweave.core.text_regions import TextRegion, parse_regions
from sightweave.core.types import Medium, Prediction, Rendered, Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer
from sightweave.data.scenes.face import FACE
from sightweave.data.scenes.typeface import BitmapFace
from sightweave.rendering.render import MAX_SIZE, MIN_SIZE, render
from sightweave.rendering.typefaces import Fonts, Typeface

FAULTS = "faults"
"""Key of `Prediction.extra` for the list of regions in the answer that are invalid."""


def _as_texts(value: Any) -> Any:
    """Wraps a single font in a tuple."""
    return (value,) if isinstance(value, str) else value


@config
class Config:
    """Settings of the writer that draws."""

    font: Annotated[tuple[str, ...], BeforeValidator(_as_texts)] = ()
    """Fonts, tried in turn for each text: paths of files, or names such as ``DejaVu Serif``. The default is DejaVu Sans.
    ``sightweave`` is the face of the signs in scenes; ``bold`` or ``slanted`` after the name chooses another kind."""
    min_size: PositiveInt = MIN_SIZE
    """Minimum font size in pixels; a text that does not fit at this size is left out and reported."""
    max_size: PositiveInt = MAX_SIZE
    """Maximum font size in pixels."""

    def build(self, *, tokenizer: Tokenizer) -> RenderedWriter:
        """Builds the writer for a tokenizer.

        Raises:
            DataError: A font does not exist.
        """
        return RenderedWriter(tokenizer, self.completing())

    def completing(self) -> Completer:
        """Builds the part of the writer that draws, which needs no tokenizer.

        Raises:
            DataError: A font does not exist.
        """
        typeface = _typeface(self.font)
        return Completer(typeface=typeface, min_size=self.min_size, max_size=self.max_size)


def _typeface(names: Sequence[str]) -> Typeface:
    """Our own face, if it is the only one that is named, or fonts."""
    own, _, face = names[0].partition(" ") if len(names) == 1 else ("", "", "")
    return BitmapFace(face or "regular") if own == FACE else Fonts(names)


class RenderedWriter:
    """Makes predictions with regions, which are drawn into the first image of the prompt.

    Args:
        tokenizer: Decodes the ids.
        completer: Reads the regions and draws them.
    """

    def __init__(self, tokenizer: Tokenizer, completer: Completer) -> None:
        self.tokenizer, self.completer = tokenizer, completer

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer, still without regions.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        return decoded(self.tokenizer, ids, total_logprob)

    def pieces(self) -> StreamDecoder:
        """A decoder that returns the answer's text in pieces while its ids are generated."""
        return StreamDecoder(self.tokenizer)

    def complete(self, prediction: Prediction, sample: Sample) -> Prediction:
        """Adds the regions of an answer and its image."""
        return self.completer.complete(prediction, sample)


class Completer:
    """Adds regions and an image to predictions, whoever made their texts.

    Args:
        typeface: Draws the letters.
        min_size: Minimum font size in pixels.
        max_size: Maximum font size in pixels.
    """

    name = "rendered"
    """Name of the writer."""

    def __init__(self, *, typeface: Typeface, min_size: int = MIN_SIZE, max_size: int = MAX_SIZE) -> None:
        self.typeface, self.min_size, self.max_size = typeface, min_size, max_size

    def complete(self, prediction: Prediction, sample: Sample) -> Prediction:
        """Adds the regions of an answer and its image.

        Invalid regions raise no error: they are listed in ``extra["faults"]``, and `Prediction.rendered` returns them
        together with those that cannot be drawn.

        Args:
            prediction: The answer.
            sample: Its prompt.
        """
        parsed = parse_regions(prediction.text)
        images = [medium for medium in sample.media if medium.modality == "image"]
        drawing = None
        if images:
            drawing = functools.partial(
                draw,
                images[0],
                parsed.regions,
                parsed.faults,
                typeface=self.typeface,
                min_size=self.min_size,
                max_size=self.max_size,
            )

        extra = prediction.extra
        if parsed.faults:
            extra = {**extra, FAULTS: list(parsed.faults)}
        return replace(prediction, regions=parsed.regions, drawing=drawing, extra=extra)


def draw(
    image: Medium,
    regions: Sequence[TextRegion],
    faults: Sequence[str] = (),
    *,
    typeface: Typeface,
    min_size: int = MIN_SIZE,
    max_size: int = MAX_SIZE,
) -> Rendered:
    """Draws regions into an image; regions that cannot be drawn are left out.

    Args:
        image: The image, which keeps its mode and size.
        regions: Texts with their places.
        faults: What is already known to be wrong with the answer; it comes first in the result.
        typeface: Draws the letters.
        min_size: Minimum font size in pixels.
        max_size: Maximum font size in pixels.

    Raises:
        MediaError: The image cannot be read, or words cannot be replaced in its mode.
    """
    picture = image_files.picture(image)
    done = render(picture, regions, font=typeface, min_size=min_size, max_size=max_size, skip_faults=True)
    return replace(done, faults=(*faults, *done.faults))
