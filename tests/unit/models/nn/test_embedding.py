"""Tokens and added positions."""

from __future__ import annotations

import pytest
import torch

from sightweave.models.nn.embedding import AddedPositions, TokenEmbedding, head_logits


def test_embeddings_may_be_brought_to_unit_mean_square() -> None:
    torch.manual_seed(0)
    table = TokenEmbedding(9, 8, normalise=True)
    ids = torch.tensor([[1, 2], [3, 3]])
    torch.testing.assert_close(table(ids).square().mean(-1), torch.ones(2, 2), atol=1e-3, rtol=0)
    assert torch.equal(table(ids)[1, 0], table(ids)[1, 1])


def test_learned_positions_end_where_the_table_ends() -> None:
    added = AddedPositions("learned", 4, max_length=3)
    hidden = torch.zeros(1, 2, 4)
    assert torch.equal(added(hidden, torch.tensor([[0, 2]]))[0, 1], added.table.weight[2])
    with pytest.raises(ValueError, match="position 3 is outside the 3 learned positions; raise max_length"):
        added(hidden, torch.tensor([[0, 3]]))


def test_rotary_adds_nothing_and_sinusoidal_needs_an_even_width() -> None:
    hidden = torch.randn(1, 2, 4)
    positions = torch.tensor([[0, 1]])
    assert AddedPositions("rotary", 4, max_length=8).rotary
    assert AddedPositions("rotary", 4, max_length=8)(hidden, positions) is hidden
    assert not torch.equal(AddedPositions("sinusoidal", 4, max_length=8)(hidden, positions), hidden)
    with pytest.raises(ValueError, match="even width \\(got 5\\)"):
        AddedPositions("sinusoidal", 5, max_length=8)
    with pytest.raises(ValueError, match="rotary, learned or sinusoidal \\(got 'alibi'\\)"):
        AddedPositions("alibi", 4, max_length=8)


def test_the_tied_head_is_a_product_with_the_table() -> None:
    hidden, table = torch.randn(3, 4), torch.randn(7, 4)
    torch.testing.assert_close(head_logits(hidden, table), hidden @ table.T)
