"""Records of signs: target images differ inside the boxes only, and letters are where they are drawn."""

import numpy as np
import pytest

from sightweave.core.errors import RecipeError
from sightweave.core.text_regions import read_regions
from sightweave.data.scenes import face
from sightweave.data.scenes.lettering import COLORS, region_of
from sightweave.data.scenes.lexicon import SENSES
from sightweave.data.scenes.phrases import phrase
from sightweave.data.scenes.scene import SIDE
from sightweave.data.scenes.sign_items import (
    draw_lettered,
    is_ambiguous,
    sign_texts,
    targets,
    text_regions,
)
from sightweave.data.scenes.signs import LetteredScene, make_sign_scene


def scenes(count: int) -> list[LetteredScene]:
    return [make_sign_scene(0, "train", index, 2) for index in range(count)]


def test_the_translated_image_differs_inside_the_boxes_only() -> None:
    for made in scenes(30):
        source = draw_lettered(made)
        for language in targets(made):
            changed = (source != draw_lettered(made, language)).any(-1)
            assert changed.any()
            inside = np.zeros(changed.shape, bool)
            for sign in made.drawn.signs:
                half = int(np.hypot(sign.width, sign.height)) // 32 + 1
                x, y = sign.x // 16, sign.y // 16
                inside[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = True
            assert not (changed & ~inside).any()


def test_the_plain_form_has_place_colors_and_both_texts() -> None:
    for made in scenes(30):
        language = targets(made)[0]
        found = read_regions("\n".join(sign_texts(made, language)), "scene")
        for region, sign, one in zip(found, made.drawn.signs, made.phrases, strict=True):
            exact = region_of(sign, (SIDE, SIDE))
            assert region.box == pytest.approx(exact.box, abs=0.0006)
            assert (region.ink, region.ground) == (COLORS[sign.ink], COLORS[sign.ground])
            assert region.source == sign.text.replace("\n", " ")
            assert region.text == one.text(language).replace("\n", " ")
        plain = read_regions("\n".join(sign_texts(made)), "scene")
        assert [region.text for region in plain] == [region.source for region in found]


def test_a_sign_is_ambiguous_if_both_senses_have_its_text_but_not_its_translation() -> None:
    numbers = {True: 0, False: 0}
    for made in scenes(200):
        for language in targets(made):
            found = is_ambiguous(made, language)
            numbers[found] += 1
            texts = [
                {phrase(one.pattern, noun).text(code) for noun in SENSES[one.word]}
                for one in made.phrases
                if one.word in SENSES
                for code in (made.drawn.signs[0].language, language)
            ]
            pairs = list(zip(texts[::2], texts[1::2], strict=True))
            assert found == any(len(own) == 1 and len(other) == 2 for own, other in pairs)
    assert min(numbers.values()) > 30


def test_hidden_things_are_gone_and_swapped_homonyms_show_the_other_sense() -> None:
    made = next(one for one in scenes(50) if is_ambiguous(one, "de") and len(one.drawn.signs) == 1)
    shown, hidden, swapped = (draw_lettered(made, things=name) for name in ("shown", "hidden", "swapped"))
    thing = next(one for one in made.drawn.scene.things if one.name == made.phrases[0].noun)
    here = (slice(thing.y // 16 - 6, thing.y // 16 + 6), slice(thing.x // 16 - 6, thing.x // 16 + 6))
    assert (shown[here] != hidden[here]).any()
    assert (shown[here] != swapped[here]).any()
    sign = made.drawn.signs[0]
    middle = (slice(sign.y // 16 - 4, sign.y // 16 + 4), slice(sign.x // 16 - 8, sign.x // 16 + 8))
    assert (shown[middle] == hidden[middle]).all()
    with pytest.raises(RecipeError, match="things is 'gone'"):
        draw_lettered(made, things="gone")


def test_words_contain_their_letters() -> None:
    for made in scenes(60):
        for sign in made.drawn.signs:
            found = text_regions(sign)
            regions = [region for region in found if len(region.words[0]) == 1]
            words = [region for region in found if len(region.words[0]) > 1]
            assert [word.words[0] for word in words] == [word for word in sign.text.split() if len(word) > 1]
            if sign.angle:
                continue
            for word in words:
                inside = [
                    region.words[0]
                    for region in regions
                    if word.box[0] <= region.box[0]
                    and region.box[2] <= word.box[2]
                    and word.box[1::2] == region.box[1::2]
                ]
                assert "".join(inside) == word.words[0]


def test_letters_are_where_they_are_drawn() -> None:
    for made in scenes(60):
        pixels = draw_lettered(made).astype(int)
        for sign in made.drawn.signs:
            found = text_regions(sign)
            regions = [region for region in found if len(region.words[0]) == 1]
            assert "".join(region.words[0] for region in regions) == "".join(sign.text.split())
            if sign.angle or sign.dot != 16 or sign.face != "regular":
                continue
            for region in regions:
                left, top = round(region.box[0] * SIDE), round(region.box[1] * SIDE)
                cell = pixels[top : top + 12, left : left + 6]
                is_ink = np.abs(cell - COLORS[sign.ink]).sum(-1) == 0
                assert (is_ink == face.glyph(region.words[0])).all()
