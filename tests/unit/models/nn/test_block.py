"""A block starts as the identity."""

from __future__ import annotations

import torch

from sightweave.models.nn.block import Block, BlockShape
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import Mask


def test_a_new_block_is_the_identity() -> None:
    block = Block(BlockShape(dim=8, num_heads=2, hidden_dim=16), reads_memory=True)
    initialise(block)
    hidden, memory = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    keys_values = block.memory_attention.keys_values(memory)
    assert torch.equal(block(hidden, Mask(), memory=keys_values, memory_mask=Mask()), hidden)
