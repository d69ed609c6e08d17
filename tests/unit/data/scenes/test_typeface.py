"""Our face as a typeface of the writer that renders: what it sets is read back, and nothing else changes."""

import numpy as np
import pytest
from PIL import Image

from sightweave.answers.scoring.sign_reader import read_sign
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion, read_regions
from sightweave.data.scenes.sign_items import draw_lettered, sign_texts, targets
from sightweave.data.scenes.signs import make_sign_scene
from sightweave.data.scenes.typeface import BitmapFace
from sightweave.rendering.render import render


def test_signs_of_scenes_are_translated_and_read_back() -> None:
    for index in range(8):
        made = make_sign_scene(3, "scenes", index, 2)
        source = draw_lettered(made)
        regions = read_regions("\n".join(sign_texts(made, targets(made)[0])), "scene")
        picture = render(
            Image.fromarray(source), regions, font=BitmapFace("bold" if index % 2 else "regular")
        ).picture
        pixels = np.asarray(picture)
        assert (pixels != source).any()
        for region in regions:
            assert read_sign(pixels, region).text.replace("\n", " ") == region.text


@pytest.mark.parametrize("angle", [0.0, 5.0, -7.0])
def test_large_images_are_read_back_too(angle: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8)
    region = TextRegion("grüße\nœuf", (0.2, 0.3, 0.8, 0.6), angle, (250, 250, 250), (20, 40, 90))
    pixels = np.asarray(render(Image.fromarray(noise), [region], font=BitmapFace(), max_size=24).picture)
    assert read_sign(pixels, region).text.split() == ["grüße", "œuf"]
    assert (pixels[:20] == noise[:20]).all()


def test_what_cannot_be_set_is_an_error() -> None:
    picture = Image.new("RGB", (100, 40))
    region = TextRegion("Fledermaus", (0.1, 0.1, 0.5, 0.9))
    with pytest.raises(
        DataError, match=r"'Fledermaus' does not fit into its box of 40 x 32 pixels in the face 'bold'"
    ):
        render(picture, [region], font=BitmapFace("bold"))
    with pytest.raises(DataError, match="no glyph for '汉'"):
        render(picture, [TextRegion("汉", (0.1, 0.1, 0.5, 0.9))], font=BitmapFace())
    with pytest.raises(DataError, match="no face 'heavy'"):
        BitmapFace("heavy")
