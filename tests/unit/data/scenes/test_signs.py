"""Scenes with signs: nothing overlaps, splits hold out what they promise, and only the things decide ambiguous words."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from sightweave.data.scenes.lettering import half_extents
from sightweave.data.scenes.lexicon import SENSES
from sightweave.data.scenes.phrases import is_held_out, is_unmet_pair
from sightweave.data.scenes.scene import SIDE, UNIT
from sightweave.data.scenes.signs import (
    HELD_OUT_FACE,
    INKS_AND_GROUNDS,
    KINDS,
    LetteredScene,
    make_sign_scene,
)

SPLITS = ("train", "scenes", "combinations", "validation")
HASH = "92d6883588e94e948f29e0808d8865e431576a0c2cc695a484866a6f2d729a76"


def scenes(split: str, count: int = 150, seed: int = 0) -> list[LetteredScene]:
    return [make_sign_scene(seed, split, index, 2) for index in range(count)]


def pairs(made: LetteredScene) -> set[tuple[str, str]]:
    """Each noun on a sign with each other thing in the image."""
    names = [thing.name for thing in made.drawn.scene.things]
    return {(one.word, name) for one in made.phrases if one.word for name in names if name != one.noun}


def test_the_same_on_every_machine() -> None:
    text = "\n".join(repr(made) for split in SPLITS for made in scenes(split, 40))
    assert hashlib.sha256(text.encode()).hexdigest() == HASH
    assert make_sign_scene(1, "train", 0) != make_sign_scene(0, "train", 0)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="no split 'test'; available are train"):
        make_sign_scene(0, "test", 0)
    with pytest.raises(ValueError, match=r"max_signs must be 1 or 2 \(got 3\)"):
        make_sign_scene(0, "train", 0, 3)


@pytest.mark.parametrize("split", SPLITS)
def test_signs_and_things_are_inside_and_apart(split: str) -> None:
    for made in scenes(split):
        boxes = []
        for sign in made.drawn.signs:
            half_width, half_height = half_extents(sign.width, sign.height, sign.angle)
            boxes.append(
                (sign.x - half_width, sign.y - half_height, sign.x + half_width, sign.y + half_height)
            )
            assert (sign.ink, sign.ground) in INKS_AND_GROUNDS
            assert -8 <= sign.angle <= 8
            assert (sign.x - sign.width // 2) % UNIT == (sign.y - sign.height // 2) % UNIT == 0
        for thing in made.drawn.scene.things:
            half = thing.side * 19 // 32
            boxes.append((thing.x - half, thing.y - half, thing.x + half, thing.y + half))

        for number, (left, top, right, bottom) in enumerate(boxes):
            assert min(left, top) >= 0
            assert max(right, bottom) <= SIDE * UNIT
            for other in boxes[:number]:
                assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        assert [sign.y for sign in made.drawn.signs] == sorted(sign.y for sign in made.drawn.signs)


def test_signs_say_their_phrase_in_their_language() -> None:
    numbers = Counter()
    for made in scenes("train"):
        assert len(made.phrases) == len(made.drawn.signs)
        for one, sign in zip(made.phrases, made.drawn.signs, strict=True):
            assert sign.text == one.text(sign.language)
            numbers[sign.language] += 1
        numbers[len(made.drawn.signs)] += 1
    assert min(numbers[key] for key in ("en", "de", "fr", 1, 2)) > 15


def test_the_thing_that_a_homonym_means_is_there_and_its_other_sense_is_not() -> None:
    senses = Counter()
    for made in scenes("train", 400):
        names = [thing.name for thing in made.drawn.scene.things]
        for one in made.phrases:
            if one.word in SENSES:
                assert one.noun in names
                first, second = SENSES[one.word]
                assert not {first, second} <= set(names)
                senses[SENSES[one.word].index(one.noun)] += 1
    assert 0.4 < senses[0] / senses.total() < 0.6


def test_held_out_phrases_faces_and_pairs_are_only_in_combinations() -> None:
    for split in ("train", "scenes", "validation"):
        for made in scenes(split):
            assert made.kind == ""
            assert all(sign.face != HELD_OUT_FACE for sign in made.drawn.signs)
            assert not any(one.word and is_held_out(one.word, one.pattern) for one in made.phrases)
            assert not any(is_unmet_pair(word, name) for word, name in pairs(made))


def test_each_kind_of_combinations_tests_only_what_it_says() -> None:
    for number, made in enumerate(scenes("combinations")):
        assert made.kind == KINDS[number % 3]
        has = {
            "faces": any(sign.face == HELD_OUT_FACE for sign in made.drawn.signs),
            "phrases": any(one.word and is_held_out(one.word, one.pattern) for one in made.phrases),
            "pairs": any(is_unmet_pair(word, name) for word, name in pairs(made)),
        }
        assert [kind for kind, is_there in has.items() if is_there] == [made.kind]


def test_signs_need_not_be_in_the_same_place() -> None:
    places = np.array([(sign.x, sign.y) for made in scenes("train") for sign in made.drawn.signs]) / UNIT
    assert (places.std(0) > 8).all()
