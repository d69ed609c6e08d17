"""Which phrases fit which things."""

from sightweave.data.scenes.layout import make_scene
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.scene import Background, Scene, Thing
from sightweave.data.scenes.view import View, phrase


def thing(name, x, y=768, size="big", color="", fill=""):
    return Thing(name, bool(color), color, (0, 0, 0), fill, size, x, y, 448, 0)


def view(*things, split="train"):
    return View(Scene("key", split, Background("plain", ((255, 255, 255),)), things))


def test_short_names_say_the_size_only_where_it_helps():
    made = view(
        thing("dog", 200),
        thing("circle", 500, size="small", color="red", fill="solid"),
        thing("circle", 800, color="red", fill="striped"),
        thing("circle", 1100, color="blue", fill="solid"),
    )
    assert made.short == ["dog", "small red circle", "big red circle", "blue circle"]
    assert made.unique == [0, 1, 2, 3]


def test_twins_have_no_name_of_their_own():
    made = view(thing("dog", 200), thing("cat", 500), thing("dog", 800))
    assert made.short == ["big dog", "cat", "big dog"]
    assert made.unique == [1]
    assert [said.text for said in made.unique_phrases(1)] == ["cat", "big cat"]
    assert made.fitting(phrase("", False, "", "animal", "category")) == [0, 1, 2]
    assert made.fitting(phrase("", False, "", "pig", "noun")) == []


def test_rows_go_from_top_to_bottom():
    made = view(thing("dog", 200, y=900), thing("cat", 500, y=400), thing("pig", 800, y=950))
    assert made.rows == [1, 0, 2]
    assert not made.rows_are_clear()
    assert view(thing("dog", 200, y=900), thing("cat", 500, y=400)).rows_are_clear()


def test_absent_phrases_are_absent_and_of_the_same_form():
    for index in range(200):
        made = View(make_scene(4, "train", index))
        random = Random(4, 0, index, 1)
        for said in list(made.masks):
            other = made.absent(said, random)
            if other is not None:
                assert other not in made.masks
                assert (other.level, bool(other.size), other.striped, bool(other.color)) == (
                    said.level, bool(said.size), said.striped, bool(said.color)
                )  # fmt: skip


def test_absent_phrases_recombine_what_is_there():
    made = view(
        thing("circle", 200, color="red", fill="solid"), thing("square", 800, color="blue", fill="solid")
    )
    said = phrase("", False, "red", "circle", "noun")
    found = {made.absent(said, Random(0, 0, index, 0)).text for index in range(60)}
    assert {"blue circle", "red square"} <= found
    alone = view(thing("dog", 200))
    assert alone.absent(phrase("", False, "", "thing", "thing"), Random(0, 0, 0, 0)) is None
