"""Each form of the feed-forward layer is its formula."""

from __future__ import annotations

import math

import pytest
import torch

from sightweave.models.nn.feed_forward import FeedForward, swiglu

ACTIVATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu2": lambda x: x.clamp(min=0) ** 2,
}


@pytest.mark.parametrize("form", [*ACTIVATIONS, "swiglu", "geglu"])
@pytest.mark.parametrize("bias", [False, True])
def test_feed_forward_is_its_formula(form: str, bias: bool) -> None:
    torch.manual_seed(0)
    part = FeedForward(6, 10, form=form, bias=bias)
    x = torch.randn(2, 3, 6)
    if form == "swiglu":
        gate = part.gate(x)
        expected = part.down(gate * torch.sigmoid(gate) * part.up(x))
    elif form == "geglu":
        expected = part.down(ACTIVATIONS["gelu_tanh"](part.gate(x)) * part.up(x))
    else:
        expected = part.down(ACTIVATIONS[form](part.up(x)))
    torch.testing.assert_close(part(x), expected, atol=1e-5, rtol=1e-5)
    assert (part.up.bias is not None) == bias


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    part = FeedForward(6, 100, form="relu", dropout=0.5)
    x = torch.randn(2, 6)
    assert not torch.equal(part(x), part(x))
    part.eval()
    assert torch.equal(part(x), part(x))


def test_an_unknown_form_and_an_impossible_share_are_refused() -> None:
    with pytest.raises(ValueError, match=r"relu, gelu, .*got 'elu'"):
        FeedForward(4, 4, form="elu")
    for share in (-0.1, 1.0, 2.0):
        with pytest.raises(ValueError, match=r"dropout must be at least 0 and below 1 \(got"):
            FeedForward(4, 4, dropout=share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swiglu_gives_the_bits_of_torch_and_keeps_only_its_inputs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 1001).to(dtype)
    slope = torch.randn(5, 1001).to(dtype)
    found = []
    for form in (swiglu, lambda gate, up: torch.nn.functional.silu(gate) * up):
        gate, up = (one.clone().requires_grad_(True) for one in inputs)
        value = form(gate, up)
        found.append((value.detach(), *torch.autograd.grad(value, [gate, up], slope)))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)

    gate, up = (one.clone().requires_grad_(True) for one in inputs)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        swiglu(gate, up)
    assert {one.data_ptr() for one in kept} == {gate.data_ptr(), up.data_ptr()}
