"""The size of logits of texts and of image tokens, for the rows of the log.

A model that writes both can diverge when the logits of one modality grow to outweigh those of the other (Chameleon,
arXiv:2405.09818, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOGIT_NORM = "logit_norm_"
"""Name in the log, followed by ``text`` or ``image``."""


@dataclass
class LogitNorms:
    """Root mean square of the logits that predict text tokens, and of those that predict image tokens, in one update."""

    is_measured: bool = False
    """Whether the present update is measured."""
    sums: list[Tensor] = field(default_factory=list)
    """For each batch, float 2 2: sum and number of the squared logits of texts, and of image tokens."""

    @torch.no_grad()
    def add(self, logits: Float[Tensor, "R V"], labels: Int[Tensor, " R"], first: int) -> None:
        """Measures a batch.

        Args:
            logits: The logits.
            labels: The token after each position.
            first: Id of the first image token.
        """
        squares = logits.float().square().mean(-1)
        is_image = (labels >= first).float()
        is_text = ((labels >= 0) & (labels < first)).float()
        found = [torch.stack(((squares * chosen).sum(), chosen.sum())) for chosen in (is_text, is_image)]
        self.sums.append(torch.stack(found))

    def take(self) -> dict[str, float]:
        """The numbers of the update measured last, by their names in the log; empty after they were taken."""
        if not self.sums:
            return {}
        total = torch.stack(self.sums).sum(0).tolist()
        self.sums.clear()
        named = zip(("text", "image"), total, strict=True)
        return {
            f"{LOGIT_NORM}{name}": float((square / count) ** 0.5) for name, (square, count) in named if count
        }
