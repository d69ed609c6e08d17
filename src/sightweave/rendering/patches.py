"""Regions of an image as squares: cut out and straightened, or set back in their place.

A model that writes images writes the words of a sign as such a square, so that letters are always upright and large, however
small or turned the sign is.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from sightweave.core.text_regions import TextRegion
from sightweave.rendering.areas import area_of, corners_of
from sightweave.rendering.canvas import Canvas


def cut_out(picture: Image.Image, region: TextRegion, side: int) -> Image.Image:
    """A region, straightened and stretched to a square.

    Args:
        picture: The upright image, in any mode that converts to RGB.
        region: The region; its text is not used.
        side: Side of the square in pixels.

    Raises:
        DataError: A rotated box reaches outside the image.
    """
    area = area_of(region, picture.size)
    image = picture.convert("RGB")
    if area.corners is None:
        return image.crop(area.box).resize((side, side), Image.Resampling.BICUBIC)

    # Pillow expects the corners counterclockwise from the top left.
    top_left, top_right, bottom_right, bottom_left = corners_of(region, picture.size)
    corners = np.concatenate([top_left, bottom_left, bottom_right, top_right])
    size = max(1, round(area.width)), max(1, round(area.height))
    size = max(size[0], side), max(size[1], side)  # enlarge while turning, and only then make it smaller
    upright = image.transform(size, Image.Transform.QUAD, corners.tolist(), Image.Resampling.BICUBIC)
    return upright.resize((side, side), Image.Resampling.BICUBIC)


def set_in(picture: Image.Image, region: TextRegion, patch: Image.Image) -> Image.Image:
    """An image with a square in the place of a region; only the pixels of the region change.

    Args:
        picture: The upright image, which keeps its mode and size.
        region: The region; its text is not used.
        patch: The straightened region, of any size.

    Raises:
        DataError: A rotated box reaches outside the image.
        MediaError: Regions cannot be replaced in an image of this mode.
    """
    area = area_of(region, picture.size)
    canvas = Canvas(picture)
    canvas.put_rgb(area.box, area.fill(patch.convert("RGB")), area.mask)
    return canvas.picture
