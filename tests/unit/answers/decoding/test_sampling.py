"""Cuts against a plain reference, and draws against their chances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.answers.decoding._base import Draws
from sightweave.answers.decoding.sampling import Config, Sampling


def draws(rows: int, seed: int = 1) -> Draws:
    """Streams of so many rows."""
    return Draws.of(seed, [["prompt"]] * rows)


def plain_cut(logits: list[float], top_k: int, top_p: float) -> set[int]:
    """Indices that stay: the k likeliest, and of those the fewest that reach p."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if top_k:
        order = order[:top_k]
    total = sum(math.exp(logits[i]) for i in order)
    kept, reached = set(), 0.0
    for index in order:
        kept.add(index)
        reached += math.exp(logits[index]) / total
        if reached >= top_p - 1e-6:
            break
    return kept


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=12, unique=True),
    st.integers(0, 14),
    st.sampled_from([0.05, 0.3, 0.513, 0.9, 0.99, 1.0]),
)
def test_the_cut_is_the_plain_one(values: list[int], top_k: int, top_p: float) -> None:
    logits = [value / 10 for value in values]
    found = Sampling(top_k=top_k, top_p=top_p).cut(torch.tensor([logits, logits[::-1]]))
    kept = {i for i, x in enumerate(found[0].tolist()) if x > -math.inf}
    assert kept == plain_cut(logits, top_k, top_p)
    assert found[0].flip(0).tolist() == found[1].tolist()
    assert all(found[0, i] == torch.tensor(logits[i]) for i in kept)


def test_draws_follow_the_chances_and_report_the_models_own() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(4000, -1)
    choice = Sampling(temperature=2.0).choose(logits, torch.zeros(4000, dtype=torch.bool), draws(4000))
    shares = torch.bincount(choice.ids, minlength=3) / 4000
    torch.testing.assert_close(shares, (logits[0] / 2).softmax(-1), atol=0.03, rtol=0)
    torch.testing.assert_close(choice.logprobs, logits[0].log_softmax(-1)[choice.ids])
    assert choice.rows is None


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 5e-324])
def test_near_no_temperature_the_likeliest_is_drawn(temperature: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [500.0, -500.0, 0.0]])
    choice = Sampling(temperature=temperature).choose(logits, torch.zeros(2, dtype=torch.bool), draws(2))
    assert choice.ids.tolist() == [1, 0]


def test_one_kept_token_is_greedy() -> None:
    logits = torch.randn(50, 9)
    for method in (Sampling(top_k=1), Sampling(top_p=1e-9)):
        choice = method.choose(logits, torch.zeros(50, dtype=torch.bool), draws(50))
        assert torch.equal(choice.ids, logits.argmax(-1))


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.5}, {"top_k": 5}, {"top_p": 0.7}], ids=str)
@pytest.mark.parametrize("step", [0, 11])
def test_frequencies_are_those_of_the_softmax_after_the_cut(fields: dict[str, float], step: int) -> None:
    rows = 20_000
    method = Config(**fields).build(end_id=0)
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(step)).expand(rows, -1)
    found = method.choose(logits, torch.zeros(rows, dtype=torch.bool), draws(rows).at(step)).ids
    counts = torch.bincount(found, minlength=12).double()
    expected = rows * method.cut(logits[:1] / method.temperature).softmax(-1)[0].double()
    assert not counts[expected == 0].any()
    kept = expected > 0
    chi_square = float(((counts - expected)[kept] ** 2 / expected[kept]).sum())
    # The 99.9th percentile of chi-square with 11 degrees of freedom; those cut have fewer.
    assert chi_square < 31.3


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(1000, -1)
    choice = Sampling().choose(logits, torch.zeros(1000, dtype=torch.bool), draws(1000))
    assert set(choice.ids.tolist()) == {1}


class Edge(Draws):
    """Streams that give the largest number below 1."""

    def uniform(self) -> torch.Tensor:
        return torch.full((len(self.keys),), 1 - 2.0**-53, dtype=torch.float64)


def test_the_largest_random_number_takes_the_last_token_with_probability() -> None:
    logits = torch.tensor([[1.0, 2.0, -torch.inf]])
    choice = Sampling().choose(logits, torch.zeros(1, dtype=torch.bool), Edge(draws(1).keys))
    assert choice.ids.tolist() == [1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": 0.0}, "temperature must be above 0 \\(got 0.0\\); use greedy"),
        ({"temperature": -1.0}, "temperature must be above 0"),
        ({"top_k": -1}, "top_k must be 0 \\(all\\) or more \\(got -1\\)"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1 \\(got 0.0\\)"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config(**fields).build(end_id=0)
