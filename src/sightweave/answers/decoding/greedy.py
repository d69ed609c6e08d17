"""Always the likeliest token."""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Draws
from sightweave.core.config import config


@config
class Config:
    """Nothing to choose."""

    def build(self, *, end_id: int) -> Greedy:
        """The method for one call of generation."""
        return Greedy()


class Greedy:
    """``argmax`` of the logits; ties go to the lowest id."""

    width = 1
    is_random = False

    def choose(self, logits: Tensor, is_done: Tensor, draws: Draws) -> Choice:
        """Chooses for every row."""
        best, ids = logits.float().max(-1)
        return Choice(ids, best - logits.float().logsumexp(-1))

    def best(self, totals: Tensor, lengths: Tensor) -> Tensor:
        """Every row."""
        return torch.arange(len(totals), device=totals.device)
