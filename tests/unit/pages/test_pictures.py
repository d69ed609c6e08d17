"""Pixels that come back as they went in, small enough for a page."""

import base64
import io

import numpy as np
import PIL.Image
import pytest

from sightweave.core.errors import DataError
from sightweave.pages.pictures import data_uri


def decode(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def test_a_flat_picture_is_kept_exactly():
    pixels = np.zeros((24, 30, 3), np.uint8)
    pixels[4:9, 5:11] = (200, 30, 60)
    assert (decode(data_uri(pixels)) == pixels).all()


def test_a_noisy_picture_takes_the_smaller_format():
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    uri = data_uri(noise)
    assert uri.startswith("data:image/jpeg")
    assert len(uri) < noise.size
    assert decode(uri).shape == noise.shape


def test_large_and_grey_pictures_are_made_to_fit():
    assert decode(data_uri(np.zeros((500, 1000), np.uint8))).shape == (112, 224, 3)
    assert decode(data_uri(np.zeros((10, 5), np.uint8), max_side=72)).shape == (10, 5, 3)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 4), (0, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match="give uint8 H W or H W 3"):
        data_uri(np.zeros(shape, np.uint8))


def test_other_numbers_are_refused():
    with pytest.raises(DataError, match="dtype float64"):
        data_uri(np.zeros((4, 4, 3)))
