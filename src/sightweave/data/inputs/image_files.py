"""Reads image files, with limits and checks. All image files for training, evaluation and serving are opened here.

The result is always uint8 H W 3 in RGB: EXIF rotation is applied, transparent pixels are put on white, 16 bits are scaled to
8, CMYK and palettes are converted, and only the first frame of an animation is read. ICC profiles and other tags are
ignored. Four formats are supported (JPEG, PNG, WEBP, GIF); parsers of other formats are never called.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium, MediumInfo
from sightweave.data.inputs import turbo

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""Supported formats, recognised by the content of a file and not by its name."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
_OTHERS = (
    (rb"BM", "BMP"),
    (rb"II[*+]\x00|MM\x00[*+]", "TIFF"),
    (rb"\x00\x00[\x01\x02]\x00", "ICO"),
    (rb"8BPS", "PSD"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
    (rb"%PDF", "PDF"),
    (rb"SIMPLE  =", "FITS"),
    (rb"....ftyp(heic|heix|mif1|msf1|hevc)", "HEIC"),
    (rb"....ftypavi", "AVIF"),
    (rb"\x00\x00\x00\x0cjP|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\x00\x00\x00\x0cJXL|\xff\x0a", "JPEG XL"),
    (rb"\x1f\x8b", "gzip"),
    (rb"PK\x03\x04", "ZIP"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(\?xml|svg)", "SVG or XML"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<", "HTML"),
    (rb"(\xef\xbb\xbf)?\s*[{\[]", "JSON"),
)
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_OPAQUE = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_SEE_THROUGH = ("LA", "PA", "RGBA", "La", "RGBa")
_MAX_SCANS = 100
_ORIENTATION, _GPS = 0x0112, 0x8825
_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".png", ".apng"), "PNG"),
    ".webp": "WEBP",
    ".gif": "GIF",
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
    ".avif": "AVIF",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".svg": "SVG",
    ".ico": "ICO",
}
# Suppressing Pillow's warnings changes Python's process-wide filters, so only one thread at a time may do it.
_HEADER_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for images; an image beyond them is rejected before it is decoded."""

    max_pixels: int = 40_000_000
    """Maximum number of pixels (width times height)."""
    max_bytes: int = 64 << 20
    """Maximum size of the file in bytes."""
    max_aspect: float = 200.0
    """Maximum ratio of the longer to the shorter side."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """The result of `examine`: an image's properties and pixels."""

    info: MediumInfo
    """Size and format from the header."""
    digest: str
    """SHA-256 of the file, or of the pixels if there is no file, as returned by `digest`."""
    bytes: int
    """Size in bytes of the file, or of the pixels if there is no file."""
    pixels: np.ndarray
    """Pixels, uint8 H W 3, RGB; a JPEG may have been decoded at a reduced scale."""
    has_location: bool
    """Whether EXIF or XMP contains the location where the photo was taken."""
    has_orientation: bool
    """Whether EXIF specifies a rotation or a reflection."""
    extension_lies: bool
    """Whether the file's suffix does not match the format of its content."""
    is_sixteen_bit: bool
    """Whether the file has 16 bits per channel, which are scaled to 8."""


def probe(medium: Medium, limits: Limits = DEFAULT_LIMITS) -> MediumInfo:
    """Reads an image's size and format from its header, without decoding the pixels.

    If the source is a function, it is called, so that a generated image is drawn. ``frames`` is 2 for every animated GIF,
    because counting the frames would require reading the whole file.

    Raises:
        MediaError: As for `load`, except for faults that only decoding reveals.
    """
    source, where = _given(medium), _where(medium)
    if isinstance(source, Path):
        with _regular_file(source, where, limits) as file:
            return _info(*_open(file, where, limits))
    if isinstance(source, bytes | bytearray | memoryview):
        return _info(*_open(io.BytesIO(_bounded(bytes(source), where, limits)), where, limits))
    if isinstance(source, Image.Image):
        width, height = _turned(source.size, _header_orientation(source, where))
        _check_size(width, height, where, limits)
        return MediumInfo(width=width, height=height, mode=source.mode, format="ARRAY")
    height, width, _ = load(Medium(source, medium.key), limits).shape
    return MediumInfo(width=width, height=height, mode="RGB", format="ARRAY")


