"""Every question's answer, derived again from the scene by code that knows nothing of the generator."""

import hashlib
import itertools
import re
from collections import Counter

import pytest

from sightweave.data.scenes.items import TASKS, caption, each, mix
from sightweave.data.scenes.layout import HELD_OUT, SPLITS, make_scene
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import View

HASH = "894830d5067cbece15261137d65f44e1fc7a3120d9dba23bd1f37f1aa6b5f15d"
COLORS = {"red", "green", "blue", "yellow", "purple", "black"}
SHAPES = {"circle", "square", "triangle", "star", "cross", "heart"}
ANIMALS = {"dog", "cat", "horse", "cow", "pig", "rabbit", "fish", "frog"}
ANIMALS |= {"bat_animal", "mouse_animal", "chicken_bird", "crane_bird"}
FOODS = {"apple", "banana", "strawberry", "carrot", "pizza", "cake", "nut_food", "ear_corn", "chicken_food"}
VEHICLES = {"car", "bus", "bicycle", "boat"}
IRREGULAR = {
    "mice": "mouse",
    "strawberries": "strawberry",
    "pairs of glasses": "pair of glasses",
    "fish": "fish",
}
IRREGULAR |= {"boxes": "box", "crosses": "cross", "buses": "bus"}


def name_of(thing):
    word = thing.name.partition("_")[0]
    return "pair of glasses" if word == "glasses" else word


def fits(thing, words):
    """Whether a phrase such as ``small striped red circles`` is true of a thing."""
    head = words
    while True:
        first, _, rest = head.partition(" ")
        if first in ("small", "big"):
            if thing.size != first:
                return False
        elif first == "striped":
            if thing.fill != "striped":
                return False
        elif first in COLORS:
            if thing.color != first:
                return False
        else:
            break
        head = rest
    head = IRREGULAR.get(head, head)
    for kind, names in (("shape", SHAPES), ("animal", ANIMALS), ("food item", FOODS), ("vehicle", VEHICLES)):
        if head in (kind, f"{kind}s"):
            return thing.name in names
    return head.removesuffix("s") == "thing" or name_of(thing) in (head, head.removesuffix("s"))


def the(scene, words):
    (thing,) = [thing for thing in scene.things if fits(thing, words)]
    return thing


def named(scene, name):
    """The one thing that a short name stands for."""
    return the(scene, name)


def solve(scene, item):
    """The answer, and the steps where they are not just the answer's own."""
    text, things = item.text, scene.things
    if item.type == "exist":
        words = re.fullmatch(r"Is there an? (.+)\?", text)[1]
        return "yes" if any(fits(thing, words) for thing in things) else "no"
    if item.type == "color":
        return the(scene, re.fullmatch(r"What color is the (.+)\?", text)[1]).color
    if item.type == "size":
        return the(scene, re.fullmatch(r"Is the (.+) big or small\?", text)[1]).size
    if item.type == "side":
        thing = the(scene, re.fullmatch(r"Is the (.+) on the left or on the right\?", text)[1])
        assert abs(thing.x - 768) >= 8 * 16
        return "left" if thing.x < 768 else "right"
    if item.type == "height":
        thing = the(scene, re.fullmatch(r"Is the (.+) at the top or at the bottom\?", text)[1])
        assert abs(thing.y - 768) >= 8 * 16
        return "top" if thing.y < 768 else "bottom"
    if item.type == "name":
        return solve_name(scene, text)
    return solve_with_steps(scene, item)


def solve_name(scene, text):
    if found := re.fullmatch(r"What is the (left|right|top|bottom)most thing\?", text):
        axis = "x" if found[1] in ("left", "right") else "y"
        ordered = sorted(scene.things, key=lambda thing: getattr(thing, axis))
        return name_of(ordered[0 if found[1] in ("left", "top") else -1])
    if found := re.fullmatch(r"What is the (.+) on the (left|right)\?", text):
        clear = [t for t in scene.things if abs(t.x - 768) >= 128 and (t.x < 768) == (found[2] == "left")]
        unclear = [thing for thing in scene.things if abs(thing.x - 768) < 128]
        assert not any(fits(thing, found[1]) for thing in unclear)
        (thing,) = [thing for thing in clear if fits(thing, found[1])]
        return name_of(thing)
    if found := re.fullmatch(r"What (shape|animal|food|vehicle) is this\?", text):
        return name_of(the(scene, found[1].replace("food", "food item")))
    if found := re.fullmatch(r"What (shape|animal|food|vehicle) is the (.+)\?", text):
        thing = the(scene, found[2])
        assert fits(thing, found[1].replace("food", "food item"))
        return name_of(thing)
    return name_of(the(scene, re.fullmatch(r"What is the (.+)\?", text)[1]))


