"""Explanations: which tokens a word has, what it is compared with, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample

from sightweave.core.errors import DataError, RecipeError
from sightweave.core.explanation import Explanation
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs.explanation import explain
from sightweave.programs.generation import generate

GENERATES = Case("concat", (), "decoder_only")
CLASSIFIES = Case("bilinear", (), "encoder_only")
PROMPT = sample("one", picture(1), "what colour is the ball ?")


@pytest.fixture(scope="module")
def made() -> tuple[VLM, Processor]:
    return compose(GENERATES, encoder="vit")


@pytest.fixture(scope="module")
def classifier() -> tuple[VLM, Processor]:
    return compose(CLASSIFIES, encoder="vit")


def logits(model: VLM, processor: Processor, answer: str) -> torch.Tensor:
    with torch.inference_mode():
        found: Any = model(
            processor.batch([sample("one", picture(1), "what colour is the ball ?", answer=answer)])
        )
    assert found.logits is not None
    return found.logits.double()


def log_odds(row: torch.Tensor, index: int) -> float:
    p = row.softmax(-1)[index]
    return float(torch.log(p / (1 - p)))


def test_the_score_is_the_log_odds_of_the_words_tokens(made: tuple[VLM, Processor]) -> None:
    answer = "it is blue , a blue box"
    ids = made[1].tokenizer.answer_ids(answer)
    rows = logits(*made, answer)
    each = [log_odds(row, index) for row, index in zip(rows, ids, strict=True)][:-1]  # not the end token

    whole = explain(*made, PROMPT, answer=answer)
    assert whole.score == pytest.approx(sum(each), abs=1e-4)
    assert whole.word is None
    words = [explain(*made, PROMPT, answer=answer, word=word).score for word in ("it", "is", "box")]
    assert sum(words) != pytest.approx(whole.score)
    assert (
        explain(*made, PROMPT, answer=answer, word="box").score == pytest.approx(each[-1], abs=1e-4)
        or len(ids) > 8
    )


def test_a_word_is_a_whole_word_before_it_is_a_part_of_one(made: tuple[VLM, Processor]) -> None:
    part = explain(*made, PROMPT, answer="colours a colour", word="colour")
    whole = explain(*made, PROMPT, answer="colours a colour", word="a colour")
    last = explain(*made, PROMPT, answer="colours a colour", word="a")
    assert part.score + last.score == pytest.approx(whole.score, abs=1e-4)
    # In writing without spaces, a word is a part of the text.
    assert explain(*made, PROMPT, answer="colours", word="colour").word == "colour"


def test_against_compares_the_first_tokens_that_differ(made: tuple[VLM, Processor]) -> None:
    tokenizer = made[1].tokenizer
    answer, other = "the ball is red", "the ball is blue"
    one, two = tokenizer.answer_ids(answer), tokenizer.answer_ids(other)
    place = next(n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    row = logits(*made, answer)[place]
    expected = float(row[one[place]] - row[two[place]])

    word = explain(*made, PROMPT, answer=answer, word="red", against="blue")
    whole = explain(*made, PROMPT, answer=answer, against=other)
    assert word.score == pytest.approx(expected, abs=1e-4)
    assert whole.score == pytest.approx(expected, abs=1e-4)
    back = explain(*made, PROMPT, answer=other, against=answer)
    assert back.score == pytest.approx(-expected, abs=1e-4)
    np.testing.assert_allclose(back.media[0].values, -whole.media[0].values, atol=1e-4)


def test_a_shorter_answer_is_compared_by_its_end(made: tuple[VLM, Processor]) -> None:
    tokenizer = made[1].tokenizer
    shorter, longer = "the ball", "the ball is red"
    row = logits(*made, longer)[len(tokenizer.answer_ids(shorter)) - 1]
    expected = float(
        row[tokenizer.end_id] - row[tokenizer.answer_ids(longer)[len(tokenizer.answer_ids(shorter)) - 1]]
    )
    assert explain(*made, PROMPT, answer=shorter, against=longer).score == pytest.approx(expected, abs=1e-4)
    assert explain(*made, PROMPT, answer=longer, against=shorter).score == pytest.approx(-expected, abs=1e-4)


def test_without_an_answer_the_models_own_is_explained(made: tuple[VLM, Processor]) -> None:
    (said,) = generate(*made, [PROMPT])
    found = explain(*made, PROMPT, "attention")
    assert found.answer == said.text
    (media,) = found.media
    assert media.name == "picture-1"


def test_a_classifier_explains_an_answer_of_its_list(classifier: tuple[VLM, Processor]) -> None:
    with torch.inference_mode():
        row = classifier[0](classifier[1].batch([PROMPT])).logits[0].double()
    (said,) = generate(*classifier, [PROMPT])
    assert explain(*classifier, PROMPT).answer == said.text
    blue = explain(*classifier, PROMPT, answer="blue")
    assert blue.score == pytest.approx(log_odds(row, 1), abs=1e-4)
    assert explain(*classifier, PROMPT, answer="blue", against="two").score == pytest.approx(
        float(row[1] - row[2]), abs=1e-4
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"answer": "the ball is red", "word": "cat"}, "answer 'the ball is red' has no word 'cat'"),
        ({"answer": "the ball is red", "word": " "}, "the word is empty"),
        ({"answer": "  "}, "the answer is empty; give at least one word"),
        ({"answer": "red", "against": "red"}, "against is 'red', which gives the answer 'red' itself"),
        (
            {"answer": "a red ball", "word": "red", "against": "red"},
            "which gives the answer 'a red ball' itself",
        ),
    ],
)
def test_wrong_words_are_refused(made: tuple[VLM, Processor], options: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        explain(*made, PROMPT, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"answer": "green"},
            "'green' is not among the 3 answers that this model chooses from: 'red', 'blue', 'two'",
        ),
        ({"answer": "red", "against": "green"}, "'green' is not among the 3 answers"),
        ({"answer": "red", "against": "red"}, "against is 'red', which is the answer itself"),
        ({"answer": "red", "word": "blue"}, "answer 'red' has no word 'blue'"),
    ],
)
def test_answers_outside_a_classifiers_list_are_refused(
    classifier: tuple[VLM, Processor], options: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        explain(*classifier, PROMPT, **options)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("relevance", "Did you mean 'relevancy'"),
        ({"kind": "occlusion", "windows": [2]}, "windows"),
        ({"kind": "occlusion", "window": [0]}, "window, stride and batch_size must be 1 or more"),
        ({"kind": "occlusion", "stride": [2]}, "stride .2,. is larger than window .1,."),
        (
            {"kind": "occlusion", "window": [2, 2, 2]},
            "has 3 axes, but the places of 'picture-1' have 2 .4 x 4.",
        ),
        ({"kind": "integrated_gradients", "steps": 0}, "steps and batch_size must be 1 or more"),
        ({"kind": "gradient_x_input", "baseline": "zeros"}, "baseline"),
    ],
)
def test_wrong_methods_and_settings_are_refused(made: tuple[VLM, Processor], method: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        explain(*made, PROMPT, method, answer="red")


def test_an_empty_answer_of_the_model_is_refused() -> None:
    model, processor = compose(GENERATES)
    with torch.no_grad():  # the end token is always the likeliest
        model.language_model.norm.weight.zero_()
        model.language_model.output = torch.nn.Linear(
            model.language_model.dim, processor.tokenizer.vocab_size
        )
        model.language_model.output.bias[processor.tokenizer.end_id] = 9.0
    with pytest.raises(DataError, match="the model's answer is empty"):
        explain(model, processor, PROMPT)


def test_values_that_are_not_finite_are_refused() -> None:
    model, processor = compose(GENERATES)
    with torch.no_grad():
        next(model.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(DataError, match="occlusion gave values that are not finite"):
        explain(model, processor, PROMPT, answer="red")


def test_an_explanation_needs_no_gradients_of_the_callers(made: tuple[VLM, Processor]) -> None:
    expected = explain(*made, PROMPT, "relevancy", answer="red")
    with torch.inference_mode():
        found: Explanation = explain(*made, PROMPT, "relevancy", answer="red")
    np.testing.assert_array_equal(found.media[0].values, expected.media[0].values)


def test_tiles_have_maps_of_their_own() -> None:
    from dataclasses import replace

    from sightweave.data.inputs.tiles import Tiles

    model, processor = compose(GENERATES, encoder="vit")
    tiled = replace(processor, tiles=Tiles(max_tiles=4))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    prompt = sample("large", picture(1).__class__(pixels, key="large"), "what is it ?")
    found = explain(model, tiled, prompt, "relevancy", answer="red")
    assert [one.name for one in found.media][:2] == ["large", "large#tile0,0/2x2"]
    assert all(one.values.max() > 0 for one in found.media)
