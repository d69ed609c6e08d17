"""Whoever does not look at the picture stays near chance.

The blind answerer knows, from training, the most frequent answer to each template. On 2,000 items of each type it may be
no better than always giving the type's most frequent answer, plus five points; and that answer is as rare as can be.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from typing import NamedTuple

import pytest

from sightweave.data.scenes.items import TASKS, each, mix
from sightweave.data.scenes.layout import SPLITS, make_scene
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import View

pytestmark = pytest.mark.slow
MAJORITY = {
    "exist": 0.56, "color": 0.25, "name": 0.12, "size": 0.58, "side": 0.56, "height": 0.56,
    "count": 0.45, "cmp": 0.56, "rel": 0.56, "same": 0.56, "next": 0.15, "nrel": 0.45,
    "ambiguous": 0.05, "plain": 0.05, "number": 0.56,
}  # fmt: skip
ITEMS, SCENES = 2000, 20_000


class Item(NamedTuple):
    """What the blind answerer may know of an item, and its answer."""

    type: str
    template: str
    words: str
    answer: str
    word: str = ""
    language: str = ""
    sense: str = ""


def reduced(item):
    if isinstance(item, Question):
        return Item(item.type, item.template, item.text, item.answer)
    answer = ("two" if " two " in item.target else "one") if item.type == "number" else item.target
    words = f"{item.target_language} {item.source}"
    return Item(item.type, item.template, words, answer, item.word, item.target_language, item.sense)


def generate(split, way, scenes):
    for index in range(scenes):
        view, random = View(make_scene(21, split, index)), Random(21, SPLITS.index(split), index, 1)
        items = mix(view, random, TASKS, 8) if way == "mix" else each(view, random, TASKS)
        yield from map(reduced, items)


def gather(split, way, scenes):
    """The items by type; made by another process, since pytest's checks of types would take minutes here."""
    command = [sys.executable, __file__, split, way, str(scenes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=environment)
    lines = done.stdout.splitlines()
    found = defaultdict(list)
    for line in lines:
        item = Item(*json.loads(line))
        found[item.type].append(item)
    return found


@pytest.fixture(scope="module")
def learnt():
    """What training says most often: for a type, for a template, and for a question's very words."""
    counts = defaultdict(Counter)
    for kind, items in gather("train", "mix", 8000).items():
        for item in items:
            counts[kind, item.template][item.answer] += 1
            counts[kind, item.words][item.answer] += 1
            counts[item.word, item.language][item.sense] += 1
    return counts


@pytest.fixture(scope="module")
def asked():
    """2,000 and more of each type; the rare ones need more scenes."""
    return gather("scenes", "each", SCENES)


@pytest.mark.parametrize("kind", MAJORITY)
def test_templates_do_not_give_the_answer_away(kind, learnt, asked):
    items = asked[kind]
    assert len(items) >= ITEMS
    items = items[:ITEMS] if not items[0].language else items
    majority = Counter(item.answer for item in items).most_common(1)[0][1] / len(items)
    assert majority <= MAJORITY[kind]
    right = Counter()
    for item in items:
        right[item.template] += item.answer == learnt[kind, item.template].most_common(1)[0][0]
    assert right.total() / len(items) <= majority + 0.05
    for template, number in Counter(item.template for item in items).items():
        bound = majority + 0.05 + 2 / number**0.5 * (number < 1000)
        assert right[template] / number <= bound, template


def test_senses_are_even(asked):
    senses = defaultdict(Counter)
    for item in asked["ambiguous"]:
        senses[item.word][item.sense] += 1
    assert len(senses) == 18
    for word, counts in senses.items():
        assert counts.most_common(1)[0][1] / counts.total() <= 0.55, word


def test_the_very_words_do_not_give_the_sense_or_the_number_away(learnt, asked):
    for kind, limit in (
        ("ambiguous", 0.55),
        ("number", 0.56),
        ("exist", 0.60),
        ("rel", 0.56),
        ("same", 0.60),
    ):
        seen = [item for item in asked[kind] if (kind, item.words) in learnt]
        right = sum(item.answer == learnt[kind, item.words].most_common(1)[0][0] for item in seen)
        assert right / len(seen) <= limit, kind


def test_blind_translations_of_ambiguous_words(learnt, asked):
    """The best guess of a sense, by word and language."""
    items = asked["ambiguous"]
    right = sum(item.sense == learnt[item.word, item.language].most_common(1)[0][0] for item in items)
    assert right / len(items) <= 0.53


if __name__ == "__main__":
    for made in generate(sys.argv[1], sys.argv[2], int(sys.argv[3])):
        sys.stdout.write(json.dumps(made) + "\n")
