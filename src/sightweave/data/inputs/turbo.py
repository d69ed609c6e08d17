"""JPEG files decoded by simplejpeg where it is installed: the bits of Pillow, without Pillow's copies of them.

Both call libjpeg-turbo, so a picture is the same on a machine with simplejpeg and on one without. That is not taken on
trust: the first picture of a process is preceded by small ones that both decode, and where a bit differs (a Pillow built
on another library) simplejpeg is not used. Whatever it refuses or warns about is left to Pillow, whose word counts.
"""

from __future__ import annotations

import functools
import io
import logging
from typing import Any

import numpy as np
import PIL
from PIL import Image

logger = logging.getLogger(__name__)

_SAMPLINGS = {"444": 0, "422": 1, "420": 2}
"""Those of the chroma that are tried before use, by simplejpeg's name, with Pillow's number."""
_SCALES = (1, 2, 4, 8)
_END = b"\xff\xd9"
_LEAST_SIDE = 16
"""Pixels; of smaller pictures several scales have the same size, and another one might be taken."""


def decode(data: bytes, full: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a JPEG file at one of the sizes that Pillow's ``draft`` gives.

    Args:
        data: The file, checked against every limit before.
        full: Width and height in pixels that Pillow read from its header.
        wanted: Width and height to decode to: `full`, or that divided by 2, 4 or 8 and rounded up.

    Returns:
        uint8 H W 3, RGB; None where Pillow must decode it: simplejpeg is missing or gives other bits than Pillow here,
        the file is damaged, tiny, not YCbCr, or of a rare sampling, or the two disagree about its size.
    """
    simplejpeg = _proven()
    return None if simplejpeg is None else _decoded(simplejpeg, data, full, wanted)


def _decoded(
    simplejpeg: Any, data: bytes, full: tuple[int, int], wanted: tuple[int, int]
) -> np.ndarray | None:
    # A file without its end is refused by both, and looking for it costs less than decoding twice as far as it goes.
    if min(full) < _LEAST_SIDE or data.rfind(_END) < 0:
        return None
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        if (width, height) != full or colours != "YCbCr" or sampling not in _SAMPLINGS:
            return None
        # Strict, which is the default: a warning of libjpeg, such as an early end, is an error.
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, min_height=wanted[1], min_width=wanted[0])
    except MemoryError:
        raise
    except Exception:  # hostile bytes; Pillow says what is wrong with them
        return None
    return pixels if pixels.shape == (wanted[1], wanted[0], 3) else None


@functools.cache
def _proven() -> Any:
    """simplejpeg, if it is there and agrees with Pillow on all scales and samplings; else None."""
    try:
        import simplejpeg
    except ImportError:
        return None
    if all(_agrees(simplejpeg, data) for data in _samples()):
        return simplejpeg
    logger.warning(
        "simplejpeg %s decodes JPEG files differently from Pillow %s on this machine, so it is not used; reading "
        "images is slower.",
        *(getattr(simplejpeg, "__version__", "?"), PIL.__version__),
    )
    return None


def version() -> str | None:
    """Of simplejpeg, if it decodes JPEG files in this process; None if Pillow does."""
    simplejpeg = _proven()
    return None if simplejpeg is None else str(simplejpeg.__version__)


def _samples() -> list[bytes]:
    """Small JPEG files with edges, ramps and noise in every channel; the sides are no multiples of a block."""
    rows, columns = np.mgrid[:83, :117]
    ramps = np.stack([2 * columns, 3 * rows, 255 - columns - rows], axis=2)
    noise = np.random.default_rng(0).integers(-60, 60, ramps.shape)
    edges = 90 * ((columns // 13 + rows // 9) % 2)[:, :, None]
    image = Image.fromarray((ramps + noise + edges).clip(0, 255).astype(np.uint8))
    files = []
    for number in _SAMPLINGS.values():
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=88, subsampling=number)
        files.append(stream.getvalue())
    return files


def _agrees(simplejpeg: Any, data: bytes) -> bool:
    for scale in _SCALES:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        full = image.size
        image.draft(None, (full[0] // scale, full[1] // scale))
        pixels = _decoded(simplejpeg, data, full, image.size)
        if pixels is None or not np.array_equal(pixels, np.asarray(image)):
            return False
    return True
