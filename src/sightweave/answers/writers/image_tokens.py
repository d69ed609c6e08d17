"""Decodes ids to text and pictures: the codes of each picture become pixels by the model's image tokenizer.

If the text has regions, as a translation of the words in an image does, each picture is what one region shows, and is set
into the image of the prompt in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import PIL.Image
import torch

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.image_tokens import ImageTokens, Picture, Text
from sightweave.core.text_regions import TextRegion, parse_regions
from sightweave.core.types import Medium, Prediction, Rendered, Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.image_tokenizers._base import ImageTokenizer
from sightweave.rendering.patches import set_in


@config
class Config:
    """The writer of image tokens has no options."""

    draws_pictures: ClassVar[bool] = True
    """Whether answers may contain image tokens."""

    def build(
        self, *, tokenizer: Tokenizer, image_tokenizer: ImageTokenizer, image_tokens: ImageTokens
    ) -> ImageTokenWriter:
        """Builds the writer for a tokenizer of texts and one of images."""
        return ImageTokenWriter(tokenizer, image_tokenizer, image_tokens)

    def completing(self) -> Completer:
        """Builds the part of the writer that sets pictures into the image of the prompt, which needs no model."""
        return Completer()


class ImageTokenWriter:
    """Makes predictions with pictures from generated ids.

    Args:
        tokenizer: Decodes texts. The end token is counted but not part of the text.
        image_tokenizer: Decodes the codes of pictures.
        image_tokens: Numbering of the image tokens.
    """

    def __init__(
        self, tokenizer: Tokenizer, image_tokenizer: ImageTokenizer, image_tokens: ImageTokens
    ) -> None:
        self.tokenizer, self.image_tokenizer, self.image_tokens = tokenizer, image_tokenizer, image_tokens

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer: all of its texts, joined, and its pictures, in order.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.

        Raises:
            DataError: A picture is malformed.
        """
        ended = bool(ids) and ids[-1] == self.tokenizer.end_id

        parts: list[str | PIL.Image.Image] = []
        for piece in self.image_tokens.pieces(ids[:-1] if ended else ids):
            if isinstance(piece, Text):
                parts.append(self.tokenizer.decode(piece.ids))
            else:
                parts.append(self._image(piece))

        return Prediction(
            text="".join([part for part in parts if isinstance(part, str)]),
            logprob=total_logprob / max(1, len(ids)),
            tokens=len(ids),
            finish="stop" if ended else "length",
            ids=tuple(ids),
            parts=tuple(parts),
        )

    def complete(self, prediction: Prediction, sample: Sample) -> Prediction:
        """Adds the regions of an answer, and its pictures in their places."""
        return Completer().complete(prediction, sample)

    @torch.no_grad()
    def _image(self, picture: Picture) -> PIL.Image.Image:
        """The image of a grid of codes, in RGB."""
        device = next(self.image_tokenizer.parameters()).device
        codes = torch.tensor([picture.codes], device=device)
        pixels = self.image_tokenizer.decode(codes)[0]
        return PIL.Image.fromarray((255 * pixels).round().byte().movedim(0, -1).cpu().numpy())


class Completer:
    """Sets the pictures of predictions into the images of their prompts, whoever made the pictures."""

    def complete(self, prediction: Prediction, sample: Sample) -> Prediction:
        """Adds the regions of an answer to a prompt with an image, and the image with the answer's pictures in their places.

        Args:
            prediction: The answer.
            sample: Its prompt.
        """
        shown = [medium for medium in sample.media if medium.modality == "image"]
        parsed = parse_regions(prediction.text)
        if not shown or not parsed.regions:
            return prediction
        drawing = functools.partial(_filled, shown[0], parsed.regions, parsed.faults, prediction.images)
        return replace(prediction, regions=parsed.regions, drawing=drawing)


def _filled(
    image: Medium, regions: Sequence[TextRegion], faults: Sequence[str], pictures: Sequence[PIL.Image.Image]
) -> Rendered:
    """The image of a prompt with one picture in the place of each region; regions that cannot be filled keep their pixels.

    Raises:
        MediaError: The image cannot be read, or regions cannot be replaced in its mode.
    """
    made, found = image_files.picture(image), list(faults)
    if len(pictures) != len(regions):
        found.append(
            f"the answer has {len(regions)} regions but {len(pictures)} pictures; the model must be trained with "
            "the task's patch_size, and max_tokens must leave room for all pictures."
        )
    for region, picture in zip(regions, pictures, strict=False):
        try:
            made = set_in(made, region, picture)
        except DataError as error:
            found.append(str(error))
    return Rendered(made, tuple(found))
