"""The logits of each modality are measured apart."""

from __future__ import annotations

import pytest
import torch

from sightweave.programs.training.logit_norms import LogitNorms


def test_each_modality_has_the_root_mean_square_of_its_positions() -> None:
    norms = LogitNorms()
    logits = torch.tensor([[1.0, -1.0], [3.0, 3.0], [2.0, 0.0], [9.0, 9.0]])
    norms.add(logits[:2], torch.tensor([4, 7]), first=5)
    norms.add(logits[2:], torch.tensor([0, -100]), first=5)
    found = norms.take()
    assert found["logit_norm_text"] == pytest.approx(((1 + 2) / 2) ** 0.5)
    assert found["logit_norm_image"] == pytest.approx(3)
    assert norms.take() == {}


def test_a_modality_without_tokens_has_no_number() -> None:
    norms = LogitNorms()
    norms.add(torch.ones(2, 3), torch.tensor([1, 2]), first=5)
    assert norms.take() == {"logit_norm_text": pytest.approx(1)}
