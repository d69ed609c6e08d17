"""Blocks that are computed again in the backward pass: equal bits, and less that is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, samples
from torch import Tensor

from sightweave.models.nn.block import Block


def gradients(case: Case, *, recomputes: bool) -> tuple[Tensor, dict[str, Tensor], int]:
    """Sum of the logits, its gradients, and the bytes that were kept for the backward pass."""
    torch.manual_seed(0)
    model, processor = compose(case, language_model={"dropout": 0.1})
    for block in model.modules():
        if isinstance(block, Block):
            block.recomputes = recomputes
    batch = processor.batch(samples()[:2])
    kept = 0

    def keep(value: Tensor) -> Tensor:
        nonlocal kept
        kept += value.nbytes
        return value

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        total = model.train()(batch).logits.square().sum()
    total.backward()
    found: dict[str, Any] = {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    return total.detach(), found, kept


@pytest.mark.parametrize(
    "case", [Case("concat", (), "decoder_only"), Case("memory", (), "encoder_decoder")], ids=str
)
def test_the_gradients_have_the_same_bits_and_less_is_kept(case: Case) -> None:
    total, plain, kept = gradients(case, recomputes=False)
    again, found, less = gradients(case, recomputes=True)
    assert again.equal(total)
    assert found.keys() == plain.keys()
    assert all(found[name].equal(value) for name, value in plain.items())
    assert less < 0.6 * kept
