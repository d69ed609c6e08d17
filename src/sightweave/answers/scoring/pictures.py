"""Shared by metrics of drawn images: input checks, and the signs that are read back from an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightweave.answers.scoring.readers import Place, Reader
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion, read_regions
from sightweave.core.types import Sample
from sightweave.data.inputs.image_files import load

Pixels = NDArray[np.uint8]


def check(name: str, pictures: Sequence[Any], samples: Sequence[Sample]) -> list[Pixels | None]:
    """The drawn images as arrays; None where no image was drawn.

    Args:
        name: Name of the metric for messages.
        pictures: One array uint8 ``H x W x 3``, Pillow image or None for each sample.
        samples: The samples.

    Raises:
        DataError: There is not exactly one image per sample, there are none at all, or one of them is something else, such
            as a text.
    """
    if len(pictures) != len(samples):
        raise DataError(
            f"{name}: {len(pictures)} image(s) for {len(samples)} sample(s); give one for each, in order."
        )

    if samples and all(picture is None for picture in pictures):
        raise DataError(
            f"{name}: none of {len(samples)} answer(s) has an image; answer with a writer that draws, such as rendered."
        )

    found: list[Pixels | None] = []
    for picture, sample in zip(pictures, samples, strict=True):
        if picture is None:
            found.append(None)
            continue
        if isinstance(picture, str):
            raise DataError(
                f"{name}: scores drawn images, but the answer to {sample.id!r} is the text {picture[:40]!r}; "
                "draw the answers with a writer and pass the images."
            )
        pixels = np.asarray(picture.convert("RGB") if hasattr(picture, "convert") else picture)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise DataError(
                f"{name}: the image for {sample.id!r} is {pixels.dtype} {pixels.shape}; give uint8 (H, W, 3)."
            )
        found.append(pixels)
    return found


def signs_of(name: str, sample: Sample) -> tuple[TextRegion, ...]:
    """The text regions of a sample's first reference.

    Raises:
        DataError: The sample has no reference, or it is not the plain-text form of regions.
    """
    reference = sample.references[0] if sample.references else ""
    return read_regions(reference, f"{name}: reference of {sample.id!r}")


def read_back(
    name: str, pictures: Sequence[Pixels | None], samples: Sequence[Sample], reader: Reader
) -> list[tuple[list[str], list[str]]]:
    """For each image, the texts that are read at the places of the reference's signs, and the texts of the reference.

    All texts are in one line; those of a missing image are empty.

    Args:
        name: Name of the metric for messages.
        pictures: One image or None for each sample.
        samples: The samples.
        reader: Reads the texts.

    Raises:
        DataError: A sample has no reference, or it is not the plain-text form of regions.
        BackendError: The reader is not installed.
    """
    signs = [signs_of(name, sample) for sample in samples]
    places = []
    for pixels, sample, here in zip(pictures, samples, signs, strict=True):
        if pixels is not None:
            places += [Place(pixels, sign, language_of(sample)) for sign in here]
    read = iter(reader.read(name, places))

    found = []
    for pixels, here in zip(pictures, signs, strict=True):
        texts = ["" if pixels is None else next(read) for _ in here]
        found.append((texts, [sign.text.replace("\n", " ") for sign in here]))
    return found


def language_of(sample: Sample) -> str:
    """The code of the language in which the words of a drawn image are; empty if the sample does not name it."""
    return sample.tags.get("languages", "").rpartition("-")[2]


def source_pixels(name: str, sample: Sample) -> Pixels:
    """The pixels of a sample's first image.

    Raises:
        DataError: The sample has no image.
    """
    if not sample.media:
        raise DataError(f"{name}: sample {sample.id!r} has no image to compare with.")
    return np.asarray(load(sample.media[0]))