def load(
    medium: Medium, limits: Limits = DEFAULT_LIMITS, size_hint: tuple[int, int] | None = None
) -> np.ndarray:
    """Loads the pixels of an image.

    Args:
        medium: A path, the bytes of a file, an array, a Pillow image, or a function that returns bytes or an array.
        limits: Limits that are checked before decoding.
        size_hint: Width and height in pixels to which the caller will shrink the image. A JPEG file is then decoded at
            a reduced scale that is at least as large; its pixels differ slightly from those of a full decode.

    Returns:
        uint8 H W 3, RGB, contiguous in memory.

    Raises:
        MediaError: The image cannot be read; the error has the code ``image_missing``, ``image_not_a_file``,
            ``image_unreadable``, ``image_empty``, ``image_unsupported_format``, ``image_corrupt``, ``image_truncated``,
            ``image_too_large``, ``image_aspect_ratio``, ``image_mode``, ``image_array`` or ``image_source``.
    """
    source, where = _given(medium), _where(medium)
    if isinstance(source, Path):
        with _regular_file(source, where, limits) as file:
            source = _read(file, limits)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(_bounded(bytes(source), where, limits), where, limits, size_hint)
    if isinstance(source, Image.Image):
        orientation = _header_orientation(source, where)
        _check_size(*source.size, where, limits)
        return _upright(_pixels(source, where), orientation)
    if isinstance(source, np.ndarray):
        return _from_array(source, where, limits)
    raise MediaError(
        "image_source",
        f"{where}: an image must be a pathlib.Path, bytes, a numpy array, a Pillow image or a function that returns bytes "
        f"or an array (got {type(source).__module__}.{type(source).__qualname__}).",
    )


