"""Where things stand, and what the splits keep apart."""

import hashlib
from collections import Counter

import pytest

from sightweave.data.scenes.layout import HELD_OUT, SPLITS, make_scene

SHAPES = {"circle", "square", "triangle", "star", "cross", "heart"}
HASH = "1d285b1392b18b3f46732e0c2d77f38b5d3d696c3c56afc5e248e4b6cf553b9b"
COLORS = {"red", "green", "blue", "yellow", "purple", "black"}


def test_the_same_on_every_machine():
    text = "\n".join(repr(make_scene(0, split, index)) for split in SPLITS for index in range(100))
    assert hashlib.sha256(text.encode()).hexdigest() == HASH
    assert make_scene(1, "train", 0) != make_scene(0, "train", 0)


def test_no_such_split():
    with pytest.raises(ValueError, match=r"no split 'test'; available are train, scenes, combinations"):
        make_scene(0, "test", 0)


@pytest.mark.parametrize("split", SPLITS)
def test_things_are_apart_and_inside(split):
    for index in range(400):
        scene = make_scene(3, split, index)
        assert 1 <= len(scene.things) <= 4
        for number, thing in enumerate(scene.things):
            assert abs(thing.side / 16 - (19 if thing.size == "small" else 28)) <= 1
            assert -12 <= thing.angle <= 12
            half = thing.side * 1.186 / 2  # a square turned by 12 degrees
            assert half <= thing.x <= 96 * 16 - half
            assert half <= thing.y <= 96 * 16 - half
            for other in scene.things[number + 1 :]:
                assert other.x - thing.x >= 5.8 * 16
                reach = (thing.side + other.side) * 1.186 / 2
                assert max(other.x - thing.x, abs(other.y - thing.y)) >= reach
        assert all(205 <= channel <= 255 for color in scene.background.colors for channel in color)
        assert len(scene.background.colors) == {"plain": 1, "gradient": 4, "noise": 25}[scene.background.kind]


def test_held_out_pairs_are_one_for_each_shape_and_color():
    assert set(HELD_OUT) == SHAPES
    assert set(HELD_OUT.values()) == COLORS


def test_held_out_pairs_stand_only_in_combinations():
    for split in SPLITS:
        for index in range(600):
            shapes = [thing for thing in make_scene(1, split, index).things if thing.is_shape]
            held = [thing for thing in shapes if HELD_OUT[thing.name] == thing.color]
            if split == "combinations":
                assert bool(held) == bool(shapes)
            else:
                assert not held


def test_all_other_pairs_are_shown():
    shown = {(t.name, t.color) for i in range(800) for t in make_scene(1, "train", i).things if t.is_shape}
    assert len(shown) == 30


def test_senses_are_even_and_never_together():
    senses, scenes = Counter(), 0
    for index in range(1500):
        names = {thing.name for thing in make_scene(2, "train", index).things}
        homonyms = {name for name in names if "_" in name}
        assert len({name.partition("_")[0] for name in homonyms}) == len(homonyms)
        scenes += bool(homonyms)
        senses.update(homonyms)
    assert len(senses) == 36
    assert 0.5 < scenes / 1500 < 0.65
    assert max(senses.values()) < 2.7 * min(senses.values())


def test_sizes_are_even_and_comparable():
    sizes = Counter()
    for index in range(2000):
        things = make_scene(2, "train", index).things
        sizes.update(thing.size for thing in things)
        assert len(things) < 3 or len({thing.size for thing in things}) == 2
    assert abs(sizes["big"] / sizes.total() - 0.5) < 0.02
