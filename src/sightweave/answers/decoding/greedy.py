"""Greedy decoding: always chooses the most likely token."""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Draws
from sightweave.core.config import config


@config
class Config:
    """Greedy decoding has no options."""

    def build(self, *, end_id: int) -> Greedy:
        """Builds the method for one call of generation."""
        return Greedy()


class Greedy:
    """Chooses the ``argmax`` of the logits; ties go to the lowest id."""

    width = 1
    is_random = False

    def choose(self, logits: Tensor, is_done: Tensor, draws: Draws) -> Choice:
        """Chooses the most likely token of every row."""
        logits = logits.float()
        best, ids = _largest(logits)
        return Choice(ids, best - logits.logsumexp(-1))

    def best(self, totals: Tensor, lengths: Tensor) -> Tensor:
        """The indices of all rows, since each row is a separate answer."""
        return torch.arange(len(totals), device=totals.device)


def _largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value of each row, and the lowest id with that value."""
    if logits.device.type != "cpu":
        best, ids = logits.max(-1)
        return best, ids

    # Numpy's argmax is six times as fast as torch's on one core.
    ids = torch.from_numpy(logits.detach().numpy().argmax(-1))
    return logits.gather(-1, ids[:, None])[:, 0], ids
