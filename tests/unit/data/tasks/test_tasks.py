"""Records to samples, answers to what is compared: the same face for every task."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.core.types import Medium
from sightweave.data.tasks import (
    captioning,
    conversation,
    image_translation,
    reading,
    reasoning,
    translation,
    vqa,
)

IMAGE = Medium(np.zeros((2, 2, 3), np.uint8), key="key")
RECORDS: dict[str, Any] = {
    "captioning": captioning.Record(id="r", images=(IMAGE,), captions=("a cat", "one cat")),
    "vqa": vqa.Record(id="r", images=(IMAGE,), question="what {question} is it?", answers=("cat", "a cat")),
    "reasoning": reasoning.Record(
        id="r", images=(IMAGE,), question="why?", answers=("cat",), rationale="It has ears."
    ),
    "translation": translation.Record(
        id="r",
        images=(IMAGE,),
        source="the {language}",
        targets=("die", "das"),
        source_language="en",
        target_language="de",
    ),
    "conversation": conversation.Record(
        id="r",
        images=(IMAGE,),
        turns=(conversation.Turn("user", (0, "what is it?")), conversation.Turn("assistant", ("a cat",))),
    ),
    "reading": reading.Record(id="r", images=(IMAGE,), signs=("[0 0 500 200] a bat", "[0 300 500 500] exit")),
    "image_translation": image_translation.Record(
        id="r", images=(IMAGE,), signs=("[0 0 500 200] bat => Schläger",), target_language="de"
    ),
}
ANSWERS = {
    "captioning": "captions",
    "translation": "targets",
    "conversation": "turns",
    "reading": "signs",
    "image_translation": "signs",
}
"""The field that has a record's answers, if it is not ``answers``."""


def task(name: str, **fields: Any) -> Any:
    return catalog.config_class("data.tasks", name)(**fields).build()


def test_every_task_is_here() -> None:
    # The answers of drawing are images, which has tests of its own.
    assert {*RECORDS, "drawing"} == set(catalog.kinds("data.tasks"))


@pytest.mark.parametrize("name", RECORDS)
def test_a_sample_shows_the_picture_asks_and_holds_all_references(name: str) -> None:
    record = dataclasses.replace(RECORDS[name], tags={"type": "special", "mine": "yes"}, group="g")
    sample = task(name).sample(record)
    assert sample.task == name
    assert sample.media == (IMAGE,)
    assert sample.parts[0].content is IMAGE
    assert [part.role for part in sample.parts] == ["user", "user", "assistant"]
    assert [part.learn for part in sample.parts] == [False, False, True]
    expected = getattr(record, ANSWERS.get(name, "answers"))
    others = {"conversation": ("a cat",), "reading": ("a bat\nexit",)}
    assert sample.references == others.get(name, expected)
    assert (sample.group, sample.tags["type"], sample.tags["mine"]) == ("g", "special", "yes")
    assert task(name).sample(RECORDS[name]).group == "key"


@pytest.mark.parametrize(
    ("name", "prompt", "target"),
    [
        ("captioning", "Describe the image.", "a cat"),
        ("vqa", "what {question} is it?", "cat"),
        ("reasoning", "why?", "It has ears. Answer: cat"),
        ("translation", "Translate into German: the {language}", "die"),
        ("conversation", "what is it?", "a cat"),
        ("reading", "What does the sign say?", "a bat\nexit"),
        ("image_translation", "Translate the sign into German.", "[0 0 500 200] bat => Schläger"),
    ],
)
def test_prompt_and_target(name: str, prompt: str, target: str) -> None:
    sample = task(name).sample(RECORDS[name])
    assert sample.prompt == prompt
    assert sample.target == target


def test_a_recipe_may_word_the_instruction() -> None:
    assert (
        task("vqa", instruction="Q: {question} A:").sample(RECORDS["vqa"]).prompt
        == "Q: what {question} is it? A:"
    )
    record = dataclasses.replace(RECORDS["captioning"], prompt="Say it.")
    assert task("captioning").sample(record).prompt == "Say it."
    made = task("translation", instruction="{source} ({language})").prompt("hello {language}", "xx")
    assert made == "hello {language} (xx)"


@pytest.mark.parametrize("name", RECORDS)
def test_without_an_answer_nothing_is_learnt(name: str) -> None:
    field = ANSWERS.get(name, "answers")
    sample = task(name).sample(dataclasses.replace(RECORDS[name], **{field: ()}))
    assert sample.target == ""
    assert sample.references == ()


