"""Beam search: keeps several texts for each prompt and returns the best one.

Length normalisation as in Google's Neural Machine Translation System (Wu et al. 2016, arXiv:1609.08144), in its simple
form: the summed log-probability divided by ``length ** length_penalty``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Draws
from sightweave.core.config import config


@config
class Config:
    """Beam search options."""

    num_beams: int = 4
    """Number of beams kept for each prompt."""
    length_penalty: float = 1.0
    """Exponent of the length that divides a beam's score: 0 favours short texts, 1 compares mean log-probabilities per
    token."""

    def build(self, *, end_id: int) -> Beam:
        """Builds the method for one call of generation."""
        return Beam(num_beams=self.num_beams, length_penalty=self.length_penalty, end_id=end_id)


class Beam:
    """Keeps the `num_beams` most likely texts of each prompt; a finished text keeps its row and its score.

    A text is finished by its end token or, outside of this class, by a stop text.

    Args:
        num_beams: Number of texts kept for each prompt; the rows of a prompt are neighbours.
        length_penalty: Exponent of the length that divides the final score.
        end_id: Token that finishes a text.

    Raises:
        ValueError: `num_beams` is below 1.
    """

    is_random = False

    def __init__(self, *, num_beams: int, length_penalty: float, end_id: int) -> None:
        if num_beams < 1:
            raise ValueError(f"num_beams must be 1 or more (got {num_beams}).")
        self.width, self.length_penalty, self.end_id = num_beams, length_penalty, end_id
        self._totals: Tensor | None = None

    def choose(self, logits: Tensor, is_done: Tensor, draws: Draws) -> Choice:
        """Chooses the best continuations among all texts of each prompt."""
        logprobs = logits.float().log_softmax(-1)
        count, vocabulary = logprobs.shape
        # At first all beams are equal: only the first may continue, or they would all stay equal.
        if self._totals is None:
            self._totals = logprobs.new_full((count // self.width, self.width), -torch.inf)
            self._totals[:, 0] = 0.0

        # A finished text continues with the end token only, which changes no score.
        finished = torch.full_like(logprobs[:1], -torch.inf)
        finished[:, self.end_id] = 0.0
        steps = torch.where(is_done[:, None], finished, logprobs)
        totals = self._totals.unsqueeze(-1) + steps.view(-1, self.width, vocabulary)
        best, index = totals.flatten(1).topk(self.width, -1)  # P width

        # Split each index into the row that is continued and its next token.
        first_row = torch.arange(0, count, self.width, device=logits.device)[:, None]
        rows = (first_row + index // vocabulary).flatten()
        ids = (index % vocabulary).flatten()
        self._totals = best

        return Choice(ids, steps[rows, ids], rows)

    def best(self, totals: Tensor, lengths: Tensor) -> Tensor:
        """For each prompt, the index of the row with the best length-normalised score."""
        scores = (totals / lengths.clamp(min=1) ** self.length_penalty).view(-1, self.width)
        return scores.argmax(-1) + torch.arange(0, len(totals), self.width, device=totals.device)
