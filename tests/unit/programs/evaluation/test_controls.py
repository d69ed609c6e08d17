"""The controls: nothing of the picture is left, or it is another picture for the whole group."""

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Region, Sample
from sightweave.programs.evaluation import controls


def make(number: int, group: str, *keys: str) -> Sample:
    media = [Part("user", Medium(np.zeros((2, 2, 3), np.uint8), key)) for key in keys]
    return Sample(
        id=str(number),
        task="vqa",
        parts=(*media, Part("user", "what?"), Part("assistant", "that", learn=True)),
        references=("that",),
        group=group,
        regions=(Region((0.0, 0.0, 1.0, 1.0), ("that",)),),
    )


SAMPLES = [make(n, f"g{n // 3}", f"picture{n // 3}") for n in range(30)] + [make(30, "text")]


def test_no_image_leaves_nothing_of_the_picture():
    blind = controls.no_image(SAMPLES)
    assert [s.id for s in blind] == [s.id for s in SAMPLES[:30]]
    assert all(not s.media and not s.regions for s in blind)
    assert all(b.prompt == s.prompt and b.target == s.target for b, s in zip(blind, SAMPLES, strict=False))
    assert SAMPLES[0].media


def test_every_group_gets_one_other_groups_picture():
    shuffled = controls.shuffled_image(SAMPLES, seed=3)
    assert [s.id for s in shuffled] == [s.id for s in SAMPLES[:30]]
    given = {}
    for before, after in zip(SAMPLES, shuffled, strict=False):
        assert after.media[0].key != before.media[0].key
        assert given.setdefault(before.group, after.media[0].key) == after.media[0].key
        assert not after.regions
    assert sorted(given.values()) == sorted({s.media[0].key for s in SAMPLES[:30]})


def test_the_exchange_follows_the_seed():
    keys = [[s.media[0].key for s in controls.shuffled_image(SAMPLES, seed=seed)] for seed in (0, 0, 1)]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_groups_with_the_same_picture_do_not_get_it_back():
    samples = [make(0, "a", "same"), make(1, "b", "same"), make(2, "c", "other")]
    for seed in range(6):
        given = [s.media[0].key for s in controls.shuffled_image(samples, seed=seed)]
        assert given == ["other", "other", "same"]


def test_several_pictures_keep_their_places():
    samples = [make(0, "a", "a1", "a2", "a3"), make(1, "b", "b1", "b2")]
    first, second = controls.shuffled_image(samples)
    assert [m.key for m in first.media] == ["b1", "b2", "b1"]
    assert [m.key for m in second.media] == ["a1", "a2"]


def test_one_picture_cannot_be_exchanged():
    with pytest.raises(DataError, match=r"no other picture for group 'a' among 1 group\(s\)"):
        controls.shuffled_image([make(0, "a", "one"), make(1, "a", "one")])
