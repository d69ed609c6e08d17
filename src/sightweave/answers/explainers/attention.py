"""Raw attention of the last layer, averaged over heads.

Attention is not Explanation (Jain and Wallace 2019, arXiv:1902.10186) and Attention is not not Explanation (Wiegreffe and
Pinter 2019, arXiv:1908.04626) discuss what it shows. It is a baseline: whatever earlier layers have mixed into a token is
attributed to the token's own place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.answers.attribution import flow
from sightweave.answers.attribution.flow import Rule, Stream
from sightweave.answers.attribution.question import Question
from sightweave.answers.explainers._base import Attribution
from sightweave.core.config import config


@config
class Config:
    """Raw attention has no options."""

    def build(self) -> RawAttention:
        """Builds the method."""
        return RawAttention()


class RawAttention:
    """The attention of the predicting tokens to text in the last layer, and to media in the last layer that reads media."""

    def refusal(self, question: Question) -> str:
        """Why there is no attention from words to places; empty if there is."""
        return flow.refusal(question, flow.record(question))

    def attribute(self, question: Question) -> Attribution:
        """The attention weights of the predicting tokens."""
        found = flow.flow(question, flow.record(question), _Last())
        return Attribution(found.media, found.words, unit="attention weight")


class _Last(Rule):
    enters_encoders = False

    def attend(self, stream: Stream, keys: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Keeps the weights of this layer only."""
        stream.relevance = weights.mean(0) @ keys.eye

    def cross(self, stream: Stream, memory: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Keeps the weights of this layer, and what the memory itself has seen of media."""
        sources = memory.eye + memory.seen
        found = weights.mean(0) @ sources
        # What was seen of other memories, such as of media before the source, stays.
        stream.seen = torch.where(sources.sum(0) > 0, found, stream.seen)

    def result(self, stream: Stream) -> Tensor:
        """The weights of the last layer of each kind."""
        return stream.relevance + stream.seen
