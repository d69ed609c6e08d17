"""Integrated gradients: the sum of the values, and the number of steps."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import Case, compose, picture, sample

from sightweave.answers.attribution.question import Question, Wanted
from sightweave.answers.explainers._base import Baseline
from sightweave.answers.explainers.gradient_x_input import GradientXInput
from sightweave.answers.explainers.integrated_gradients import IntegratedGradients
from sightweave.programs.explanation import _with_answer


@pytest.fixture(scope="module")
def question() -> Question:
    model, processor = compose(Case("cross_attention", (), "decoder_only"), encoder="cnn")
    ids = processor.tokenizer.answer_ids("red")[:-1]
    encoded = _with_answer(processor, sample("one", picture(1), "what colour ?"), ids)
    return Question(model, processor, encoded, [Wanted(0, ids[0])])


@pytest.mark.parametrize("baseline", ["grey", "mean"])
def test_the_values_add_up_to_the_difference_from_the_baseline(
    question: Question, baseline: Baseline
) -> None:
    found = IntegratedGradients(baseline=baseline).attribute(question)
    are_features = baseline == "mean"
    with torch.no_grad():
        ends = [question.own(are_features=are_features), question.absent(are_features=are_features)]
        after, before = question.scores(ends).tolist()
    total = float(found.media[0].sum() + found.words.sum())
    assert total == pytest.approx(after - before, rel=0.01)
    assert found.completeness_error == pytest.approx(
        abs(total - after + before) / abs(after - before), abs=1e-3
    )
    assert found.completeness_error < 0.01


def test_steps_are_doubled_until_the_error_is_small(question: Question) -> None:
    coarse = IntegratedGradients(steps=1, tolerance=1e9).attribute(question)
    refined = IntegratedGradients(steps=1, tolerance=0.001).attribute(question)
    limited = IntegratedGradients(steps=1, tolerance=0.0, max_steps=2).attribute(question)
    assert coarse.completeness_error > 0.001 >= refined.completeness_error
    assert limited.completeness_error > 0.0
    two = IntegratedGradients(steps=2, tolerance=1e9).attribute(question)
    assert torch.equal(limited.media[0], two.media[0])


def test_the_batch_size_changes_nothing(question: Question) -> None:
    one, many = (
        IntegratedGradients(steps=7, tolerance=1e9, batch_size=size).attribute(question) for size in (1, 5)
    )
    torch.testing.assert_close(one.media[0], many.media[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.words, many.words, atol=1e-5, rtol=1e-4)


def test_gradient_times_input_adds_up_to_the_slope_towards_the_baseline(question: Question) -> None:
    found = GradientXInput().attribute(question)
    own, grey = question.own(), question.absent()

    # The derivative by the distance itself: differences of scores would drown in rounding.
    distance = torch.zeros((), requires_grad=True)
    with torch.enable_grad():
        near = [torch.lerp(one, other, distance) for one, other in zip(own.media, grey.media, strict=True)]
        score = question.scores([type(own)(near, own.words)]).sum()
    (slope,) = torch.autograd.grad(score, distance)
    assert float(found.media[0].sum()) == pytest.approx(-float(slope), rel=0.01)
