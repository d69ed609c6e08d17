"""The interface of explainers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from sightweave.answers.attribution.question import Question

Baseline = Literal["grey", "mean"]
"""Input that stands for absence: ``grey``, a medium without content, or ``mean``, the mean of the medium's own features. An
absent word is always the mean of all token embeddings, since a vector of zeros is far from every embedding."""
BASELINES = {
    "grey": "blank media, and the mean embedding for words",
    "mean": "the mean of the medium's features, and the mean embedding for words",
}
"""Each baseline in words."""


@dataclass(frozen=True)
class Attribution:
    """What an explainer found."""

    media: Sequence[Tensor]
    """float N for each medium of the question: the values of its places, row by row."""
    words: Tensor | None
    """float T: the values of the prompt's text tokens; None if the method explains media only."""
    unit: str
    """Unit of the values, in words."""
    baseline: str = ""
    """Input that stands for absence, in words; empty if there is none."""
    completeness_error: float | None = None
    """Difference between the sum of the values and the change of the score, as a share of that change."""


class Explainer(Protocol):
    """A method of explanation; its ``Config.build()`` creates one."""

    def refusal(self, question: Question) -> str:
        """Why the method cannot explain this model, as the end of a sentence; empty if it can."""
        ...

    def attribute(self, question: Question) -> Attribution:
        """Computes the values of all places of the question's media and of its prompt; `refusal` must have returned ''."""
        ...
