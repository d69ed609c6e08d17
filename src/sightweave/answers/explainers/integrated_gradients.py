"""Integrated gradients: the mean gradient on the way from a baseline to the input.

Axiomatic Attribution for Deep Networks (Sundararajan et al. 2017, arXiv:1703.01365), section 3. The integral is computed by
Gauss-Legendre quadrature. The baseline is a grey image, or the mean of its features: from zeros, the integral does not
converge through the norms of a Transformer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sightweave.answers.attribution import gradients
from sightweave.answers.attribution.question import Inputs, Question
from sightweave.answers.explainers._base import BASELINES, Attribution, Baseline
from sightweave.core.config import config


@config
class Config:
    """Options of integrated gradients."""

    baseline: Baseline = "grey"
    """Start of the path: grey (a blank medium) or mean (the mean of the medium's features)."""
    steps: int = 50
    """Number of points on the path at which the gradient is computed."""
    tolerance: float = 0.01
    """Completeness error above which the number of points is doubled."""
    max_steps: int = 400
    """Number of points that is not exceeded, however large the error."""
    batch_size: int = 10
    """Number of points in one forward and backward pass; it does not change the result."""

    def build(self) -> IntegratedGradients:
        """Builds the method."""
        return IntegratedGradients(
            baseline=self.baseline,
            steps=self.steps,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
        )


class IntegratedGradients:
    """Integrates the gradient along the straight line from the baseline to the input.

    The sum of the values equals the difference of the two scores, except for the error of the numerical integral. The number
    of points is doubled until that error is small.

    Args:
        baseline: ``grey`` or ``mean``.
        steps: Number of points on the path.
        tolerance: Completeness error above which the number of points is doubled.
        max_steps: Number of points that is not exceeded.
        batch_size: Number of points in one pass.

    Raises:
        ValueError: `steps` or `batch_size` is below 1.
    """

    def __init__(
        self,
        *,
        baseline: Baseline = "grey",
        steps: int = 50,
        tolerance: float = 0.01,
        max_steps: int = 400,
        batch_size: int = 10,
    ) -> None:
        if min(steps, batch_size) < 1:
            raise ValueError(
                f"integrated_gradients: steps and batch_size must be 1 or more (got {steps} and {batch_size})."
            )
        self.baseline, self.steps, self.batch_size = baseline, steps, batch_size
        self.tolerance, self.max_steps = tolerance, max_steps

    def refusal(self, question: Question) -> str:
        """Every model is differentiable."""
        return ""

    def attribute(self, question: Question) -> Attribution:
        """The contribution of each place and token to the difference from the baseline, in nats."""
        are_features = self.baseline == "mean"
        own, absent = question.own(are_features=are_features), question.absent(are_features=are_features)

        with torch.no_grad():
            at_end, at_start = question.scores([own, absent]).double().tolist()
        difference = at_end - at_start

        steps = self.steps
        while True:
            total = self._integral(question, own, absent, steps)
            values = gradients.products(total, own, absent)
            found = sum(float(one.double().sum()) for one in values)
            error = abs(found - difference) / max(abs(difference), 1e-12)
            steps *= 2
            if error <= self.tolerance or steps > self.max_steps:
                break

        media, words = gradients.by_place(question, values)
        return Attribution(
            media, words, unit="nats", baseline=BASELINES[self.baseline], completeness_error=error
        )

    def _integral(self, question: Question, own: Inputs, absent: Inputs, steps: int) -> list[Tensor]:
        """The mean gradient on the path, from Gauss-Legendre quadrature with a number of points."""
        points, weights = np.polynomial.legendre.leggauss(steps)
        total: list[Tensor] | None = None
        for start in range(0, steps, self.batch_size):
            chunk = slice(start, start + self.batch_size)
            path = [_between(absent, own, (1 + point) / 2) for point in points[chunk]]
            slopes = gradients.summed_slopes(question, path, (weights[chunk] / 2).tolist())
            total = slopes if total is None else [a + b for a, b in zip(total, slopes, strict=True)]

        assert total is not None  # there is at least one step
        return total


def _between(absent: Inputs, own: Inputs, share: float) -> Inputs:
    """The inputs at a share of the way from the baseline."""
    ends = zip(gradients.tensors(absent), gradients.tensors(own), strict=True)
    return gradients.with_tensors(own, [torch.lerp(start, end, share) for start, end in ends])
