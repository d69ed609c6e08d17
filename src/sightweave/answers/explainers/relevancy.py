"""Relevancy: attention weighted by its gradients, followed through all layers.

Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers (Chefer, Gur and Wolf
2021, arXiv:2103.15679), section 3. Differs from the paper: relevance also flows through the connector and the encoder to
the places of the image, and the score is the log-odds of the word instead of its logit.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sightweave.answers.attribution import flow
from sightweave.answers.attribution.flow import Rule, Stream
from sightweave.answers.attribution.question import Question
from sightweave.answers.explainers._base import Attribution
from sightweave.core.config import config


@config
class Config:
    """Relevancy has no options."""

    def build(self) -> Relevancy:
        """Builds the method."""
        return Relevancy()


class Relevancy:
    """Propagates ``A = mean over heads of (gradient * attention)+`` from the first layer to the last.

    Self-attention adds ``A R`` to the relevance R. Attention of s to q adds ``N(R_ss)^T A N(R_qq)`` to R_sq, in which N
    divides the rows of ``R - I`` by their sums and adds I again.
    """

    def refusal(self, question: Question) -> str:
        """Why relevance cannot flow through the model; empty if it can."""
        return flow.refusal(question, flow.record(question))

    def attribute(self, question: Question) -> Attribution:
        """The relevance of all places and tokens for the predictions of the explained tokens, without a unit."""
        found = flow.flow(question, flow.record(question), _Relevance())
        return Attribution(found.media, found.words, unit="relevance, not negative")


class _Relevance(Rule):
    needs_gradients = True

    def attend(self, stream: Stream, keys: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Equations 6 and 7 of the paper."""
        stream.relevance = stream.relevance + _positive(weights, gradient) @ keys.relevance

    def cross(self, stream: Stream, memory: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Equation 10; equation 11 adds nothing, because no memory depends on the stream that reads it."""
        own = stream.relevance @ stream.eye.T
        mixed = normalised(own, torch.eye(len(own)).to(own))
        seen = normalised(memory.relevance, memory.eye)
        stream.relevance = stream.relevance + mixed.T @ _positive(weights, gradient) @ seen

    def result(self, stream: Stream) -> Tensor:
        """The relevance of everything but the predicting token itself."""
        return stream.relevance - stream.eye

    def passed_on(self, stream: Stream) -> Tensor:
        """The normalised relevance, as in equation 10."""
        return normalised(stream.relevance, stream.eye)


def _positive(
    weights: Float[Tensor, "H S K"], gradient: Float[Tensor, "H S K"] | None
) -> Float[Tensor, "S K"]:
    """Equation 5: the mean over heads of the positive part of attention times gradient."""
    assert gradient is not None
    return (weights * gradient).clamp(min=0).mean(0)


def normalised(relevance: Float[Tensor, "S G"], eye: Float[Tensor, "S G"]) -> Float[Tensor, "S G"]:
    """Equations 8 and 9: the rows of ``R - I``, divided by their sums, plus I; rows without relevance stay zero."""
    others = relevance - eye
    sums = others.sum(1, keepdim=True)
    return torch.where(sums > 0, others / sums.where(sums > 0, torch.ones_like(sums)), 0.0) + eye
