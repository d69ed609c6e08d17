"""Sampling from the model's distribution, with temperature, top-k and top-p.

Top-k: Hierarchical Neural Story Generation (Fan et al. 2018, arXiv:1805.04833). Top-p: The Curious Case of Neural Text
Degeneration (Holtzman et al. 2019, arXiv:1904.09751).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Draws
from sightweave.core.config import config

_TINY = 1e-30
"""Lowest temperature by which logits are divided; a lower one could be rounded to zero in single precision."""


@config
class Config:
    """Sampling options."""

    temperature: float = 1.0
    """Sampling temperature; below 1 makes answers more predictable."""
    top_k: int = 0
    """Number of most likely tokens to sample from; 0 means all."""
    top_p: float = 1.0
    """Cumulative probability of the most likely tokens to sample from (nucleus sampling); 1 means all."""

    def build(self, *, end_id: int) -> Sampling:
        """Builds the method for one call of generation."""
        return Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


class Sampling:
    """Samples each token by inverse transform sampling with the row's own random number.

    Args:
        temperature: Divides the logits; above 0.
        top_k: Number of most likely tokens to sample from; 0 means all.
        top_p: Cumulative probability of the tokens to sample from, above 0 and at most 1.

    Raises:
        ValueError: an argument is outside its range.
    """

    width = 1

    def __init__(self, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0 (got {temperature}); use greedy decoding for 0.")
        if top_k < 0:
            raise ValueError(f"top_k must be 0 (all) or more (got {top_k}).")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1 (got {top_p}).")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p

    def choose(self, logits: Tensor, is_done: Tensor, draws: Draws) -> Choice:
        """Samples a token for every row."""
        logprobs = logits.float().log_softmax(-1)
        # Shift the largest logit to 0, so that even a very low temperature gives no infinity.
        shifted = logits.float() - logits.float().amax(-1, keepdim=True)
        kept = self.cut(shifted / max(self.temperature, _TINY))

        # Sum on the CPU in double precision, so that one seed gives the same text on every device.
        reached = kept.softmax(-1).cpu().double().cumsum(-1)
        total = reached[:, -1:]
        # Take the first token whose cumulative probability exceeds the point. Because the point is below the total,
        # there always is one. It is never a removed token, since those add nothing to the cumulative probability.
        point = (draws.uniform()[:, None] * total).minimum(total.nextafter(torch.zeros_like(total)))
        ids = torch.searchsorted(reached, point, right=True).to(logits.device)

        return Choice(ids[:, 0], logprobs.gather(1, ids)[:, 0])

    def cut(self, logits: Tensor) -> Tensor:
        """Sets the logits of all tokens outside top-k and top-p to minus infinity; the most likely token always stays."""
        if self.top_k and self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, -1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)

        if self.top_p < 1:
            ordered, index = logits.sort(-1, descending=True)
            probabilities = ordered.softmax(-1)
            before = probabilities.cumsum(-1) - probabilities
            cut = (before >= self.top_p).scatter(1, index, before >= self.top_p)
            logits = logits.masked_fill(cut, -torch.inf)

        return logits

    def best(self, totals: Tensor, lengths: Tensor) -> Tensor:
        """The indices of all rows, since each row is a separate answer."""
        return torch.arange(len(totals), device=totals.device)
