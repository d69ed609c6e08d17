"""Batches that fit: by rows, by tokens where they are given, and by memory."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import Case, compose

from sightweave.programs.budget import Budget, Shape

CPU = torch.device("cpu")
SHAPE = Shape(dim=576, depth=30, heads=9, vocab_size=49_152, kv_dim=192)
"""Of SmolLM2-135M."""


def lengths(number: int) -> tuple[int, int]:
    return number, number


@pytest.mark.parametrize(
    ("rows", "tokens", "expected"),
    [
        (100, 40, [[1, 2, 3, 4], [10, 10, 10], [50], [5]]),
        (2, 40, [[1, 2], [3, 4], [10, 10], [10], [50], [5]]),
        (100, 1, [[1], [2], [3], [4], [10], [10], [10], [50], [5]]),
        (100, 10_000, [[1, 2, 3, 4, 10, 10, 10, 50, 5]]),
    ],
)
def test_rows_times_the_longest_stay_within_the_tokens(
    rows: int, tokens: int, expected: list[list[int]]
) -> None:
    budget = Budget(SHAPE, CPU, rows=rows, tokens=tokens)
    assert list(budget.batches([1, 2, 3, 4, 10, 10, 10, 50, 5], lengths)) == expected


def test_long_prompts_are_read_fewer_at_once() -> None:
    budget = Budget(SHAPE, CPU, rows=256)
    budget.bytes = 2 << 30
    fit = budget.rows(746, 650)
    assert fit < 64
    assert fit * SHAPE.bytes_per_row(746, 650) <= 2 << 30
    assert budget.rows(40, 30) > 4 * fit
    assert budget.rows(746, 650, each=4) <= fit / 4
    assert budget.rows(10**7, 10**7) == 1


def test_all_batches_at_one_time_share_what_is_free() -> None:
    alone, shared = Budget(SHAPE, CPU, rows=8).bytes, Budget(SHAPE, CPU, rows=8, batches=4).bytes
    assert 0 < shared <= alone
    assert 4 * shared <= 2 << 30


def test_what_is_halved_holds_for_later_batches() -> None:
    budget = Budget(SHAPE, CPU, rows=100, tokens=40)
    found = budget.batches([10] * 8, lengths)
    assert len(next(found)) == 4
    budget.halve()
    assert [len(one) for one in found] == [2, 2]


@pytest.mark.parametrize("kind", ["decoder_only", "encoder_decoder", "encoder_only"])
def test_the_width_of_keys_is_read_off_the_model(kind: str) -> None:
    model, _ = compose(Case("concat", (), kind))
    shape = Shape.of(model.language_model)
    assert 0 < shape.kv_dim <= shape.dim
    assert shape.bytes_per_row(20, 10) > shape.bytes_per_row(10, 10) > shape.bytes_per_row(10, 5)
