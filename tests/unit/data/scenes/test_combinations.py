"""Items of ``combinations`` say whether they are about a pair that training never shows."""

from collections import Counter

import pytest

from sightweave.data.datasets.scenes import Config
from sightweave.data.reading.dataset import task_of
from sightweave.data.scenes.combinations import MET, caption_is_unmet, is_unmet
from sightweave.data.scenes.layout import HELD_OUT
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.translations import Pair


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question("exist", "exist", "Is there a red triangle?", "no"), True),
        (Question("exist", "exist", "Is there a red circle?", "no"), False),
        (Question("color", "color", "What color is the small triangle?", "red"), True),
        (Question("color", "color", "What color is the small triangle?", "blue"), False),
        (Question("name", "name", "What is the red thing?", "triangle"), True),
        (Question("name", "name", "What is the red thing?", "star"), False),
        (Question("name", "name", "What is the big thing?", "triangle"), False),
        (Question("size", "size", "Is the striped red triangle big or small?", "big"), True),
        (Question("count", "count", "How many shapes are there?", "1", steps="1 black cross."), True),
        (Question("count", "count", "How many shapes are there?", "1", steps="1 red cross."), False),
        (Question("cmp", "cmp", "Are there more red triangles than dogs?", "no", steps="none; none."), True),
    ],
)
def test_a_question_is_about_a_pair_that_question_steps_and_answer_name(question, expected):
    assert is_unmet(question) is expected


def test_a_translation_is_about_its_sentence():
    def pair(source, target="x", word="", template="this", kind="plain"):
        return Pair(kind, template, source, target, "en", "de", word, "", "")

    assert is_unmet(pair("This is a red triangle."))
    assert is_unmet(pair("Das ist ein rotes Dreieck.", "This is a red triangle."))
    assert not is_unmet(pair("This is a red circle."))
    assert is_unmet(pair("This is a bat.", word="bat", template="this"))
    assert not is_unmet(pair("There is a big bat.", word="bat", template="there"))


def test_captions():
    assert all(caption_is_unmet(f"a dog and a big {color} {shape}") for shape, color in HELD_OUT.items())
    assert not caption_is_unmet("a big red circle and a small purple triangle")


def test_the_tag_stands_in_the_split_that_is_about_unmet_pairs_and_nowhere_else():
    for split in ("train", "scenes"):
        data = Config(size=40).build(split=split)
        assert all("subset" not in record.tags for index in range(40) for record in data[index])
    data = Config(size=100).build(split="combinations")
    counts: Counter[tuple[str, str]] = Counter()
    for index in range(100):
        records = data[index]
        scene = data.scene(index)
        holds = any(HELD_OUT.get(thing.name) == thing.color for thing in scene.things)
        assert ("subset" not in records[0].tags) is holds  # the caption names all that is there
        for record in records:
            assert record.tags.get("subset", MET) == MET
            counts[task_of(record), record.tags.get("subset", "unmet")] += 1
    for task in ("captioning", "vqa", "reasoning", "translation"):
        assert counts[task, "unmet"] > 20
        assert counts[task, MET] > 20