def listed_in_order(scene, steps):
    """All things along the axis that the steps name, and the names of those that the steps list, from the first one on."""
    axis, _, said = steps.partition(": ")
    ordered = sorted(scene.things, key=lambda t: t.x if axis == "left to right" else t.y)
    names = said.partition(";")[0].removesuffix(".").split(", ")
    plain = [re.sub(r"^\d ", "", name) for name in names]
    assert all(fits(thing, name) for thing, name in zip(ordered, plain, strict=False))
    assert 1 <= len(names) <= len(ordered)
    gaps = [b.y - a.y for a, b in itertools.pairwise(ordered)]
    assert axis == "left to right" or all(gap >= 5.8 * 16 for gap in gaps)
    return ordered, names


def check_numbered(things, steps):
    """The things that match, each with its number, or none."""
    if not things:
        assert steps == "none"
        return
    for place, (thing, said) in enumerate(zip(things, steps.split(", "), strict=True), 1):
        number, _, name = said.partition(" ")
        assert number == str(place)
        assert fits(thing, name)


def solve_with_steps(scene, item):
    text, steps, things = item.text, item.steps, scene.things
    if item.type == "count":
        words = re.fullmatch(r"How many (.+) are there\?", text)[1]
        found = [thing for thing in things if fits(thing, words)]
        check_numbered(found, steps.removesuffix("."))
        return str(len(found))
    if item.type == "cmp":
        both = re.fullmatch(r"Are there more (.+) than (.+)\?", text).groups()
        found = [[thing for thing in things if fits(thing, words)] for words in both]
        counts = [len(some) for some in found]
        *lists, last = steps.removesuffix(".").split("; ")
        for some, said in zip(found, lists, strict=True):
            check_numbered(some, said)
        assert last == f"{counts[0]} and {counts[1]}"
        return "yes" if counts[0] > counts[1] else "no"
    if item.type == "same":
        first, second, asked = re.fullmatch(
            r"Are the (.+) and the (.+) the same (size|color|shape)\?", text
        ).groups()
        values = [
            {"size": thing.size, "color": thing.color, "shape": thing.name}[asked]
            for thing in (the(scene, first), the(scene, second))
        ]
        assert the(scene, first) is not the(scene, second)
        assert not any(value in phrase.split() for value in values for phrase in (first, second))
        assert steps == f"{values[0]} and {values[1]}."
        return "yes" if values[0] == values[1] else "no"
    ordered, names = listed_in_order(scene, steps)
    if item.type == "next":
        side, name = re.fullmatch(r"What is just to the (left|right) of the (.+)\?", text).groups()
        assert names[-1] == name  # the list stops where the question points
        assert len(names) == ordered.index(named(scene, name)) + 1
        at = len(names) - 1 + (-1 if side == "left" else 1)
        assert at >= 0
        assert fits(ordered[at], item.answer)
        return names[at] if side == "left" else item.answer
    if item.type == "rel":
        first, relation, second = re.fullmatch(
            r"Is the (.+) (to the left of|to the right of|above|below) the (.+)\?", text
        ).groups()
        a, b = named(scene, first), named(scene, second)
        is_first = ordered.index(a) < ordered.index(b)
        assert names[-1] == (first if is_first else second)
        truth = {"left to right": ("to the left", "to the right"), "top to bottom": ("above", "below")}
        axis, _, said = steps.partition(": ")
        assert said.partition("; ")[2] == f"{first} {truth[axis][not is_first]}."
        if relation in ("above", "below"):
            assert abs(a.y - b.y) >= 160
            return "yes" if (a.y < b.y) == (relation == "above") else "no"
        assert abs(a.x - b.x) >= 5.8 * 16
        return "yes" if (a.x < b.x) == (relation == "to the left of") else "no"
    assert item.type == "nrel"
    relation, name = re.fullmatch(
        r"How many things are (to the left of|to the right of|above|below) the (.+)\?", text
    ).groups()
    thing = named(scene, name)
    axis = "x" if "to the" in relation else "y"
    gaps = [getattr(other, axis) - getattr(thing, axis) for other in things if other is not thing]
    assert all(abs(gap) >= (5.8 * 16 if axis == "x" else 160) for gap in gaps)
    is_before = relation in ("to the left of", "above")
    answer = sum((gap < 0) == is_before for gap in gaps)
    place = ordered.index(thing)
    assert len(names) == (place + 1 if is_before else len(ordered))
    counted = range(place) if is_before else range(place + 1, len(ordered))
    numbers = [int(said[0]) if said[0].isdigit() else 0 for said in names]
    assert numbers == [counted.index(at) + 1 if at in counted else 0 for at in range(len(names))]
    assert max(numbers) == answer
    return str(answer)


