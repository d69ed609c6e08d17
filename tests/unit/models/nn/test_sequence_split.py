"""The shares of tokens, in one process; several are tested in tests/programs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from sightweave.core.batch import TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.fusions._base import plain_tokens
from sightweave.models.nn.mask import allowed
from sightweave.models.nn.sequence_split import SequenceSplit


class Share(SequenceSplit):
    """A share that is never exchanged."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size, Cache(0))

    def take(self, hidden: Tensor) -> Tensor:
        return hidden[:, self.own(hidden.shape[1])]

    def join(self, hidden: Tensor) -> Tensor:
        return hidden


def tokens(length: int) -> TokenSequence:
    """Two rows: a prefix and two packed samples, one of which has two branches."""
    plain = plain_tokens(torch.zeros(2, length, 4))
    ar, segment, branch = plain.ar.clone(), plain.segment.clone(), plain.branch.clone()
    ar[0, :3] = 0
    segment[1, 4:], branch[1, 6:], branch[1, 8:] = 1, 1, 2
    return dataclasses.replace(plain, ar=ar, segment=segment, branch=branch, plain=False)


@pytest.mark.parametrize(("length", "size"), [(12, 3), (11, 2), (10, 4), (9, 8)])
def test_the_masks_of_all_shares_are_that_of_all_tokens(length: int, size: int) -> None:
    hidden, given = torch.randn(2, length, 4), tokens(length)
    shares, rows = [], []
    for rank in range(size):
        split = Share(rank, size)
        padded, more = split.padded(hidden, given)
        own = split.own(padded.shape[1])
        shares.append(split.take(padded))
        rows.append(allowed(more, own))

    assert len({one.shape for one in shares}) == 1
    assert torch.equal(torch.cat(shares, 1)[:, :length], hidden)
    mask = torch.cat(rows, 1)
    assert torch.equal(mask[:, :length, :length], allowed(given))
    assert not mask[:, :length, length:].any(), "a token attends to padding"
    assert mask.any(2).all(), "a token attends to nothing"
