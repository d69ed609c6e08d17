"""Occlusion: the windows, and how the falls of overlapping ones are averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample

from sightweave.answers.attribution.question import Inputs, Question, Wanted
from sightweave.answers.explainers.occlusion import Occlusion
from sightweave.programs.explanation import _with_answer

PROMPT = sample("one", picture(1), "what colour ?")


@pytest.fixture(scope="module")
def question() -> Question:
    model, processor = compose(Case("concat", (), "decoder_only"), encoder="vit")
    ids = processor.tokenizer.answer_ids("red")[:-1]
    return Question(model, processor, _with_answer(processor, PROMPT, ids), [Wanted(0, ids[0])])


@torch.no_grad()
def fall(question: Question, is_out: torch.Tensor) -> float:
    """The fall of the score when these places, bool rows columns, are grey."""
    own, grey = question.own(), question.absent()
    side = question.media[0].values.shape[1] // len(is_out)
    pixels = is_out.repeat_interleave(side, 0).repeat_interleave(side, 1)
    changed = Inputs([torch.where(pixels, grey.media[0], own.media[0])], own.words)
    before, after = question.scores([own, changed]).tolist()
    return before - after


@pytest.mark.parametrize(
    ("window", "stride", "corners"),
    [
        ((4, 4), (4, 4), [(0, 0)]),
        ((2, 4), (2,), [(0, 0), (2, 0)]),
        ((3,), (2,), [(0, 0), (0, 2), (2, 0), (2, 2)]),
        ((9,), (1,), [(0, 0)]),
    ],
)
def test_a_place_has_the_mean_fall_of_the_windows_that_cover_it(
    question: Question, window: tuple[int, ...], stride: tuple[int, ...], corners: list[tuple[int, int]]
) -> None:
    rows, columns = window * 2 if len(window) == 1 else window
    total, count = torch.zeros(4, 4), torch.zeros(4, 4)
    for row, column in corners:
        mask = torch.zeros(4, 4, dtype=torch.bool)
        mask[row : row + rows, column : column + columns] = True
        total[mask] += fall(question, mask)
        count[mask] += 1
    assert count.min() >= 1

    found = Occlusion(window=window, stride=stride, batch_size=3).attribute(question)
    torch.testing.assert_close(found.media[0].view(4, 4), total / count, atol=1e-4, rtol=1e-4)


def test_each_token_is_replaced_alone(question: Question) -> None:
    found = Occlusion().attribute(question)
    assert found.words is not None
    own = question.own()
    with torch.no_grad():
        for index in (0, len(question.words) - 1):
            words = question.words.clone()
            words[index] = question.mean_word
            before, after = question.scores([own, Inputs(own.media, words)]).tolist()
            assert float(found.words[index]) == pytest.approx(before - after, abs=1e-4)


def test_the_batch_size_changes_nothing(question: Question) -> None:
    one, many = (Occlusion(batch_size=size, baseline="mean").attribute(question) for size in (1, 50))
    np.testing.assert_allclose(one.media[0], many.media[0], atol=1e-4)
    np.testing.assert_allclose(one.words, many.words, atol=1e-4)
    assert float(one.media[0].abs().max()) > 1e-3
