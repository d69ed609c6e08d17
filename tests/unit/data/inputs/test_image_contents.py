"""Pictures are compared by what they show, not by name, file or format."""

import io

import numpy as np
import PIL.Image
from skimage import data

from sightweave.core.types import Medium
from sightweave.data.inputs.image_contents import contents


def encoded(pixels, kind, **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_copies_under_other_names_and_in_other_formats_are_one_picture(tmp_path):
    photo = data.coffee()[:200, :300]
    (tmp_path / "a.png").write_bytes(encoded(photo, "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(photo, "PNG", compress_level=1))
    (tmp_path / "c.webp").write_bytes(encoded(photo, "WEBP", lossless=True))
    media = [
        Medium(tmp_path / "a.png", "a"),
        Medium(tmp_path / "b.png", "b"),
        Medium(tmp_path / "c.webp", "c"),
        Medium(photo, "array"),
        Medium(lambda: photo, "drawn"),
        Medium(encoded(photo, "PNG"), "bytes"),
    ]
    assert len(set(contents(media).values())) == 1


def test_a_changed_comment_in_a_jpeg_leaves_the_picture_the_same(tmp_path):
    photo = data.astronaut()
    (tmp_path / "a.jpg").write_bytes(encoded(photo, "JPEG", quality=90))
    (tmp_path / "b.jpg").write_bytes(encoded(photo, "JPEG", quality=90, comment=b"another"))
    names = contents([Medium(tmp_path / "a.jpg", "a"), Medium(tmp_path / "b.jpg", "b")])
    assert len(set(names.values())) == 1


def test_a_difference_that_a_reduced_decode_blurs_away_still_counts(tmp_path):
    """A chart and the same chart with one faint dot are two pictures, though they look alike at an eighth of the size."""
    photo = np.full((512, 512, 3), 128, np.uint8)
    dotted = photo.copy()
    dotted[100, 100] = 134
    for name, pixels in (("a", photo), ("b", dotted)):
        (tmp_path / f"{name}.jpg").write_bytes(encoded(pixels, "JPEG", quality=100, subsampling=0))
    media = [Medium(tmp_path / "a.jpg", "a"), Medium(tmp_path / "b.jpg", "b")]
    assert len(set(contents(media).values())) == 2


def test_pictures_that_cannot_be_read_are_told_apart_by_their_keys(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    media = [
        Medium(tmp_path / "missing.png", "one"),
        Medium(tmp_path / "broken.png", "two"),
        Medium(tmp_path / "missing.png", "one"),
    ]
    first, second, third = (contents(media)[medium] for medium in media)
    assert first == third != second
