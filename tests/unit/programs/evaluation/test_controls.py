"""The controls: nothing of the picture is left, or it is another picture for the whole group."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Region, Sample
from sightweave.data.inputs.image_files import load
from sightweave.programs.evaluation import controls
from sightweave.programs.evaluation.worse import WORSE


def painted(content: str, name: str = "") -> Medium:
    """A picture whose pixels follow from `content`, under that name or another."""
    pixels = np.frombuffer(hashlib.sha256(content.encode()).digest()[:12], np.uint8).reshape(2, 2, 3)
    return Medium(pixels, name or content)


def make(number: int, group: str, *keys: str) -> Sample:
    media = [Part("user", painted(key)) for key in keys]
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
    found = controls.no_image(SAMPLES)
    assert list(found) == list(range(30))
    blind = list(found.values())
    assert all(not s.media and not s.regions for s in blind)
    assert all(b.prompt == s.prompt and b.target == s.target for b, s in zip(blind, SAMPLES, strict=False))
    assert SAMPLES[0].media


def test_every_group_gets_one_other_groups_picture():
    shuffled = controls.shuffled_image(SAMPLES, seed=3)
    assert list(shuffled) == list(range(30))
    given = {}
    for before, after in ((SAMPLES[n], after) for n, after in shuffled.items()):
        assert after.media[0].key != before.media[0].key
        assert given.setdefault(before.group, after.media[0].key) == after.media[0].key
        assert not after.regions
    assert sorted(given.values()) == sorted({s.media[0].key for s in SAMPLES[:30]})


def test_the_exchange_follows_the_seed():
    keys = [
        [s.media[0].key for s in controls.shuffled_image(SAMPLES, seed=seed).values()] for seed in (0, 0, 1)
    ]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_groups_with_the_same_picture_do_not_get_it_back():
    samples = [make(0, "a", "same"), make(1, "b", "same"), make(2, "c", "other")]
    for seed in range(6):
        given = [s.media[0].key for s in controls.shuffled_image(samples, seed=seed).values()]
        assert given == ["other", "other", "same"]


def test_copies_under_other_names_are_not_other_pictures():
    """Twenty files that hold five photographs: an exchange must give another photograph, not another name."""
    samples = [
        replace(
            make(n, f"g{n}"), parts=(Part("user", painted(f"photo {n % 5}", f"file {n}")), Part("user", "?"))
        )
        for n in range(20)
    ]
    for seed in range(4):
        for n, changed in controls.shuffled_image(samples, seed=seed).items():
            assert not np.array_equal(changed.media[0].source, samples[n].media[0].source)
    with pytest.raises(DataError, match=r"no other image for group 'g\d+' among 4 group\(s\)"):
        controls.shuffled_image(samples[::5])


def test_copies_of_the_own_picture_do_not_show_another_sense():
    def ambiguous(number: int, group: str, content: str, sense: str) -> Sample:
        sample = make(number, group)
        tags = {"contrast": "x", "word": "bat", "sense": sense}
        parts = (Part("user", painted(content, group)), Part("user", "a bat"))
        return replace(sample, parts=parts, tags=tags, references=(sense,))

    club = ambiguous(0, "a", "club", "club")
    copy, animal = ambiguous(1, "b", "club", "animal"), ambiguous(2, "c", "animal", "animal")
    found = controls.other_sense([club, copy, animal])
    assert found[0].media[0].key == "c"


def test_several_pictures_keep_their_places():
    samples = [make(0, "a", "a1", "a2", "a3"), make(1, "b", "b1", "b2")]
    first, second = controls.shuffled_image(samples).values()
    assert [m.key for m in first.media] == ["b1", "b2", "b1"]
    assert [m.key for m in second.media] == ["a1", "a2"]


def test_one_picture_cannot_be_exchanged():
    with pytest.raises(DataError, match=r"no other image for group 'a' among 1 group\(s\)"):
        controls.shuffled_image([make(0, "a", "one"), make(1, "a", "one")])


def test_a_blank_picture_is_the_same_grey_for_all():
    blank = controls.blank_image(SAMPLES)
    assert list(blank) == list(range(30))
    assert {s.media[0].key for s in blank.values()} == {"blank"}
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
    assert [s.media[0].key for s in changed.values()] == [f"photo/{n % 2}#{name}" for n in range(4)]
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
    if name == "darker":
        np.testing.assert_array_equal(after, np.rint(before * 0.7))
    if name == "rotated":  # the middle stays where it is
        assert difference[95:105, 145:155].mean() < difference.mean()


@pytest.mark.parametrize("name", sorted(WORSE))
def test_the_smallest_pictures_can_be_made_worse(name: str):
    for shape in ((1, 1, 3), (1, 9, 3), (3, 2, 3)):
        assert WORSE[name](np.zeros(shape, np.uint8)).dtype == np.uint8


def bat(number: int, sense: str, *, picture: str = "", prompt: str = "", word: str = "bat") -> Sample:
    """An ambiguous sentence with its translation."""
    sample = make(number, picture or f"g{number}", picture or f"picture{number}")
    return replace(
        sample,
        parts=(sample.parts[0], Part("user", prompt or f"a bat {number}"), sample.parts[-1]),
        references=(f"{sense} {number // 2}",),
        tags={"type": "ambiguous", "contrast": "x", "word": word, "sense": sense, "languages": "en-de"},
    )


def test_the_other_sense_is_that_of_the_same_sentence_where_it_stands_twice():
    pairs = [bat(n, ("club", "animal")[n % 2], prompt=f"a bat {n // 2}", word="") for n in range(8)]
    found = controls.other_sense([*pairs, SAMPLES[0]])
    assert {n: s.media[0].key for n, s in found.items()} == {n: f"picture{n ^ 1}" for n in range(8)}
    assert all(found[n].prompt == pairs[n].prompt for n in found)


def test_the_other_sense_is_that_of_the_word_else_and_never_a_picture_of_both():
    samples = [bat(n, "club" if n < 4 else "animal") for n in range(8)]
    samples.append(bat(8, "animal", picture="both"))
    samples.append(bat(9, "club", picture="both"))
    samples.append(bat(10, "bank", word="bank"))  # it has no other sense here
    found = controls.other_sense(samples, 5)
    assert sorted(found) == list(range(10))
    given = {n: s.media[0].key for n, s in found.items()}
    assert sorted(given[n] for n in range(4)) == [f"picture{n}" for n in range(4, 8)]
    assert {given[n] for n in range(4, 8)} <= {f"picture{n}" for n in range(4)}
    assert "both" not in given.values()
    assert controls.other_sense(samples, 5)[0].media == found[0].media


def test_the_other_senses_picture_does_not_show_the_asked_one_for_the_same_sentence_either():
    twice = [bat(n, ("club", "animal")[n % 2], prompt="a bat") for n in range(2)]
    both = bat(2, "club", picture="picture1")  # the animal's picture is about a club as well
    both = replace(both, group=twice[1].group)
    found = controls.other_sense([*twice, both])
    assert {n: s.media[0].key for n, s in found.items()} == {1: "picture0"}
    found = controls.other_sense([*twice, both, bat(3, "animal")])
    assert {n: s.media[0].key for n, s in found.items()} == dict(
        enumerate(["picture3", "picture0", "picture3", "picture0"])
    )


def test_pictures_of_the_other_sense_are_used_about_equally_often():
    samples = [bat(n, "club" if n < 12 else "animal", picture=f"p{n // 2}") for n in range(16)]
    found = controls.other_sense(samples, 1)
    given = [found[n].media[0].key for n in range(12)]
    assert {key: given.count(key) for key in given} == {"p6": 6, "p7": 6}
    assert len({found[n].media[0].key for n in range(12, 16)}) == 4
    dealt = [controls.other_sense(samples, seed) for seed in range(5)]
    assert len({tuple(each[n].media[0].key for n in range(16)) for each in dealt}) > 1


def test_every_control_says_in_one_line_what_it_does():
    said = [(control.__doc__ or "").splitlines()[0] for control in controls.ALL.values()]
    assert all(line.endswith(".") for line in said)
    assert len(set(said)) == len(said)


def test_a_copy_of_the_source_says_the_words_that_are_there():
    words = "[0 0 1000 1000] bat"
    sample = replace(SAMPLES[0], tags={"source": words})
    found = controls.copied_source([SAMPLES[1], sample, sample.without_media()])
    assert list(found) == [1]
    assert found[1].text == words
    assert np.array_equal(np.asarray(found[1].picture.convert("RGB")), load(sample.media[0]))
