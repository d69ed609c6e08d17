"""Attention against its definition, one query at a time."""

from __future__ import annotations

import math

import pytest
import torch

from sightweave.core.cache import Cache
from sightweave.models.nn.attention import Attention, attend, attention_weights
from sightweave.models.nn.mask import Mask
from sightweave.models.nn.position import Rotary


def naive(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """softmax(q k / sqrt(Dh)) v over what is seen, by loops; seen is B S K."""
    out = torch.zeros_like(queries)
    group = queries.shape[1] // keys.shape[1]
    for b in range(queries.shape[0]):
        for h in range(queries.shape[1]):
            for s in range(queries.shape[2]):
                at = [j for j in range(keys.shape[2]) if seen[b, s, j]]
                scores = [
                    float(queries[b, h, s] @ keys[b, h // group, j]) / math.sqrt(queries.shape[3]) for j in at
                ]
                total = sum(math.exp(x - max(scores)) for x in scores)
                for j, x in zip(at, scores, strict=True):
                    out[b, h, s] += math.exp(x - max(scores)) / total * values[b, h // group, j]
    return out


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("form", ["open", "causal", "dense"])
@pytest.mark.parametrize("length", [1, 3])
def test_attend_is_softmax_attention(kv_heads: int, form: str, length: int) -> None:
    torch.manual_seed(0)
    reach = length if form == "causal" else 5
    queries = torch.randn(2, 4, length, 6)
    keys, values = torch.randn(2, 2, kv_heads, reach, 6)
    seen = {
        "open": torch.ones(2, length, reach, dtype=torch.bool),
        "causal": torch.ones(2, length, reach, dtype=torch.bool).tril(),
        "dense": (torch.rand(2, length, reach) > 0.5) | (torch.arange(reach) == 0),
    }[form]
    mask = {"open": Mask(), "causal": Mask(causal=True), "dense": Mask(dense=seen[:, None])}[form]
    torch.testing.assert_close(
        attend(queries, keys, values, mask), naive(queries, keys, values, seen), atol=1e-5, rtol=1e-5
    )


def test_what_sees_nothing_gets_zeros_and_finite_gradients() -> None:
    torch.manual_seed(0)
    blind = torch.tensor([[[[False], [True]]]])
    part = Attention(8, 2)
    hidden = torch.randn(1, 2, 8, requires_grad=True)
    memory = torch.randn(1, 3, 8)
    mask = Mask(dense=torch.ones(1, 1, 2, 3, dtype=torch.bool), blind_rows=blind)
    found = part(hidden, mask, memory=part.keys_values(memory))
    assert not found[0, 1].any()
    assert found[0, 0].any()
    found.sum().backward()
    assert torch.isfinite(hidden.grad).all()


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kv_heads", [None, 1])
def test_a_cache_gives_the_same_in_pieces_of_any_size(kv_heads: int | None, qk_norm: bool) -> None:
    torch.manual_seed(0)
    part = Attention(16, 4, num_kv_heads=kv_heads, qk_norm=qk_norm)
    hidden = torch.randn(2, 7, 16)
    rotary = Rotary(4)
    positions = torch.arange(7).expand(2, -1)
    whole = part(hidden, Mask(causal=True), rotation=rotary(positions))
    cache = Cache(2)
    pieces = []
    for start, end in ((0, 3), (3, 4), (4, 7)):
        table = torch.arange(end)[None] <= torch.arange(start, end)[:, None]
        mask = Mask(dense=table.expand(2, 1, -1, -1))
        piece = part(hidden[:, start:end], mask, rotation=rotary(positions[:, start:end]), cache=cache)
        cache.advance(torch.ones(2, end - start, dtype=torch.bool))
        pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-5, rtol=1e-5)


def test_qk_norm_bounds_the_scores() -> None:
    part = Attention(8, 2, qk_norm=True)
    keys, _ = part.keys_values(torch.randn(1, 5, 8) * 1000)
    torch.testing.assert_close(keys.square().mean(-1), torch.ones(1, 2, 5), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"dim": 10, "num_heads": 4}, "num_heads 4 does not divide the width 10"),
        ({"dim": 12, "num_heads": 4, "num_kv_heads": 3}, "num_kv_heads 3 does not divide num_heads 4"),
        ({"dim": 8, "num_heads": 0}, "heads must be 1 or more \\(got num_heads 0"),
        (
            {"dim": 8, "num_heads": 2, "num_kv_heads": 0},
            r"the number of heads must be 1 or more \(got num_heads.*num_kv_heads 0",
        ),
    ],
)
def test_heads_that_do_not_fit_are_refused(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Attention(sizes.pop("dim"), sizes.pop("num_heads"), **sizes)


def test_a_head_may_have_a_width_of_its_own() -> None:
    part = Attention(10, 4, head_dim=6, memory_dim=7)
    assert part(torch.randn(1, 2, 10), Mask(), memory=part.keys_values(torch.randn(1, 3, 7))).shape == (
        1,
        2,
        10,
    )


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("form", ["open", "causal", "dense", "scores", "blind"])
def test_recorded_weights_are_those_that_mix_the_values(kv_heads: int, form: str) -> None:
    torch.manual_seed(0)
    length = 5
    attention = Attention(16, 4, num_kv_heads=kv_heads, score_scale=0.3)
    hidden = torch.randn(2, length, 16, requires_grad=True)
    table = torch.rand(2, 1, length, length) > 0.4
    table |= torch.eye(length, dtype=torch.bool)
    mask = {
        "open": Mask(),
        "causal": Mask(causal=True),
        "dense": Mask(dense=table),
        "scores": Mask(causal=True).plus(torch.randn(2, 4, length, length)),
        "blind": Mask(dense=table, blind_rows=(torch.arange(length)[:, None] == 1).expand(2, 1, -1, -1)),
    }[form]
    expected = attention(hidden, mask)

    weights: list[torch.Tensor] = []
    attention.record = weights.append
    found = attention(hidden, mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    (one,) = weights
    assert one.shape == (2, 4, length, length)
    sums = torch.ones(2, 4, length)
    if form == "blind":
        sums[:, :, 1] = 0
    torch.testing.assert_close(one.sum(-1), sums)
    if form in ("causal", "scores"):
        assert not one.triu(1).any()
    (slope,) = torch.autograd.grad(found.sum(), one)
    assert slope.shape == one.shape
    assert slope.abs().max() > 0


def test_the_weights_of_few_queries_and_many_keys_are_softmax() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(1, 2, 3, 4), torch.randn(1, 1, 6, 4)
    expected = (queries @ keys.transpose(-2, -1) / 2).softmax(-1)
    torch.testing.assert_close(attention_weights(queries, keys, Mask()), expected)
