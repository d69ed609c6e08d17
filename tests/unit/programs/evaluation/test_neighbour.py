"""Looking prompts up: the nearest one answers, and no picture has any part in it."""

import numpy as np
import pytest

from sightweave.core.types import Part, Sample
from sightweave.programs.evaluation.neighbour import Neighbour


def ask(prompt: str, *references: str, task: str = "vqa", kind: str = "q") -> Sample:
    return Sample(
        id=prompt, task=task, parts=(Part("user", prompt),), references=references, tags={"type": kind}
    )


def test_the_nearest_prompt_answers():
    known = Neighbour(
        [
            ask("What colour is the ball?", "red", "scarlet"),
            ask("How many cats are there?", "two"),
            ask("Where is the cat?", "left"),
        ]
    )
    asked = ["What colour is the big ball?", "how many CATS are there", "Where is the dog?", "entirely else"]
    assert known.answers([ask(text) for text in asked]) == ["red", "two", "left", "left"]  # the alphabet


def test_of_equally_near_prompts_its_own_type_then_the_commonest_answer_decides():
    train = [ask("Is it?", "no", kind="a")] * 3 + [
        ask("Is it?", "yes", kind="b"),
        ask("Is it?", "maybe", kind="b"),
        ask("Is it?", "maybe", kind="b"),
    ]
    known = Neighbour(train)
    assert known.answers([ask("Is it?", kind="b"), ask("Is it?", kind="a"), ask("Is it?", kind="c")]) == [
        "maybe",
        "no",
        "no",
    ]
    tied = Neighbour([ask("Is it?", "yes"), ask("Is it?", "no")])
    assert tied.answers([ask("Is it?")]) == ["no"]  # the alphabet


def test_each_task_has_its_own_prompts():
    known = Neighbour([ask("What is it?", "a cat", task="captioning"), ask("", task="vqa")])
    assert known.answers([ask("What is it?"), ask("What is it?", task="captioning")]) == [None, "a cat"]
    assert Neighbour([]).answers([ask("a")]) == [None]


def test_texts_without_words_are_found_too():
    known = Neighbour([ask("???", "one"), ask("!!!", "two")])
    assert known.answers([ask("!!!"), ask("???")]) == ["two", "one"]


def test_it_is_the_cosine_of_an_independent_implementation():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(30)]
    prompts = list({" ".join(rng.choice(words, size=rng.integers(1, 9))) for _ in range(200)})
    asked = [" ".join(rng.choice(words, size=6)) for _ in range(50)]
    vectors = text.TfidfVectorizer(ngram_range=(1, 2), smooth_idf=False, token_pattern=r"\w+")
    likeness = (vectors.fit_transform(prompts) @ vectors.transform(asked).T).toarray()
    found = Neighbour([ask(one, one) for one in prompts]).answers([ask(one) for one in asked])
    for column, answer in enumerate(found):
        assert likeness[prompts.index(answer), column] == pytest.approx(likeness[:, column].max(), abs=1e-9)