def picture(medium: Medium, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Decodes an image in its own mode, such as P or I;16, with its EXIF rotation applied; of an animation, the first frame.

    Args:
        medium: As for `load`; an array becomes an RGB image.
        limits: Limits that are checked before decoding.

    Raises:
        MediaError: As for `load`, but of any mode.
    """
    source, where = _given(medium), _where(medium)
    if isinstance(source, Path):
        with _regular_file(source, where, limits) as file:
            source = _read(file, limits)
    if isinstance(source, Image.Image):
        _check_size(*source.size, where, limits)
        return ImageOps.exif_transpose(source)
    if not isinstance(source, bytes | bytearray | memoryview):
        return Image.fromarray(load(Medium(source, medium.key), limits))

    data = _bounded(bytes(source), where, limits)
    image, _ = _open(io.BytesIO(data), where, limits)
    _check_end(data, str(image.format), where)
    try:
        return ImageOps.exif_transpose(image).copy()
    except MemoryError:
        raise
    except Exception as error:  # malicious bytes can make decoders raise almost anything
        raise _undecodable(error, where) from None


def digest(medium: Medium, limits: Limits = DEFAULT_LIMITS) -> str:
    """SHA-256 of an image file, or of the pixels if there is no file, as 64 hexadecimal digits.

    Raises:
        MediaError: As for `load`; a file is not decoded, so that damage inside it is not detected.
    """
    source, where = _given(medium), _where(medium)
    if isinstance(source, Path):
        with _regular_file(source, where, limits) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if isinstance(source, bytes):
        return hashlib.sha256(_bounded(source, where, limits)).hexdigest()
    return _pixel_digest(load(Medium(source, medium.key), limits))


def examine(
    medium: Medium, limits: Limits = DEFAULT_LIMITS, size_hint: tuple[int, int] | None = None
) -> Examined:
    """Collects all properties of an image that a dataset check needs, while reading and decoding its file only once.

    Args:
        medium: As for `load`.
        limits: Limits that are checked before decoding.
        size_hint: Width and height in pixels, as for `load`; damage is detected at any scale.

    Raises:
        MediaError: As for `load`, with the same codes.
    """
    source, where = _given(medium), _where(medium)
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    if isinstance(source, Path):
        with _regular_file(source, where, limits) as file:
            source = _read(file, limits)
    if not isinstance(source, bytes | bytearray | memoryview):
        return _examine_memory(source, medium.key, where, limits)

    data = _bounded(bytes(source), where, limits)
    image, orientation = _open(io.BytesIO(data), where, limits)
    # Read the header before decoding, because a JPEG draft changes the reported size of the image. GIF is an exception:
    # counting its frames would skip the first frame, which is the one to decode.
    info = None if image.format == "GIF" else _info(image, orientation)
    pixels = _decoded(image, orientation, data, where, size_hint)

    name = _format_name(image)
    is_deep = info is not None and (
        info.mode in _SIXTEEN_BITS
        or (info.format == "PNG" and data[24] == 16)  # the bit depth in the PNG header
    )
    return Examined(
        info=info or _gif_info(data, pixels, where, limits),
        digest=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        pixels=pixels,
        has_location=_has_location(image),
        has_orientation=orientation != 1,
        extension_lies=_SUFFIXES.get(suffix, name) != name,
        is_sixteen_bit=is_deep,
    )


def _examine_memory(source: Any, key: str, where: str, limits: Limits) -> Examined:
    """Examines an image in memory: an array or a Pillow image."""
    pixels = load(Medium(source, key), limits)
    is_image = isinstance(source, Image.Image)
    height, width, _ = pixels.shape
    is_deep = source.mode in _SIXTEEN_BITS if is_image else getattr(source, "dtype", None) == np.uint16

    return Examined(
        info=MediumInfo(width=width, height=height, mode=source.mode if is_image else "RGB", format="ARRAY"),
        digest=_pixel_digest(pixels),
        bytes=pixels.nbytes,
        pixels=pixels,
        has_location=is_image and _has_location(source),
        has_orientation=is_image and _header_orientation(source, where) != 1,
        extension_lies=False,
        is_sixteen_bit=is_deep,
    )


def _pixel_digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()


def _given(medium: Medium) -> Any:
    """The source of an image; a source function is called, and its result returned, such as drawn pixels."""
    return medium.source() if callable(medium.source) else medium.source


def _where(medium: Medium) -> str:
    """The name of an image for messages: its path or its key."""
    source = medium.source
    return f"image {str(source)!r}" if isinstance(source, Path) else f"image {medium.key!r}"


@contextmanager
def _regular_file(path: Path, where: str, limits: Limits) -> Iterator[io.BufferedReader]:
    try:
        # Without O_NONBLOCK, opening a named pipe would block until something writes to it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise MediaError("image_missing", f"{where}: file not found.") from None
    except IsADirectoryError:
        raise MediaError(
            "image_not_a_file", f"{where}: is a folder; give the path of one image in it."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a possible file name"
        raise MediaError("image_unreadable", f"{where}: cannot be opened ({reason}).") from None

    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise MediaError("image_not_a_file", f"{where}: is {what}; only regular files are read.")

    with os.fdopen(handle, "rb") as file:
        _check_bytes(status.st_size, where, limits)
        try:
            yield file
        except OSError as error:
            raise MediaError("image_unreadable", f"{where}: cannot be read ({error.strerror}).") from None


def _read(file: BinaryIO, limits: Limits) -> bytes:
    """Reads a whole file, but at most one byte more than the limit, even if the file is growing."""
    # Read the file's current size first, because allocating a buffer as large as the limit is slow.
    size = os.fstat(file.fileno()).st_size
    data = file.read(size + 1)
    return data if len(data) <= size else data + file.read(limits.max_bytes + 1 - len(data))


def _bounded(data: bytes, where: str, limits: Limits) -> bytes:
    _check_bytes(len(data), where, limits)
    return data


def _check_bytes(size: int, where: str, limits: Limits) -> None:
    if size == 0:
        raise MediaError("image_empty", f"{where}: the file is empty.")
    if size > limits.max_bytes:
        raise MediaError("image_too_large", f"{where}: {size} bytes; the maximum is {limits.max_bytes}.")


def _check_size(width: int, height: int, where: str, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise MediaError(
            "image_too_large",
            f"{where}: {width} x {height} = {width * height} pixels; the maximum is {limits.max_pixels}. "
            "Shrink it first.",
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise MediaError(
            "image_aspect_ratio",
            f"{where}: {width} x {height} pixels; the longer side may be at most {limits.max_aspect:g} times the shorter.",
        )


def _open(file: BinaryIO, where: str, limits: Limits) -> tuple[Image.Image, int]:
    """Opens an image lazily and checks its limits; returns it with its EXIF orientation."""
    with _HEADER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            file.seek(0)
            raise _unidentified(file.read(512), where) from None
        except Image.DecompressionBombError as error:
            pixels = re.search(r"\d+", str(error))
            raise MediaError(
                "image_too_large",
                f"{where}: {pixels.group() if pixels else 'too many'} pixels; the maximum is {limits.max_pixels}.",
            ) from None
        except MemoryError:
            raise
        except Exception as error:  # a malicious header can make parsers raise almost anything
            raise _undecodable(error, where) from None
        orientation = _orientation(image)
    _check_size(*image.size, where, limits)
    return image, orientation


def _unidentified(head: bytes, where: str) -> MediaError:
    is_ours = any(head.startswith(magic) or magic.startswith(head) for magic in _MAGIC)
    if is_ours or len(head) < 12 or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return MediaError("image_corrupt", f"{where}: the header is damaged or incomplete.")
    name = next((name for pattern, name in _OTHERS if re.match(pattern, head, re.DOTALL)), "")

    looks = f"looks like {name}, which is not supported" if name else "not an image in a known format"
    return MediaError(
        "image_unsupported_format", f"{where}: {looks}. Convert it to one of {', '.join(FORMATS)}."
    )


def _undecodable(error: Exception, where: str) -> MediaError:
    """Converts a decoder's error to a `MediaError`, whose message does not contain object addresses."""
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return MediaError("image_truncated", f"{where}: the file is truncated; copy it again.")
    return MediaError("image_corrupt", f"{where}: the image data is damaged.")


def _header_orientation(image: Image.Image, where: str) -> int:
    """The EXIF orientation (1 to 8) of a Pillow image that the caller passed in."""
    with _HEADER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _orientation(image)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation (1 to 8) of an image; 1 if there is none or EXIF is damaged."""
    names = [str(key).lower() for key in image.info]
    if not any("exif" in name or "xmp" in name for name in names):
        return 1  # getexif would decode a whole PNG to look for EXIF after its pixels

    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged tag must not make the image unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _info(image: Image.Image, orientation: int) -> MediumInfo:
    width, height = _turned(image.size, orientation)
    if image.format == "GIF":
        frames = 2 if getattr(image, "is_animated", False) else 1
    else:
        frames = int(getattr(image, "n_frames", 1))
    return MediumInfo(width=width, height=height, mode=image.mode, format=_format_name(image), frames=frames)


def _format_name(image: Image.Image) -> str:
    """The format of an image; a JPEG with several images, which Pillow calls MPO, counts as JPEG."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _gif_info(data: bytes, pixels: np.ndarray, where: str, limits: Limits) -> MediumInfo:
    """Size and format of a GIF whose first frame is intact; if a later frame is damaged, its frame count is 2."""
    try:
        return _info(*_open(io.BytesIO(data), where, limits))
    except MemoryError:
        raise
    except Exception:  # the second frame of a malicious file can make the decoder raise almost anything
        return MediumInfo(width=pixels.shape[1], height=pixels.shape[0], mode="P", format="GIF", frames=2)


def _has_location(image: Image.Image) -> bool:
    """Whether an image has a location: a non-empty GPS directory in EXIF, or a latitude in XMP."""
    xmp = image.info.get("xmp", b"")
    if "GPSLatitude" in (xmp if isinstance(xmp, str) else bytes(xmp).decode("latin-1")):
        return True
    if not image.info.get("exif"):
        return False

    with _HEADER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(image.getexif().get_ifd(_GPS))
        except Exception:  # a damaged tag must not make the image unreadable
            return False


def _decode(data: bytes, where: str, limits: Limits, size_hint: tuple[int, int] | None) -> np.ndarray:
    image, orientation = _open(io.BytesIO(data), where, limits)
    return _decoded(image, orientation, data, where, size_hint)


def _decoded(
    image: Image.Image, orientation: int, data: bytes, where: str, size_hint: tuple[int, int] | None
) -> np.ndarray:
    _check_end(data, str(image.format), where)
    if size_hint is not None and image.format == "JPEG":
        full = image.size
        image.draft(None, _turned(size_hint, orientation))  # None keeps the mode
        pixels = turbo.decode(data, full, image.size) if image.mode == "RGB" else None
        if pixels is not None:
            return _upright(pixels, orientation)
    return _upright(_pixels(image, where), orientation)


def _check_end(data: bytes, name: str, where: str) -> None:
    """Raises `MediaError` for faults that decoders accept: a missing end of the file, or too many JPEG scans."""
    cut = name == "PNG" and data.rfind(b"IEND") < 0
    if name == "WEBP":
        cut = int.from_bytes(data[4:8], "little") + 8 > len(data)
    if cut:
        raise _undecodable(EOFError(), where)

    scans = _scans(data) if name in ("JPEG", "MPO") else 0
    if scans > _MAX_SCANS:
        raise MediaError("image_corrupt", f"{where}: {scans} scans in a JPEG; the maximum is {_MAX_SCANS}.")


def _scans(data: bytes) -> int:
    """Number of scans in a JPEG.

    They are counted with numpy: `bytes.count` takes seven times as long, which is a tenth of the time for decoding.
    """
    values = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA)))


