"""Who may look at whom, drawn: rows look at columns."""

from __future__ import annotations

import pytest
import torch

from sightweave.core.batch import Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.nn.mask import Mask, allowed, memory_mask, self_mask


def tokens(
    ar: list[int],
    segment: list[int] | None = None,
    branch: list[int] | None = None,
    valid: list[int] | None = None,
    plain: bool = False,
) -> TokenSequence:
    row = torch.tensor([ar])
    zeros = torch.zeros_like(row)

    def vector(values: list[int] | None, fill: int) -> torch.Tensor:
        return zeros + fill if values is None else torch.tensor([values])

    return TokenSequence(
        ids=zeros,
        labels=zeros - 100,
        positions=zeros,
        item=zeros - 1,
        ar=row,
        segment=vector(segment, 0),
        branch=vector(branch, 0),
        valid=vector(valid, 1).bool(),
        plain=plain,
    )


def drawn(table: torch.Tensor) -> list[str]:
    return ["".join("x" if seen else "." for seen in row) for row in table.tolist()]


CASES = {
    "causal": (
        tokens([1, 1, 1, 1]),
        "x...",
        "xx..",
        "xxx.",
        "xxxx",
    ),
    "bidirectional": (
        tokens([0, 0, 0, 0]),
        "xxxx",
        "xxxx",
        "xxxx",
        "xxxx",
    ),
    "prefix": (
        tokens([0, 0, 1, 1]),
        "xx..",
        "xx..",
        "xxx.",
        "xxxx",
    ),
    "a picture's marks see one another inside causal text": (
        tokens([1, 1, 0, 0, 1]),
        "x....",
        "xxxx.",
        "xxxx.",
        "xxxx.",
        "xxxxx",
    ),
    "two pictures do not see ahead into each other": (
        tokens([1, 0, 1, 0, 1]),
        "xx...",
        "xx...",
        "xxxx.",
        "xxxx.",
        "xxxxx",
    ),
    "two segments": (
        tokens([1, 1, 1, 1, 1], segment=[0, 0, 0, 1, 1]),
        "x....",
        "xx...",
        "xxx..",
        "...x.",
        "...xx",
    ),
    "a trunk with two branches": (
        tokens([1, 1, 1, 1, 1, 1], branch=[0, 0, 1, 1, 2, 2]),
        "x.....",
        "xx....",
        "xxx...",
        "xxxx..",
        "xx..x.",
        "xx..xx",
    ),
    "a trunk read both ways, with branches read as blocks": (
        tokens([0, 0, 1, 0, 1, 0], branch=[0, 0, 1, 1, 2, 2]),
        "xx....",
        "xx....",
        "xxxx..",
        "xxxx..",
        "xx..xx",
        "xx..xx",
    ),
    "branches inside the second segment": (
        tokens([1, 1, 1, 1, 1], segment=[0, 0, 1, 1, 1], branch=[0, 1, 0, 1, 2]),
        "x....",
        "xx...",
        "..x..",
        "..xx.",
        "..x.x",
    ),
    "padding sees itself, so that no row is empty, and nobody sees it": (
        tokens([1, 1, 1, 1], segment=[0, 0, -1, -1], valid=[1, 1, 0, 0]),
        "x...",
        "xx..",
        "..x.",
        "...x",
    ),
    "padding behind a bidirectional text": (
        tokens([0, 0, 1], segment=[0, 0, -1], valid=[1, 1, 0]),
        "xx.",
        "xx.",
        "..x",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_truth_table(name: str) -> None:
    sequence, *expected = CASES[name]
    assert drawn(allowed(sequence)[0]) == expected
    mask = self_mask(sequence)
    assert not mask.causal
    assert drawn(mask.dense[0, 0]) == expected


def test_plain_causal_rows_need_no_mask() -> None:
    mask = self_mask(tokens([1, 1, 1], plain=True))
    assert mask.causal
    assert mask.dense is None
    assert mask.bias(torch.float32) is None


def test_the_mask_as_numbers_to_add() -> None:
    mask = self_mask(tokens([0, 1]))
    assert mask.bias(torch.float32).tolist() == [[[[0.0, -torch.inf], [0.0, 0.0]]]]
    assert mask.bias(torch.bfloat16).dtype == torch.bfloat16
    assert mask.bias(torch.float32) is mask.bias(torch.float32)


def test_new_tokens_see_what_the_cache_holds_of_their_own_row() -> None:
    cache = Cache(2)
    old = torch.zeros(2, 1, 3, 2)
    cache.extend(0, old, old)
    cache.advance(torch.tensor([[True, True, True], [True, False, False]]))
    new = tokens([1, 1])
    both = TokenSequence(
        *(
            getattr(new, name).expand(2, -1)
            for name in ("ids", "labels", "positions", "item", "ar", "segment", "branch", "valid")
        )
    )
    # Row 0 holds 3 old tokens and row 1 holds 1; new ones stand right behind.
    table = self_mask(both, cache).dense
    assert drawn(table[0, 0]) == ["xxxx.", "xxxxx"]
    assert drawn(table[1, 0]) == ["xx...", "xxx.."]


def test_one_new_token_after_rows_of_one_length_needs_no_mask() -> None:
    cache = Cache(2)
    old = torch.zeros(2, 1, 3, 2)
    cache.extend(0, old, old)
    cache.advance(torch.ones(2, 3, dtype=torch.bool))
    mask = self_mask(tokens([1]), cache)
    assert mask.dense is None
    assert not mask.causal


def test_a_memory_is_seen_by_its_own_segment_and_branch() -> None:
    sequence = tokens([1] * 5, segment=[0, 0, 0, 1, -1], branch=[0, 1, 2, 0, 0], valid=[1, 1, 1, 1, 0])
    memory = Memory(
        hidden=torch.zeros(1, 5, 1),
        segment=torch.tensor([[0, 0, 0, 0, -1]]),
        branch=torch.tensor([[0, 1, 2, 0, 0]]),
        valid=torch.tensor([[True, True, True, False, False]]),
    )
    mask = memory_mask(sequence, memory)
    # columns: trunk, branch 1, branch 2, invalid, padding; a blind row is let see all, and what it sees is zeroed
    assert drawn(mask.dense[0, 0]) == ["x....", "xx...", "x.x..", "xxxxx", "xxxxx"]
    assert mask.blind_rows[0, 0, :, 0].tolist() == [False, False, False, True, True]


def test_numbers_for_each_head_keep_what_is_hidden_hidden() -> None:
    torch.manual_seed(0)
    scores = torch.randn(1, 2, 3, 3)
    causal = Mask(causal=True).plus(scores).bias(torch.float32)
    below = torch.ones(3, 3).tril().bool()
    assert causal is not None
    assert causal.isneginf().equal((~below).expand(1, 2, 3, 3))
    assert causal[..., below].equal(scores[..., below])
    packed = tokens([1, 1, 1], segment=[0, 1, 1])
    found = self_mask(packed).plus(scores).bias(torch.float32)
    assert found is not None
    assert found.isneginf().equal((~allowed(packed)[:, None]).expand(1, 2, 3, 3))
    assert Mask().plus(scores).bias(torch.float64) is not None
    assert not Mask().plus(scores).shows_all
