"""The 80 classes, their other names, and singulars."""

from __future__ import annotations

import pytest

from sightweave.answers.scoring import coco_objects


def test_there_are_80_classes_and_each_name_is_its_own() -> None:
    names = list(coco_objects._NAMES)
    assert len(names) == 80
    assert [coco_objects.mentions(name) for name in names] == [[name] for name in names]
    others = [other for text in coco_objects._NAMES.values() for other in text.split(", ") if other]
    assert len(set(others)) == len(others), "a word names two classes"
    assert not set(others) & set(names)


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        *(("dogs", "dog"), ("benches", "bench"), ("puppies", "puppy"), ("boxes", "box"), ("buses", "bus")),
        *(
            ("knives", "knife"),
            ("people", "people"),
            ("women", "woman"),
            ("ties", "tie"),
            ("potatoes", "potato"),
        ),
        *(
            ("bus", "bus"),
            ("grass", "grass"),
            ("tennis", "tennis"),
            ("horses", "horse"),
            ("glasses", "glass"),
        ),
        *(("skis", "skis"), ("scissors", "scissors"), ("sheep", "sheep"), ("his", "his"), ("tvs", "tv")),
    ],
)
def test_singulars(plural: str, singular: str) -> None:
    assert coco_objects.singular(plural) == singular


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("Two hot dogs on a table", ["hot dog", "dining table"]),
        ("A dog, a DOG and dogs.", ["dog"] * 3),
        ("a man's ties", ["person", "tie"]),
        ("a baby elephant", ["elephant"]),
        ("a baby and an elephant", ["person", "elephant"]),
        ("passenger trains at a train station", ["train"]),
        ("a double-decker bus", ["bus"]),
        ("toilet seats, toilet paper, a toilet", ["toilet", "toilet"]),
        ("glasses and wine glasses", ["wine glass"]),
        ("the sky is blue", []),
        ("catalogue dogma", []),
        ("", []),
    ],
)
def test_mentions(text: str, classes: list[str]) -> None:
    assert coco_objects.mentions(text) == classes


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("a cop, a baker, two males and a hunter", "person"),
        ("a van", "car"),
        ("speedboats and a catamaran", "boat"),
        ("a street light", "traffic light"),
        ("turkeys, ravens and a woodpecker", "bird"),
        ("a husky and two corgis", "dog"),
        ("a goat", "sheep"),
        ("bison and a buffalo", "cow"),
        ("a wallet, a briefcase", "handbag"),
        ("a longboard", "surfboard"),
        ("bagels", "donut"),
        ("pancakes", "cake"),
        ("a recliner", "couch"),
        ("computers and a netbook", "laptop"),
        ("a monitor", "tv"),
        ("a stove top oven", "oven"),
    ],
)
def test_words_that_the_authors_count_are_counted_for_their_class(words: str, name: str) -> None:
    assert set(coco_objects.mentions(words)) == {name}
