"""Random numbers of rows: reproducible, of a row alone, uniform and independent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sightweave.answers.decoding._base import Draws


def names(count: int) -> list[list[str]]:
    """Of prompts that differ."""
    return [[f"prompt {number}"] for number in range(count)]


def test_the_numbers_are_those_of_splitmix64() -> None:
    # The first outputs of the reference implementation (https://prng.di.unimi.it/splitmix64.c) for the seed 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    draws = Draws(np.array([1234567], dtype=np.uint64))
    found = [float(draws.at(step).uniform()) for step in range(len(expected))]
    assert found == [(number >> 11) * 2.0**-53 for number in expected]


def test_a_row_draws_the_same_alone_among_others_and_in_any_order() -> None:
    every = Draws.of(7, names(50)).at(3).uniform()
    assert Draws.of(7, names(50)[20:30]).at(3).uniform().tolist() == every[20:30].tolist()
    assert Draws.of(7, names(50)[::-1]).at(3).uniform().tolist() == every.flip(0).tolist()
    chosen = torch.tensor([4, 0, 9])
    assert Draws.of(7, names(50)).at(3).select(chosen).uniform().tolist() == every[chosen].tolist()


def test_rows_that_join_later_begin_with_their_first_number_and_keep_their_step() -> None:
    early, late = Draws.of(7, names(50)[:20]), Draws.of(7, names(50)[20:])
    alone = [[float(x) for x in Draws.of(7, names(50)).at(step).uniform()] for step in range(8)]
    draws = early.at(3).joined(late)
    for step in range(3):
        found = draws.uniform().tolist()
        assert found[:20] == alone[3 + step][:20]
        assert found[20:] == alone[step][20:]
        draws = draws.next()
    chosen = torch.tensor([40, 3])
    assert draws.select(chosen).uniform().tolist() == [alone[3][40], alone[6][3]]
    assert draws.select(chosen).next().uniform().tolist() == [alone[4][40], alone[7][3]]


def test_equal_names_other_seeds_steps_and_rows_of_one_prompt_draw_differently() -> None:
    streams = [Draws.of(seed, [["same"]] * 100, width=3) for seed in (0, 1)]
    numbers = [float(x) for one in streams for step in range(5) for x in one.at(step).uniform()]
    assert len(set(numbers)) == 2 * 100 * 3 * 5
    # The first of equal ones draws as it would alone.
    assert float(streams[0].uniform()[0]) == float(Draws.of(0, [["same"]]).uniform())


@pytest.mark.parametrize("over", ["rows", "steps", "equal prompts"])
def test_numbers_are_uniform_and_uncorrelated(over: str) -> None:
    if over == "steps":
        draws = Draws.of(0, [["one"]])
        found = torch.cat([draws.at(step).uniform() for step in range(20_000)])
    else:
        found = Draws.of(0, names(20_000) if over == "rows" else [["same"]] * 20_000).uniform()
    counts = torch.histc(found.float(), bins=20, min=0, max=1).double()
    # The 99.9th percentile of chi-square with 19 degrees of freedom.
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.8
    together = np.corrcoef(found[:-1].numpy(), found[1:].numpy())[0, 1]
    assert abs(together) < 3.3 / len(found) ** 0.5
