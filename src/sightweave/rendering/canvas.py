"""The pixels of an image in its own mode, of which rectangles are read and written without changing the others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.core.text_regions import Color

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of images in which words can be replaced."""
_WITH_ALPHA = ("LA", "RGBA")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_MOST_COLORS = 256
_Box = tuple[int, int, int, int]


class Canvas:
    """A copy of an image in which words are replaced.

    Values are floating-point numbers in the scale of the image's mode; those of a palette image are in RGB.

    Args:
        picture: The image, in one of `MODES`.

    Raises:
        MediaError: The mode is not supported.
    """

    def __init__(self, picture: Image.Image) -> None:
        if picture.mode not in MODES:
            raise MediaError(
                "image_mode",
                f"words cannot be replaced in an image of mode {picture.mode!r}; convert it to one of {', '.join(MODES)}.",
            )
        self.picture = picture.copy()
        self.has_alpha = picture.mode in _WITH_ALPHA

    def rgb(self, box: _Box) -> UInt8[np.ndarray, "H W 3"]:
        """The pixels of a rectangle in RGB; transparency is ignored."""
        cut = self.picture.crop(box)
        if self.picture.mode in _SIXTEEN_BITS:
            grey = ((self._sixteen_bits(cut).astype(np.uint32) + 128) // 257).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.asarray(cut.convert("RGB"))

    def values(self, box: _Box) -> Float32[np.ndarray, "H W C"]:
        """The pixels of a rectangle in the image's own channels."""
        mode = self.picture.mode
        if mode in ("P", "1"):
            return self.rgb(box).astype(np.float32)
        cut = self.picture.crop(box)
        array = self._sixteen_bits(cut) if mode in _SIXTEEN_BITS else np.asarray(cut)
        return array.reshape(*array.shape[:2], -1).astype(np.float32)

    def color(self, color: Color) -> Float32[np.ndarray, " C"]:
        """A colour in the image's own channels; it is opaque."""
        mode = self.picture.mode
        if mode in ("P", "1"):
            return np.array(color, np.float32)
        plain = Image.new("RGB", (1, 1), color).convert("L" if mode in _SIXTEEN_BITS else mode)
        one = np.asarray(plain).reshape(-1).astype(np.float32)
        return one * 257 if mode in _SIXTEEN_BITS else one

    def put_rgb(self, box: _Box, pixels: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> None:
        """Writes the masked pixels of a rectangle, given in RGB; they are opaque."""
        mode = self.picture.mode
        if mode in ("P", "1"):
            self.put(box, pixels.astype(np.float32), mask)
            return
        plain = Image.fromarray(pixels).convert("L" if mode in _SIXTEEN_BITS else mode)
        values = np.asarray(plain).reshape(*mask.shape, -1).astype(np.float32)
        self.put(box, values * 257 if mode in _SIXTEEN_BITS else values, mask)

    def put(self, box: _Box, values: Float32[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"]) -> None:
        """Writes the masked pixels of a rectangle; all others keep their exact values."""
        cut = self.picture.crop(box)
        mode = self.picture.mode
        if mode == "1":
            self._put_bits(box, cut, values, mask)
            return
        if mode == "P":
            array = np.array(cut)
            array[mask] = self._indices(values[mask])
        elif mode in _SIXTEEN_BITS:
            array = np.array(self._sixteen_bits(cut))
            array[mask] = np.clip(np.rint(values[mask][:, 0]), 0, 65535)
            array = array.astype(">u2" if mode == "I;16B" else "<u2")
        else:
            array = np.clip(np.rint(values), 0, 255).astype(np.uint8)
            if not mask.all():
                old = np.asarray(cut).reshape(array.shape)
                array = np.where(mask[:, :, None], array, old)
        self.picture.paste(Image.frombytes(mode, cut.size, array.tobytes()), box)

    def _put_bits(
        self, box: _Box, cut: Image.Image, values: Float32[np.ndarray, "H W C"], mask: Bool[np.ndarray, "H W"]
    ) -> None:
        array = np.asarray(cut.convert("L")).copy()
        array[mask] = np.where(values[mask].mean(1) > 127, 255, 0)
        self.picture.paste(Image.fromarray(array).convert("1", dither=Image.Dither.NONE), box)

    def _sixteen_bits(self, cut: Image.Image) -> np.ndarray:
        kind = ">u2" if cut.mode == "I;16B" else "<u2"
        return np.frombuffer(cut.tobytes(), kind).reshape(cut.height, cut.width)

    def _indices(self, colors: Float32[np.ndarray, "n 3"]) -> UInt8[np.ndarray, " n"]:
        """The nearest colours in the palette, to which missing ones are added as long as it has room."""
        assert self.picture.palette is not None
        known = np.array(self.picture.getpalette("RGB"), np.int32).reshape(-1, 3)
        clear = self.picture.info.get("transparency")
        rounded = np.clip(np.rint(colors), 0, 255).astype(np.int32)
        wanted, which, counts = np.unique(rounded, axis=0, return_inverse=True, return_counts=True)

        # The most frequent of the new colours first: ground and ink.
        is_new = ~(wanted[:, None] == known[None]).all(2).any(1)
        order = np.argsort(-counts, kind="stable")
        room = _MOST_COLORS - len(known)
        added = wanted[order[is_new[order]][:room]]
        if len(added):
            known = np.concatenate([known, added])
            self.picture.putpalette(known.astype(np.uint8).tobytes(), "RGB")

        distances = ((wanted[:, None] - known[None]) ** 2).sum(2)
        if isinstance(clear, int) and clear < len(known):
            distances[:, clear] = np.iinfo(np.int32).max
        nearest: UInt8[np.ndarray, " m"] = distances.argmin(1).astype(np.uint8)
        return nearest[which.reshape(-1)]
