"""The norm written for CPUs is the library's, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sightweave.models.nn.norm import OneScaleNorm, RMSNorm, make_norm


@pytest.mark.parametrize("shape", [(8,), (5, 8), (2, 3, 8), (2, 3, 4, 8), (0, 8)])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(8, eps=1e-5)
    with torch.no_grad():
        norm.weight.normal_()
    x = torch.randn(shape, requires_grad=True)
    out = torch.randn(shape)
    found = torch.autograd.grad((norm(x) * out).sum(), [x, norm.weight])
    expected = torch.autograd.grad((F.rms_norm(x, (8,), norm.weight, 1e-5) * out).sum(), [x, norm.weight])
    torch.testing.assert_close(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-5))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: OneScaleNorm.apply(x, w, 1e-6), (x, weight))


def test_zeros_stay_zeros_with_finite_gradients() -> None:
    norm = RMSNorm(4)
    x = torch.zeros(2, 4, requires_grad=True)
    norm(x).sum().backward()
    assert not norm(x).any()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_formats_keep_their_format(dtype: torch.dtype) -> None:
    x = torch.randn(3, 8).to(dtype)
    found = RMSNorm(8)(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), F.rms_norm(x.float(), (8,), None, 1e-6), atol=0.02, rtol=0.02)


def test_without_a_weight_there_is_none() -> None:
    norm = RMSNorm(4, affine=False)
    assert list(norm.parameters()) == []
    torch.testing.assert_close(norm(torch.randn(5, 4)).square().mean(-1), torch.ones(5), atol=1e-4, rtol=0)


def test_norms_by_name() -> None:
    assert isinstance(make_norm("rms", 4), RMSNorm)
    assert isinstance(make_norm("layer", 4), torch.nn.LayerNorm)
    with pytest.raises(ValueError, match="'rms' or 'layer' \\(got 'batch'\\)"):
        make_norm("batch", 4)
