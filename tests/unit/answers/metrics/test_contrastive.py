"""Contrastive accuracy: what counts, that ties are wrong, and that whoever does not look gets half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import commute as written
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.answers.metrics import contrastive
from sightweave.answers.metrics.contrastive import Contrastive
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Part, Sample
from sightweave.data.datasets import commute
from sightweave.data.tasks import translation


def sample(right: str = "banque", wrong: str = "rive", prompt: str = "A bank.", name: str = "s1") -> Sample:
    return Sample(
        id=name,
        task="translation",
        parts=(Part("user", prompt),),
        references=(right,),
        group=name,
        tags={"contrast": wrong} if wrong else {},
    )


def judged(*pairs: tuple[Likelihood, Likelihood]) -> list[list[list[Likelihood]]]:
    return [[list(pair)] for pair in pairs]


def blind_scores(samples: list[Sample], judge: Any) -> float:
    """The score of whoever judges a text by the prompt alone."""
    metric = contrastive.Config().build()
    found = [[[judge(one.prompt, text) for text in metric.candidates(None, one)]] for one in samples]
    return float(metric.total(metric.rows(found, samples).sum(0)))


def test_likelihood_per_token_decides() -> None:
    metric = contrastive.Config().build()
    rows = metric.rows(
        judged(
            (Likelihood(-3.0, 6), Likelihood(-2.0, 2)),  # the longer text is less likely, but not by token
            (Likelihood(-2.0, 2), Likelihood(-3.0, 6)),
            (Likelihood(-2.0, 2), Likelihood(-3.0, 3)),  # a tie
            (Likelihood(-np.inf, 2), Likelihood(-np.inf, 3)),
        ),
        [sample()] * 4,
    )
    assert rows.tolist() == [[1, 1], [0, 1], [0, 1], [0, 1]]
    assert metric.total(rows.sum(0)) == 0.25


def test_candidates_are_the_first_reference_and_the_contrast() -> None:
    metric = Contrastive()
    several = Sample(id="x", task="translation", parts=(), references=("a", "b"), tags={"contrast": "c"})
    assert metric.candidates("anything", several) == ("a", "c")
    assert metric.candidates(None, sample(wrong="")) == ()
    assert metric.passes == ("image",)
    rows = metric.rows(
        [[[]], *judged((Likelihood(-1.0, 1), Likelihood(-2.0, 1)))], [sample(wrong=""), sample()]
    )
    assert rows.tolist() == [[0, 0], [1, 1]]
    assert np.isnan(metric.total(rows[0]))


def test_what_cannot_be_scored_is_refused() -> None:
    metric = Contrastive()
    with pytest.raises(DataError, match="contrastive: none of 1 samples has a tag 'contrast'"):
        metric.rows([[[]]], [sample(wrong="")])
    bare = Sample(id="s2", task="translation", parts=(), tags={"contrast": "rive"})
    assert metric.candidates(None, bare) == ()
    with pytest.raises(DataError, match=r"1 ambiguous sentence\(s\) have no reference translation.*'s2'"):
        metric.rows([[[]]], [bare])
    with pytest.raises(DataError, match=r"1 likelihood\(s\) for 2 candidate\(s\)"):
        metric.rows([[[Likelihood(-1.0, 1)]]], [sample()])
    with pytest.raises(DataError, match="NaN"):
        metric.rows(judged((Likelihood(float("nan"), 1), Likelihood(-1.0, 1))), [sample()])
    assert metric.rows([], []).shape == (0, 2)


def test_whoever_does_not_look_gets_half_of_a_set_on_disk(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    table = commute.Config(path=str(path)).build(split="test")
    task = translation.Config().build()
    samples = [task.sample(record) for group in table for record in group]
    assert len(samples) == 6
    assert blind_scores(samples, lambda prompt, text: Likelihood(-float(len(text)), 1)) == 0.5

    def ties(prompt: str, text: str) -> Likelihood:
        return Likelihood(-1.0 if "French" in prompt else -float(len(text)), 1)

    assert blind_scores(samples, ties) == pytest.approx(1 / 6)  # of the four French ones, none


LIKELIHOODS = st.builds(Likelihood, st.floats(-50, 0), st.integers(1, 9))


@settings(deadline=None)
@given(st.lists(st.tuples(LIKELIHOODS, LIKELIHOODS), min_size=1, max_size=8))
def test_whoever_does_not_look_gets_half_less_ties(texts: list[tuple[Likelihood, Likelihood]]) -> None:
    samples, known = [], {}
    for number, pair in enumerate(texts):
        prompt = f"sentence {number}"
        for side, (right, wrong) in enumerate((("a", "b"), ("b", "a"))):
            samples.append(sample(right, wrong, prompt, name=f"{number}/{side}"))
        known[prompt] = dict(zip("ab", pair, strict=True))
    ties = sum(first.per_token == second.per_token for first, second in texts)
    found = blind_scores(samples, lambda prompt, text: known[prompt][text])
    assert found == (len(texts) - ties) / (2 * len(texts))
