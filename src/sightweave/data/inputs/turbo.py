"""Decodes JPEG files with simplejpeg if it is installed, which is faster than Pillow and gives the same pixels.

Both call libjpeg-turbo, so results do not depend on whether simplejpeg is installed. This is verified: before the first
image of a process, both decode some small images, and if any pixel differs (because Pillow was built with another library),
simplejpeg is not used. Files that simplejpeg rejects or warns about are left to Pillow.
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
"""Chroma subsamplings that are verified and used: Pillow's number by simplejpeg's name."""
_SCALES = (1, 2, 4, 8)
_END = b"\xff\xd9"
_MIN_SIDE = 16
"""Minimum side in pixels. For smaller images, several scales give the same size, so the wrong one might be chosen."""


def decode(data: bytes, full: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray | None:
    """Decodes a JPEG file at one of the sizes that Pillow's ``draft`` offers.

    Args:
        data: Bytes of the file, which must have been checked against all limits.
        full: Width and height in pixels, as Pillow read them from the header.
        wanted: Width and height to decode to: `full`, or `full` divided by 2, 4 or 8 and rounded up.

    Returns:
        uint8 H W 3, RGB; None if Pillow must decode the file. This is the case if simplejpeg is missing or differs from
        Pillow on this machine, or if the file is damaged, tiny, not YCbCr, has a rare subsampling or an inconsistent size.
    """
    simplejpeg = _proven()
    return None if simplejpeg is None else _decoded(simplejpeg, data, full, wanted)


def _decoded(
    simplejpeg: Any, data: bytes, full: tuple[int, int], wanted: tuple[int, int]
) -> np.ndarray | None:
    # Both decoders reject a file without an end marker; searching for the marker is cheaper than letting both fail.
    if min(full) < _MIN_SIDE or data.rfind(_END) < 0:
        return None

    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        if (width, height) != full or colours != "YCbCr" or sampling not in _SAMPLINGS:
            return None
        # In strict mode, the default, warnings of libjpeg, such as about a premature end, become errors.
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, min_height=wanted[1], min_width=wanted[0])
    except MemoryError:
        raise
    except Exception:  # the bytes are damaged or malicious; Pillow will report the error
        return None
    return pixels if pixels.shape == (wanted[1], wanted[0], 3) else None


@functools.cache
def _proven() -> Any:
    """The simplejpeg module, or None if it is missing or differs from Pillow at some scale or subsampling."""
    try:
        import simplejpeg
    except ImportError:
        return None

    if all(_agrees(simplejpeg, data) for data in _samples()):
        return simplejpeg
    logger.warning(
        "simplejpeg %s decodes JPEG files differently from Pillow %s on this machine, so it is not used; reading "
        "images is slower.",
        getattr(simplejpeg, "__version__", "?"),
        PIL.__version__,
    )
    return None


def version() -> str | None:
    """The version of simplejpeg if it is used in this process; None if Pillow decodes JPEG files."""
    simplejpeg = _proven()
    return None if simplejpeg is None else str(simplejpeg.__version__)


def _samples() -> list[bytes]:
    """Small JPEG files for the comparison, with edges, ramps and noise in all channels.

    Their sides are not multiples of the JPEG block size.
    """
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
    """Whether simplejpeg and Pillow decode a file to the same pixels at every scale."""
    for scale in _SCALES:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        full = image.size
        image.draft(None, (full[0] // scale, full[1] // scale))
        pixels = _decoded(simplejpeg, data, full, image.size)
        if pixels is None or not np.array_equal(pixels, np.asarray(image)):
            return False
    return True
