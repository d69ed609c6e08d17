"""Multiple choice by likelihood: how lengths are taken out, ties, and what cannot be scored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightweave.answers.metrics import choice_likelihood
from sightweave.answers.metrics.choice_likelihood import ChoiceLikelihood
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Likelihood, Sample

OPTIONS = ("red", "a dark kind of red", "blue")


def sample(*references: str, options: tuple[str, ...] = OPTIONS) -> Sample:
    return Sample(id="s1", task="vqa", parts=(), references=references, options=options)


def scores(metric: ChoiceLikelihood, likelihoods: list[Likelihood], one: Sample) -> list[list[float]]:
    return metric.rows([[likelihoods]], [one]).tolist()


def test_the_length_of_an_option_counts_as_asked() -> None:
    # By the sum the first is best, by token the second, by character the second too, but for another reason.
    given = [Likelihood(-2.0, 2), Likelihood(-4.0, 5), Likelihood(-3.0, 2)]
    found = {
        by: [scores(choice_likelihood.Config(by=by).build(), given, sample(text))[0][0] for text in OPTIONS]
        for by in choice_likelihood.WAYS
    }
    assert found == {"sum": [1, 0, 0], "token": [0, 1, 0], "character": [0, 1, 0]}
    given = [Likelihood(-0.9, 1), Likelihood(-5.0, 5), Likelihood(-1.2, 2)]
    best = {"sum": "red", "token": "blue", "character": "a dark kind of red"}
    for by, text in best.items():
        assert scores(ChoiceLikelihood(by=by), given, sample(text)) == [[1, 1]]


def test_a_tie_with_a_wrong_option_is_wrong_and_one_between_right_ones_is_right() -> None:
    metric = ChoiceLikelihood()
    same = [Likelihood(-1.0, 1), Likelihood(-2.0, 2), Likelihood(-9.0, 1)]
    assert scores(metric, same, sample("red")) == [[0, 1]]
    assert scores(metric, same, sample("red", "B")) == [[1, 1]]
    assert scores(metric, [Likelihood(-math.inf, 1)] * 3, sample("red")) == [[0, 1]]
    assert scores(metric, same[:2], sample("red", options=("red", "Red"))) == [[1, 1]]
    assert scores(metric, same, sample("red", options=("red", "red ", "blue"))) == [[1, 1]]


def test_whoever_finds_all_options_equal_gets_nothing_and_scores_are_a_share() -> None:
    metric = choice_likelihood.Config().build()
    given = [Likelihood(-1.0, 1)] * 3
    rows = metric.rows([[given], [[Likelihood(-0.5, 1), *given[1:]]]], [sample("blue"), sample("A")])
    assert rows.tolist() == [[0, 1], [1, 1]]
    assert metric.total(rows.sum(0)) == 0.5
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.rows([], []).shape == (0, 2)
    assert metric.signature([]) == "by:token"


def test_over_26_options_are_compared_too() -> None:
    options = tuple(map(str, range(40)))
    given = [Likelihood(-abs(n - 30.0), 1) for n in range(40)]
    assert scores(ChoiceLikelihood(), given, sample("30", options=options)) == [[1, 1]]


def test_all_options_are_candidates_whatever_was_written() -> None:
    assert ChoiceLikelihood().candidates(None, sample("red")) == OPTIONS
    assert ChoiceLikelihood().passes == ("image",)


def test_what_cannot_be_scored_is_refused() -> None:
    metric = ChoiceLikelihood()
    given = [[[Likelihood(-1.0, 1)] * 3]]
    with pytest.raises(DataError, match=r"1 of 1 samples have no options, .*'s1'.*use exact_match"):
        metric.rows([[[]]], [sample("red", options=())])
    with pytest.raises(DataError, match="1 of 1 samples have no reference answer"):
        metric.rows(given, [sample()])
    with pytest.raises(DataError, match="reference 'green' of sample 's1' is not one of its options"):
        metric.rows(given, [sample("green")])
    with pytest.raises(DataError, match=r"3 likelihood\(s\) for 2 candidate\(s\)"):
        metric.rows(given, [sample("red", options=("red", "blue"))])
    with pytest.raises(DataError, match="no number"):
        metric.rows([[[Likelihood(math.nan, 1)] * 3]], [sample("red")])
    with pytest.raises(RecipeError, match="Did you mean 'token'"):
        ChoiceLikelihood(by="tokens")  # type: ignore[arg-type]  # the mistake itself
