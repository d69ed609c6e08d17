"""The parts of an answer as JSON: texts as they are, and images as PNG files in base64."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Any

import PIL.Image

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files

Parts = tuple[str | PIL.Image.Image, ...]


def plain(parts: Sequence[str | PIL.Image.Image]) -> list[Any]:
    """The parts as a list of texts and of mappings with ``png``."""
    return [part if isinstance(part, str) else {"png": _png(part)} for part in parts]


def _png(image: PIL.Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def read(values: Sequence[Any]) -> Parts:
    """The parts that `plain` converted.

    Raises:
        ValueError, TypeError, KeyError: the values are not the result of `plain`.
    """
    if not isinstance(values, list | tuple):
        raise TypeError(f"parts: expected a list (got {type(values).__name__}).")
    return tuple([value if isinstance(value, str) else _image(value["png"]) for value in values])


def _image(text: str) -> PIL.Image.Image:
    try:
        return image_files.picture(Medium(base64.b64decode(text, validate=True), "part"))
    except (binascii.Error, MediaError) as error:
        raise ValueError(f"parts: not an image: {error}.") from None
