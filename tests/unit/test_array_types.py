"""The check of shapes that all tests run under is on, where shapes are stated and nowhere else."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from sightweave.data.scenes import words
from sightweave.models.adapters.quantization import QuantizedLinear
from sightweave.models.nn.attention import Attention


def test_a_wrong_shape_is_an_error() -> None:
    pytest.importorskip("bitsandbytes")
    layer = QuantizedLinear(torch.nn.Linear(64, 3), "int8")
    assert layer(torch.zeros(2, 64)).shape == (2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        layer([0.0] * 64)


@pytest.mark.parametrize(("function", "is_checked"), [(Attention.forward, True), (words.texts, False)])
def test_only_what_states_shapes_is_wrapped(function: object, is_checked: bool) -> None:
    assert hasattr(function, "__wrapped__") == is_checked
