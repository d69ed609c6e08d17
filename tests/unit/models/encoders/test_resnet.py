"""The statistics of a ResNet's norms never move, and everything else learns."""

from __future__ import annotations

import pytest
import torch

from sightweave.models.encoders import resnet


def small(form: str = "basic", **fields: object) -> resnet.ResNet:
    torch.manual_seed(0)
    return resnet.Config(
        image_size=32, stem_dim=8, widths=(8, 16), depths=(1, 2), form=form, **fields
    ).build()


def test_statistics_stay_as_they_are_in_training() -> None:
    made = small().train()
    assert made.training
    before = {name: value.clone() for name, value in made.named_buffers()}
    made(torch.randn(4, 3, 32, 32) * 3 + 1).values.sum().backward()
    assert len(before) == 3 * sum(isinstance(m, resnet.FrozenBatchNorm) for m in made.modules())
    assert all(value.equal(before[name]) for name, value in made.named_buffers())


def test_training_and_evaluation_give_the_same() -> None:
    made, pixels = small("bottleneck"), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(made.train()(pixels).values, made.eval()(pixels).values, atol=0, rtol=0)


@pytest.mark.parametrize("form", ["basic", "bottleneck"])
def test_from_scratch_each_layer_starts_as_its_shortcut_and_gradients_reach_its_last_norm(form: str) -> None:
    made = small(form)
    layer = made.stages[1][1]  # no stride, no change of width
    x = torch.rand(1, 16, 4, 4)
    assert layer(x).equal(x)
    made(torch.randn(2, 3, 32, 32)).values.square().sum().backward()
    assert all(layer.norms[-1].weight.grad.abs().sum() > 0 for layer in made.stages[1])


@pytest.mark.parametrize(("halves", "side"), [(False, 4), (True, 2)])
def test_the_first_stage_halves_where_it_is_asked_to(halves: bool, side: int) -> None:
    made = small(halves_first=halves)
    assert made.grid() == (1, side, side)
    assert made(torch.randn(1, 3, 32, 32)).values.shape == (1, side * side, 16)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="'basic' or 'bottleneck' \\(got 'wide'\\)"):
        resnet.Layer(8, 8, stride=1, form="wide")
