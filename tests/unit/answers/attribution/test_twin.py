"""Twins of models: the same weights in other modules."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import ADAPTED, PAIRS, Case, compose, logits_of, samples

from sightweave.answers.attribution.twin import twin
from sightweave.models.nn.block import Block

CASES = [Case(fusion, (), model) for fusion, model in PAIRS[:3]] + ADAPTED[:1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_twin_has_the_weights_and_says_the_same(case: Case) -> None:
    model, processor = compose(case, encoder="vit")
    model.train()
    for one in model.modules():
        if isinstance(one, Block):
            one.recomputes = True
    other = twin(model)

    mine, theirs = dict(model.named_parameters()), dict(other.named_parameters())
    assert mine.keys() == theirs.keys()
    assert all(mine[name].data_ptr() == theirs[name].data_ptr() for name in mine)
    assert all(mine[name] is not theirs[name] for name in mine)
    assert not any(one.requires_grad for one in theirs.values())
    assert all(one.requires_grad for one in mine.values())
    assert model.training
    assert not other.training
    assert not any(getattr(one, "recomputes", False) for one in other.modules())
    modules = {id(one) for one in model.modules()}
    assert not any(id(one) in modules for one in other.modules())

    model.eval()
    one = samples()[1]
    assert torch.equal(logits_of(model, processor, one), logits_of(other, processor, one))


def test_a_change_of_the_weights_changes_the_twin() -> None:
    model, _ = compose(CASES[0])
    other = twin(model)
    with torch.no_grad():
        next(model.parameters()).fill_(2.0)
    assert bool((next(other.parameters()) == 2.0).all())
