"""Boxes and words of things."""

from sightweave.data.scenes import drawing
from sightweave.data.scenes.layout import make_scene
from sightweave.data.scenes.regions import box, regions
from sightweave.data.scenes.view import View


def test_boxes_are_those_of_the_drawing():
    for index in range(20):
        scene = make_scene(0, "train", index)
        for thing, exact in zip(scene.things, drawing.boxes(scene), strict=True):
            assert all(abs(a - b) * 96 < 1.6 for a, b in zip(box(thing), exact, strict=True))


def test_words_of_a_region():
    seen = set()
    for index in range(120):
        scene = make_scene(0, "train", index)
        for thing, region in zip(scene.things, regions(View(scene)), strict=True):
            assert thing.size in region.words
            assert ("left" in region.words) == (thing.x <= 44 * 16)
            assert ("right" in region.words) == (thing.x >= 52 * 16)
            assert ("top" in region.words) == (thing.y <= 44 * 16)
            assert ("bottom" in region.words) == (thing.y >= 52 * 16)
            assert ("striped" in region.words) == (thing.fill == "striped")
            assert ("shape" in region.words) == thing.is_shape
            assert not any(" " in word for word in region.words)
            assert len(set(region.words)) == len(region.words)
            if thing.name == "bat_animal":
                assert {"bat", "Fledermaus", "chauve-souris", "蝙蝠", "animal"} <= set(region.words)
            if thing.color == "green":
                assert {"green", "grünen", "verte", "绿色"} <= set(region.words)
            seen.update(region.words)
    assert {"glasses", "Brille", "lunettes", "food", "vehicle"} <= seen
