"""One process agrees with itself; several are refused where they would have to talk."""

from __future__ import annotations

import pytest

from sightweave.core.errors import BackendError
from sightweave.programs.training.world import World


def test_one_process_is_the_first_and_its_values_are_all() -> None:
    alone = World()
    assert (alone.rank, alone.size, alone.is_first) == (0, 1, True)
    assert alone.mean(0.1) == 0.1
    assert alone.agree(True)
    assert not alone.agree(False)


def test_only_the_first_of_several_is_the_first() -> None:
    assert [World(rank, 3).is_first for rank in range(3)] == [True, False, False]


@pytest.mark.parametrize("ask", [lambda one: one.mean(1.0), lambda one: one.agree(True)])
def test_several_cannot_talk_yet(ask: object) -> None:
    with pytest.raises(
        BackendError, match=r"training with 2 processes is not supported yet \(this is number 1\)"
    ):
        ask(World(1, 2))  # type: ignore[operator]


@pytest.mark.parametrize(("rank", "size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_rank_that_no_process_has_is_refused(rank: int, size: int) -> None:
    with pytest.raises(ValueError, match=rf"rank of {size} processes is 0 to {size - 1} \(got {rank}\)"):
        World(rank, size)
