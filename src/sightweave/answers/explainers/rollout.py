"""Attention rollout: the product of all layers' attention, without gradients.

Quantifying Attention Flow in Transformers (Abnar and Zuidema 2020, arXiv:2005.00928), section 3. Differs from the paper:
attention to a memory is mixed in like attention to the sequence itself. It is a baseline: it is the same for all words that
could be predicted at a position.
"""

from __future__ import annotations

from torch import Tensor

from sightweave.answers.attribution import flow
from sightweave.answers.attribution.flow import Rule, Stream
from sightweave.answers.attribution.question import Question
from sightweave.answers.explainers._base import Attribution
from sightweave.core.config import config


@config
class Config:
    """Rollout has no options."""

    def build(self) -> Rollout:
        """Builds the method."""
        return Rollout()


class Rollout:
    """Replaces R by ``(R + A R) / 2`` in each layer, in which A is the mean attention of all heads."""

    def refusal(self, question: Question) -> str:
        """Why attention cannot be followed through the model; empty if it can."""
        return flow.refusal(question, flow.record(question))

    def attribute(self, question: Question) -> Attribution:
        """The share of each place and token in the predicting tokens."""
        found = flow.flow(question, flow.record(question), _Mix())
        return Attribution(found.media, found.words, unit="share of attention")


class _Mix(Rule):
    def attend(self, stream: Stream, keys: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Half of each token stays itself, because the block adds to its input."""
        stream.relevance = (stream.relevance + weights.mean(0) @ keys.relevance) / 2

    def cross(self, stream: Stream, memory: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """The same for the other stream."""
        self.attend(stream, memory, weights, gradient)

    def result(self, stream: Stream) -> Tensor:
        """All shares; the rows sum to 1."""
        return stream.relevance
