"""The controls: nothing of the picture is left, or it is another picture for the whole group."""

from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Region, Sample
from sightweave.data.inputs.media import load
from sightweave.programs.evaluation import controls
from sightweave.programs.evaluation.worse import WORSE


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


def test_a_blank_picture_is_the_same_grey_for_all():
    blank = controls.blank_image(SAMPLES)
    assert [s.id for s in blank] == [s.id for s in SAMPLES[:30]]
    assert {s.media[0].key for s in blank} == {"blank"}
    pixels = load(blank[0].media[0])
    assert (pixels == pixels[0, 0]).all()


def photograph(number: int) -> Medium:
    from skimage import data

    return Medium(
        np.ascontiguousarray((data.astronaut, data.coffee)[number]()[:200, :300]), f"photo/{number}"
    )


@pytest.mark.parametrize("name", sorted(WORSE))
def test_a_worse_picture_is_another_but_like_it(name: str):
    samples = [
        replace(make(n, f"g{n}", "x"), parts=(Part("user", photograph(n % 2)), *make(n, "g", "x").parts[1:]))
        for n in range(4)
    ]
    changed = controls.CONTROLS[name](samples, 0)
    assert [s.media[0].key for s in changed] == [f"photo/{n % 2}#{name}" for n in range(4)]
    assert changed[0].media[0] is changed[2].media[0]
    before, after = load(samples[0].media[0]), load(changed[0].media[0])
    np.testing.assert_array_equal(after, load(changed[0].media[0]))
    if name == "cropped":
        assert after.shape == (180, 270, 3)
        np.testing.assert_array_equal(after, before[10:190, 15:285])
        return
    assert after.shape == before.shape
    difference = np.abs(after.astype(float) - before)
    assert 0.5 < difference.mean() < 60
    if name == "brighter":
        np.testing.assert_array_equal(after, np.minimum(np.rint(before * 1.3), 255))
    if name == "rotated":  # the middle stays where it is
        assert difference[95:105, 145:155].mean() < difference.mean()


@pytest.mark.parametrize("name", sorted(WORSE))
def test_the_smallest_pictures_can_be_made_worse(name: str):
    for shape in ((1, 1, 3), (1, 9, 3), (3, 2, 3)):
        assert WORSE[name](np.zeros(shape, np.uint8)).dtype == np.uint8