@pytest.mark.parametrize(
    ("name", "text", "parsed"),
    [
        ("captioning", "  a cat. ", "a cat."),
        ("captioning", " ", None),
        ("vqa", " cat. ", "cat."),  # references keep their endings too, so metrics compare them
        ("vqa", " 9 a.m.\n", "9 a.m."),
        ("vqa", "3.5", "3.5"),
        ("vqa", "...", "..."),
        ("vqa", " \n", None),
        ("translation", " die Katze. ", "die Katze."),
        ("translation", "", None),
        ("reasoning", "It has ears. Answer: cat.", "cat."),
        ("reasoning", "It is early. Answer: 9 a.m.", "9 a.m."),
        ("reasoning", "It has ears. **Answer:** cat", "cat"),
        ("reasoning", "It has ears. **Answer: cat**", "cat**"),
        ("reasoning", r"Answer: $\boxed{\text{cat}}$", "cat"),
        ("reasoning", "Answer: <answer>cat</answer>", "cat"),
        ("reasoning", "It has ears. answer: cat", "cat"),
        ("reasoning", "A dog? No. The answer is cat.\nI hope it helps.", "cat."),
        ("reasoning", r"Not a dog, so \boxed{cat}.", "cat"),
        ("reasoning", "<answer> cat </answer>", "cat"),
        ("reasoning", "It has ears.\n**Final answer**: cat", "cat"),
        ("reasoning", '{"answer": "cat"}', "cat"),
        ("reasoning", "\u7b54\u6848\u662f\u732b", "\u732b"),
        ("reasoning", "\u7b54\u3048\uff1a\u732b", "\u732b"),
        ("reasoning", "Die richtige Antwort lautet: Katze", "Katze"),
        ("reasoning", "La bonne r\u00e9ponse est : chat", "chat"),
        ("reasoning", "The answer is not a dog, I think", "not a dog, I think"),
        ("reasoning", "I would not choose the dog", None),
        ("reasoning", r"so \boxed{}", None),
        ("reasoning", "Answer: dog? No. Answer: cat", "cat"),
        ("reasoning", "cat", None),
        ("reasoning", "It has ears. Answer: ", None),
    ],
)
def test_what_is_read_from_an_answer(name: str, text: str, parsed: str | None) -> None:
    assert task(name).parse(text) == parsed


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_learnt_is_read_back(name: str) -> None:
    sample = task(name).sample(RECORDS[name])
    assert task(name).parse(sample.target) == sample.references[0]


def test_a_translation_needs_no_picture() -> None:
    sample = task("translation").sample(dataclasses.replace(RECORDS["translation"], images=()))
    assert sample.media == ()
    assert sample.group == "r"
    assert sample.tags["languages"] == "en-de"


def test_every_answer_of_a_conversation_is_learnt_unless_it_says_otherwise() -> None:
    turns = (
        conversation.Turn("system", ("be brief",)),
        conversation.Turn("user", ("hello", 0)),
        conversation.Turn("assistant", ("hi",), learn=False),
        conversation.Turn("user", ("what?",)),
        conversation.Turn("assistant", ("a cat",)),
    )
    record = conversation.Record(id="r", images=(IMAGE,), turns=turns)
    sample = task("conversation", instruction="never said").sample(record)
    assert [(part.role, part.learn) for part in sample.parts] == [
        ("system", False), ("user", False), ("user", False), ("assistant", False), ("user", False), ("assistant", True)
    ]  # fmt: skip
    assert sample.parts[2].content is IMAGE
    assert sample.references == ("a cat",)
    asked = task("conversation").sample(dataclasses.replace(record, turns=turns[:4]))
    assert (asked.parts[-1].role, asked.target, asked.references) == ("assistant", "", ())
    spoken = task("conversation", instruction="be kind").sample(dataclasses.replace(record, turns=turns[1:]))
    assert spoken.parts[0].content == "be kind"


def test_all_references_are_kept_apart_from_the_answer_that_is_learnt() -> None:
    said = ("cat", "cat", "a cat")
    for name in ("vqa", "reasoning"):
        sample = task(name).sample(dataclasses.replace(RECORDS[name], references=said))
        assert sample.references == said
        assert sample.target.endswith("cat")


def test_only_a_caption_says_that_it_describes_its_pictures() -> None:
    caption = captioning.Record(id="c", images=(), captions=("a red ball",))
    question = vqa.Record(id="q", images=(), question="what ?", answers=("a ball",))
    assert captioning.Config().build().sample(caption).is_caption
    assert not vqa.Config().build().sample(question).is_caption


def test_reading_with_places_answers_with_regions() -> None:
    record = dataclasses.replace(RECORDS["reading"], with_places=True)
    sample = task("reading").sample(record)
    assert sample.prompt == "What does the sign say, and where is it?"
    assert sample.target == "[0 0 500 200] a bat\n[0 300 500 500] exit"
    assert sample.tags["type"] == "text and places"


def test_in_image_translation_keeps_the_source_and_the_target_image() -> None:
    record = dataclasses.replace(RECORDS["image_translation"], source_language="en", target_image=IMAGE)
    sample = task("image_translation").sample(record)
    assert sample.tags["source"] == "[0 0 500 200] bat"
    assert sample.tags["languages"] == "en-de"
    assert sample.target_image is IMAGE
    assert sample.media == (IMAGE,)
    without = task("image_translation", write_source=False).sample(record)
    assert without.target == "[0 0 500 200] Schläger"


@pytest.mark.parametrize("name", ["reading", "image_translation"])
def test_a_malformed_sign_is_an_error_that_names_the_record(name: str) -> None:
    record = dataclasses.replace(RECORDS[name], signs=("[0 0 500] bat",))
    with pytest.raises(DataError, match=r"signs of record 'r': .*has 3 numbers"):
        task(name).sample(record)