def _pixels(image: Image.Image, where: str) -> np.ndarray:
    """Decodes an image to uint8 H W 3, without applying its EXIF orientation."""
    mode = image.mode
    if mode not in (*_OPAQUE, *_SEE_THROUGH, *_SIXTEEN_BITS):
        raise MediaError(
            "image_mode",
            f"{where}: mode {mode!r} has no fixed value range; convert it to 'L' or 'RGB' first.",
        )

    try:
        image.load()
        clear = image.info.get("transparency")
        if mode in _SIXTEEN_BITS:
            return _from_sixteen_bits(image, clear)
        if mode in ("La", "RGBa"):
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
        if mode in _SEE_THROUGH or (clear is not None and mode in ("1", "L", "P", "RGB")):
            return _on_white(image.convert("RGBA"))
        if mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
            # Pillow assumes that every CMYK JPEG is inverted, which is only the case for those of Adobe programs.
            image = ImageChops.invert(image)
        return np.array(image if mode == "RGB" else image.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # malicious bytes can make decoders raise almost anything
        if "closed" in str(error):
            raise MediaError(
                "image_unreadable", f"{where}: the Pillow image was closed; open it again."
            ) from None
        raise _undecodable(error, where) from None


def _from_sixteen_bits(image: Image.Image, clear: object) -> np.ndarray:
    values = np.asarray(image)
    grey = _scaled_down(values)
    if isinstance(clear, int):
        grey[values == clear] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _scaled_down(values: np.ndarray) -> np.ndarray:
    """Scales uint16 to uint8 with rounding: 257 * k becomes exactly k, so that 65535 becomes 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(image: Image.Image) -> np.ndarray:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return np.array(white)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotates or mirrors pixels by an EXIF orientation (TIFF 6.0, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _from_array(array: np.ndarray, where: str, limits: Limits) -> np.ndarray:
    """Converts an array to uint8 H W 3; raises `MediaError` if its meaning is ambiguous."""

    def wrong(problem: str) -> MediaError:
        numeric = array.dtype.kind in "biuf" and array.size > 0
        span = f"{array.min()} to {array.max()}" if numeric else "none"
        got = f"dtype {array.dtype}, shape {array.shape}, range {span}"
        return MediaError("image_array", f"{where}: {problem} (got {got}).")

    # Check the shape.
    shape = array.shape
    if array.size == 0 or array.ndim not in (2, 3):
        raise wrong("an image array must have the shape H W or H W C and at least one pixel")
    if array.ndim == 3:
        if shape[2] not in (1, 2, 3, 4):
            hint = "; move the channels last with .transpose(1, 2, 0)" if shape[0] in (1, 3, 4) else ""
            raise wrong(f"the last axis must hold 1 to 4 channels{hint}")
        if shape[0] == shape[2] > 1 and shape[0] != shape[1]:
            raise wrong("C H W and H W C cannot be distinguished; pass a Pillow image")
    _check_size(shape[1], shape[0], where, limits)

    # Convert the values to uint8.
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise wrong("an image array must not contain NaN or infinity")
        if array.min() < 0 or array.max() > 1:
            raise wrong("floats must be in 0 to 1; scale them, or pass uint8")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        if 0 < array.max() <= 255:
            raise wrong(
                "uint16 with no value over 255 is ambiguous (8 or 16 bits); pass uint8, or scale by 257"
            )
        array = _scaled_down(array)
    elif array.dtype != np.uint8:
        raise wrong("values must be uint8, floats in 0 to 1, or full-range uint16")

    # Convert the channels to RGB.
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.shape[2] == 3:
        return np.ascontiguousarray(array)
    mode = "LA" if array.shape[2] == 2 else "RGBA"
    return _on_white(Image.fromarray(np.ascontiguousarray(array), mode).convert("RGBA"))


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Writes pixels, uint8 H W 3, to a PNG file."""
    Image.fromarray(pixels).save(path, format="PNG")
