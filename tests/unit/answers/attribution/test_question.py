"""Questions: the inputs of a model, changed one by one, and what they score."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contracts._compose import CASES, Case, compose, picture, sample

from sightweave.answers.attribution.question import Inputs, Question, Wanted
from sightweave.programs.explanation import _with_answer

PROMPT = sample("both", "compare this picture", picture(6), "with that one", picture(7))


def asked(case: Case, encoder: str = "vit") -> Question:
    model, processor = compose(case, encoder=encoder)
    if case.form == "classify":
        return Question(model, processor, _with_answer(processor, PROMPT, []), [Wanted(0, 1)])
    ids = processor.tokenizer.answer_ids("a blue box")[:-1]
    return Question(model, processor, _with_answer(processor, PROMPT, ids), [Wanted(1, ids[1])])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_own_inputs_score_what_the_models_batch_scores(case: Case) -> None:
    question = asked(case)
    with torch.no_grad():
        logits = question.model(question.batch, at=question.at).logits
        expected = question.score(logits[None])
        own, by_features = question.own(), question.own(are_features=True)
        plain = dataclasses.replace(own, words=None)
        found = question.scores([own, plain, own])
        torch.testing.assert_close(found, expected.expand(3), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(question.scores([by_features]), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_read_together_score_what_each_scores_alone(case: Case) -> None:
    question = asked(case)
    own, absent = question.own(), question.absent()
    rows = [
        own,
        Inputs([absent.media[0], own.media[1]], own.words),
        Inputs([own.media[1], own.media[1]], own.words),
        Inputs(own.media, absent.words),
        absent,
    ]
    with torch.no_grad():
        together = question.scores(rows)
        alone = torch.cat([question.scores([one]) for one in rows])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert len({round(float(one), 5) for one in together}) == len(rows)


def test_a_blank_medium_is_grey_and_an_absent_word_is_the_mean_of_all() -> None:
    question = asked(Case("concat", (), "decoder_only"))
    absent = question.absent()
    for one in absent.media:
        assert float((one - one.mean((1, 2), keepdim=True)).abs().max()) < 1e-5
    table = question.model.language_model.token_embedding(
        torch.arange(question.processor.tokenizer.vocab_size)
    )
    torch.testing.assert_close(absent.words, table.mean(0).expand_as(absent.words))
    assert float(absent.words.abs().max()) > 0
    means = question.absent(are_features=True).media[0]
    torch.testing.assert_close(means, question.features[0].mean(0).expand_as(means))


def test_tokens_are_those_of_the_prompt_without_the_places_of_media() -> None:
    question = asked(Case("concat", (), "decoder_only"))
    assert len(question.tokens) == len(question.text_ids) == len(question.words)
    joined = "".join(question.tokens)
    assert "compare this picture" in joined
    assert "with that one" in joined
    assert "blue" not in joined


def test_the_score_does_not_saturate_when_the_model_is_certain() -> None:
    question = asked(Case("concat", (), "decoder_only"))
    logits = torch.zeros(1, 1, 5)
    logits[0, 0, 2] = 80.0
    one = Question.__new__(Question)
    one.wanted = [Wanted(0, 2)]
    assert float(question.score.__func__(one, logits)) == pytest.approx(80 - 1.386, abs=1e-2)
    one.wanted = [Wanted(0, 2, against=1)]
    assert float(question.score.__func__(one, logits)) == pytest.approx(80)
