"""The area of a region in an image: its corners in pixels, the pixels in it, and text drawn upright projected into it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion

_ROUNDING = 1e-6
"""Pixels by which an edge may miss a pixel's border through rounding of its fraction, such as 12 / 47 * 47."""
_REACH = 0.001
"""Share of the image's longer side by which a rotated box may reach outside, because coordinates are thousandths; at least
one pixel."""
_OVERSAMPLING = 2
"""Factor by which a rotated text is drawn larger than it is shown."""


@dataclass(frozen=True)
class Area:
    """The pixels of a region."""

    left: int
    """First column of the bounding box."""
    top: int
    """First row of the bounding box."""
    mask: Bool[np.ndarray, "H W"]
    """The region's pixels in its bounding box."""
    width: float
    """Width of the upright text box in pixels."""
    height: float
    """Height of the upright text box in pixels."""
    corners: Float[np.ndarray, "4 2"] | None
    """x and y of the corners in pixels, from the top left of the text clockwise; None for an upright box."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the bounding box in pixels."""
        height, width = self.mask.shape
        return self.left, self.top, self.left + width, self.top + height

    def project(self, upright: Image.Image) -> UInt8[np.ndarray, "H W"]:
        """Coverage of each pixel of the bounding box, 0 to 255; 0 outside the area.

        Args:
            upright: Text as a mode ``L`` image of `upright_size`.
        """
        if self.corners is None:
            return np.asarray(upright)
        coverage: UInt8[np.ndarray, "H W"] = self._turned(upright, upright.size) * self.mask
        return coverage

    def fill(self, picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
        """Pixels of the bounding box, of which those in the area show an upright image.

        Args:
            picture: An RGB image of any size, which is stretched to the area.
        """
        upright = picture.resize(self.upright_size, Image.Resampling.BICUBIC)
        if self.corners is None:
            return np.asarray(upright)
        # Pixels in the area reach half a pixel over its edges, so continue the image there.
        margin = 2 * _OVERSAMPLING
        continued = np.pad(np.asarray(upright), ((margin, margin), (margin, margin), (0, 0)), "edge")
        return self._turned(Image.fromarray(continued), upright.size, margin)

    def _turned(self, upright: Image.Image, size: tuple[int, int], margin: int = 0) -> np.ndarray:
        """An image of which a rectangle of a size, within a margin, is projected into the area's corners."""
        assert self.corners is not None
        height, width = self.mask.shape
        corners = (self.corners - (self.left, self.top)) * _OVERSAMPLING
        large = upright.transform(
            (width * _OVERSAMPLING, height * _OVERSAMPLING),
            Image.Transform.PERSPECTIVE,
            _projection(corners, size, margin),
            Image.Resampling.BILINEAR,
        )
        return np.asarray(large.reduce(_OVERSAMPLING))

    @property
    def scale(self) -> int:
        """Pixels of the upright text per pixel of the image."""
        return 1 if self.corners is None else _OVERSAMPLING

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the upright text in pixels of its own."""
        return max(1, int(self.width * self.scale)), max(1, int(self.height * self.scale))


def area_of(region: TextRegion, size: tuple[int, int]) -> Area:
    """The area of a region in an image of a width and height in pixels.

    An upright box contains every pixel that it touches, and a rotated one every pixel whose centre is within half a pixel.

    Raises:
        DataError: A rotated box reaches outside the image.
    """
    width, height = size
    left, top, right, bottom = region.box
    if region.corners is None and not region.angle:
        columns = math.floor(left * width + _ROUNDING), math.ceil(right * width - _ROUNDING)
        rows = math.floor(top * height + _ROUNDING), math.ceil(bottom * height - _ROUNDING)
        columns = columns[0], max(columns[1], columns[0] + 1)
        rows = rows[0], max(rows[1], rows[0] + 1)
        mask = np.ones((rows[1] - rows[0], columns[1] - columns[0]), bool)
        return Area(columns[0], rows[0], mask, mask.shape[1], mask.shape[0], None)

    corners = corners_of(region, size)
    reach = max(1.0, _REACH * max(size))
    if (corners < -reach).any() or (corners > np.array(size) + reach).any():
        shown = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in corners)
        raise DataError(
            f"region with the text {region.text[:40]!r}: the box {region.box} rotated by {region.angle:g} degrees reaches "
            f"outside the image of {width} x {height} pixels (corners {shown}); make it smaller."
        )

    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)), size).astype(int)
    high = np.minimum(np.maximum(high, low + 1), size)
    low = np.minimum(low, high - 1)
    mask = _inside(corners, low, high)
    return Area(int(low[0]), int(low[1]), mask, (sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2, corners)


def corners_of(region: TextRegion, size: tuple[int, int]) -> Float[np.ndarray, "4 2"]:
    """X and y of a region's corners in pixels, from the top left of the text clockwise."""
    if region.corners is not None:
        given: Float[np.ndarray, "4 2"] = np.array(region.corners, np.float64) * np.array(size)
        return given
    left, top, right, bottom = region.box
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) * np.array(size)
    center = corners.mean(0)
    cos, sin = math.cos(math.radians(region.angle)), math.sin(math.radians(region.angle))
    turn = np.array([(cos, -sin), (sin, cos)])  # counterclockwise as seen, since y points down
    turned: Float[np.ndarray, "4 2"] = (corners - center) @ turn + center
    return turned


def _inside(corners: Float[np.ndarray, "4 2"], low: np.ndarray, high: np.ndarray) -> Bool[np.ndarray, "H W"]:
    """Whether the centre of each pixel of a bounding box is inside a convex polygon or within half a pixel of it."""
    x = np.arange(low[0], high[0])[None, :] + 0.5
    y = np.arange(low[1], high[1])[:, None] + 0.5
    inside = np.ones((high[1] - low[1], high[0] - low[0]), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        inside &= (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) >= -0.5 * length
    return inside


def _projection(corners: Float[np.ndarray, "4 2"], size: tuple[int, int], margin: int) -> list[float]:
    """Coefficients with which Pillow finds, for each pixel between the corners, its place in an upright image."""
    right, bottom = size[0] + margin, size[1] + margin
    places = [(margin, margin), (right, margin), (right, bottom), (margin, bottom)]
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, places, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(value) for value in np.linalg.solve(np.array(rows, float), np.array(values, float))]
