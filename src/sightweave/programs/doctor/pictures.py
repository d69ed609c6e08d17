"""Checks a single image: collects facts and findings in a worker process, to be stored in a state file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files, modalities
from sightweave.programs.doctor.hashing import fingerprint

_SIDE = 32  # size to which an image is reduced for its fingerprint
_KEPT_BYTES = 1 << 18  # maximum size of decoded pixels that are kept while other images are decoded
_SMALL, _LARGE, _LONG = 16, 8192, 8.0


class Finding(NamedTuple):
    """A fault found in an image; a tuple, so that it passes through JSON and between processes unchanged."""

    code: str
    """A short, fixed name, such as ``image_truncated``."""
    severity: str
    """``error`` (the row cannot be trained on) or ``warning``."""
    message: str
    """What is wrong with the image, and why it matters."""


class PictureFacts(NamedTuple):
    """Facts about one image; if it cannot be read, all but the findings are zero or empty."""

    width: int
    """Width in pixels, after any EXIF rotation."""
    height: int
    """Height in pixels, after any EXIF rotation."""
    mode: str
    """Colour mode, as named by Pillow."""
    format: str
    """Format of the file: JPEG, PNG, WEBP, GIF, or ARRAY for pixels in memory."""
    frames: int
    """Number of images in the file; for a GIF, 2 means two or more."""
    bytes: int
    """Size of the file in bytes."""
    digest: str
    """SHA-256 of the file: 64 hexadecimal digits."""
    fingerprint: str
    """Fingerprint for `Duplicates` in hexadecimal digits; ``bytes.fromhex`` decodes them."""
    findings: tuple[Finding, ...]
    """Faults of the image, errors first."""


def inspect(medium: Medium, limits: image_files.Limits = image_files.DEFAULT_LIMITS) -> PictureFacts:
    """Checks one image, whose file is read once. A bad image gives a finding, never an exception."""
    return inspect_all([medium], limits)[0]


def inspect_all(
    pictures: Sequence[Medium], limits: image_files.Limits = image_files.DEFAULT_LIMITS
) -> list[PictureFacts]:
    """Checks images like `inspect`, in order, but faster than one after the other.

    Fingerprints are computed after all images are decoded: alternating between the two would evict each other's data
    from the processor's caches.
    """
    seen = [_examined(medium, limits) for medium in pictures]
    return [_facts(one) if isinstance(one, image_files.Examined) else one for one in seen]


def _examined(medium: Medium, limits: image_files.Limits) -> image_files.Examined | PictureFacts:
    """The decoded image without its fingerprint; or all its facts if it is bad or too large to be kept."""
    if medium.modality != "image":
        return _of_another_modality(medium)
    try:
        seen = image_files.examine(medium, limits, size_hint=(_SIDE, _SIDE))
    except MediaError as error:
        return PictureFacts(0, 0, "", "", 0, 0, "", "", (Finding(error.code, "error", str(error)),))
    return seen if seen.pixels.nbytes <= _KEPT_BYTES else _facts(seen)


def _of_another_modality(medium: Medium) -> PictureFacts:
    """The facts about a medium other than an image: whether it can be read, and its digest."""
    try:
        modalities.check(medium)
        return PictureFacts(0, 0, "", "", 0, 0, modalities.digest(medium), "", ())
    except MediaError as error:
        return PictureFacts(0, 0, "", "", 0, 0, "", "", (Finding(error.code, "error", str(error)),))


def _facts(seen: image_files.Examined) -> PictureFacts:
    info = seen.info
    return PictureFacts(
        info.width,
        info.height,
        info.mode,
        info.format,
        info.frames,
        seen.bytes,
        seen.digest,
        fingerprint(seen.pixels).hex(),
        tuple(Finding(code, "warning", message) for code, message in _warnings(seen)),
    )


def _warnings(seen: image_files.Examined) -> list[tuple[str, str]]:
    info = seen.info
    found: list[tuple[str, str]] = []

    if info.frames > 1:
        found.append(("image_animated", "an animation or several images; only the first is read."))
    if info.mode == "CMYK":
        found.append(("image_cmyk", "CMYK colours; converted to RGB without a colour profile."))
    if seen.has_location:
        found.append(("image_location", "the file contains a location; remove it before sharing the data."))

    short, long = sorted((info.width, info.height))
    if short < _SMALL or long > _LARGE or long > _LONG * short:
        message = (
            f"{info.width} x {info.height} pixels; typical sides are {_SMALL} to {_LARGE}, "
            f"the longer at most {_LONG:g} times the shorter."
        )
        found.append(("image_extreme_size", message))

    if seen.is_sixteen_bit:
        found.append(("image_sixteen_bit", "16 bits per channel; scaled to 8."))
    if seen.extension_lies:
        message = f"the file extension suggests another format than {info.format}, the file's own."
        found.append(("image_extension", message))
    if _is_blank(seen.pixels):
        found.append(("image_blank", "all pixels are the same."))
    return found


def _is_blank(pixels: np.ndarray) -> bool:
    """Whether all pixels are equal; even at a reduced scale, a single different pixel changes the shade of its block."""
    # Comparing with two other pixels decides the question for nearly every image.
    first, centre = pixels[0, 0], pixels[len(pixels) // 2, pixels.shape[1] // 2]
    if (first != pixels[-1, -1]).any() or (first != centre).any():
        return False
    return bool((pixels == pixels[0, 0]).all())
