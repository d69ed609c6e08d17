"""Gradient times input: a first-order estimate of what replacing each place by a baseline would change.

Not Just a Black Box: Learning Important Features Through Propagating Activation Differences (Shrikumar et al. 2016,
arXiv:1605.01713), section 2. Differs from the paper: the input is measured from a grey image, or from the mean of its
features, because zero has no meaning for either.
"""

from __future__ import annotations

from sightweave.answers.attribution import gradients
from sightweave.answers.attribution.question import Question
from sightweave.answers.explainers._base import BASELINES, Attribution, Baseline
from sightweave.core.config import config


@config
class Config:
    """Options of gradient times input."""

    baseline: Baseline = "grey"
    """Input that stands for absence: grey (a blank medium) or mean (the mean of the medium's features)."""

    def build(self) -> GradientXInput:
        """Builds the method."""
        return GradientXInput(baseline=self.baseline)


class GradientXInput:
    """Multiplies the gradient of the score by the difference between the input and the baseline.

    Args:
        baseline: ``grey`` or ``mean``.
    """

    def __init__(self, *, baseline: Baseline = "grey") -> None:
        self.baseline = baseline

    def refusal(self, question: Question) -> str:
        """Every model is differentiable."""
        return ""

    def attribute(self, question: Question) -> Attribution:
        """The estimated change of the score for each place and token, in nats."""
        are_features = self.baseline == "mean"
        own, absent = question.own(are_features=are_features), question.absent(are_features=are_features)
        slopes = gradients.slopes(question, own)
        media, words = gradients.by_place(question, gradients.products(slopes, own, absent))
        return Attribution(media, words, unit="nats", baseline=BASELINES[self.baseline])