def views(split, number, seed=11):
    for index in range(number):
        view = View(make_scene(seed, split, index))
        yield view, Random(seed, SPLITS.index(split), index, 1)


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_true(split):
    types = Counter()
    for view, random in views(split, 500):
        for item in each(view, random, ("vqa", "reasoning")):
            assert solve(view.scene, item) == item.answer, (item.text, view.scene.things)
            assert not item.options or item.answer in item.options
            types[item.type] += 1
    assert set(types) == {
        "exist", "color", "name", "size", "side", "height", "count", "cmp", "rel", "same", "next", "nrel"
    }  # fmt: skip
    assert min(types.values()) >= 300


def test_held_out_pairs_are_never_named_in_training():
    pairs = re.compile("|".join(f"{color} {shape}" for shape, color in HELD_OUT.items()))
    for split in ("train", "scenes"):
        for view, random in views(split, 400):
            for item in each(view, random, ("vqa", "reasoning")):
                assert not pairs.search(f"{item.text} {item.steps} {item.answer}")


def test_a_training_picture_has_its_share_of_each_task():
    types = Counter()
    for view, random in views("train", 150):
        items = mix(view, random, TASKS, 8)
        assert len(items) == 8
        asked = [item for item in items if isinstance(item, Question)]
        types["vqa"] += sum(not item.steps for item in asked)
        types["reasoning"] += sum(bool(item.steps) for item in asked)
        types["translation"] += 8 - len(asked)
        if any("_" in thing.name for thing in view.things):
            types["ambiguous"] += sum(item.type == "ambiguous" for item in items)
            types["beside"] += 8 - len(asked)
    assert 0.34 < types["vqa"] / 1200 < 0.42
    assert 0.34 < types["reasoning"] / 1200 < 0.40
    assert 0.22 < types["translation"] / 1200 < 0.30
    assert types["ambiguous"] > types["beside"] / 3


def test_only_the_asked_tasks():
    for view, random in views("train", 50):
        assert all(not item.steps for item in mix(view, random, ("vqa",), 4))
        assert all(item.steps for item in each(view, random, ("reasoning",)))


def test_no_question_comes_twice_in_one_picture():
    for view, random in views("train", 200):
        texts = [
            item.text if isinstance(item, Question) else (item.source, item.target_language)
            for item in mix(view, random, TASKS, 8)
        ]
        assert len(set(texts)) == len(texts)


def test_caption():
    for view, _ in views("train", 100):
        text = caption(view)
        parts = text.replace(" and ", ", ").split(", ")
        assert len(parts) == len(view.things)
        for part, thing in zip(parts, view.things, strict=True):
            words = part.removeprefix("an ").removeprefix("a ")
            assert fits(thing, words)
            assert thing.size in words
            assert ("striped" in words) == (thing.fill == "striped")
            assert thing.color in words


def test_texts_never_change():
    lines = []
    for view, random in views("train", 200, seed=0):
        lines.append(caption(view))
        for item in mix(view, random, TASKS, 8):
            is_question = isinstance(item, Question)
            lines.append(
                f"{item.text} {item.steps} {item.answer}" if is_question else f"{item.source} {item.target}"
            )
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == HASH
