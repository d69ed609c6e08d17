"""The interface of predictors, whose answers an evaluation can score, if possible with likelihoods of given texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from sightweave.core.types import Prediction, Sample

Progress = Callable[[int], None]
"""Function that is called with the number of new answers."""
Each = Callable[[int, Prediction], None]
"""Function that is called with the index of a sample and its prediction as soon as that is known."""
_ROUNDING = 1e-3
"""Largest value above 0 of a log-probability that is accepted as rounding error."""


def log_probability(value: float) -> float | None:
    """Checks a reported natural-log probability and limits it to at most 0; returns None if it is not a valid one."""
    return min(value, 0.0) if math.isfinite(value) and value <= _ROUNDING else None


class Predictor(Protocol):
    """Answers samples of any task, always greedily, because an evaluation must be repeatable.

    Each kind's module also has a function ``recognise(who: str) -> str``, which describes a path or an address of this
    kind (empty for others), and a ``Config`` whose ``at(where)`` gives the settings for such a path or address and
    whose ``build`` creates the predictor. A run is loaded rather than built from its path, so its kind has no ``at``.
    """

    name: str
    """Name for readers: the folder, the address and model, or the file."""
    fingerprint: str
    """Identifies the predictor, and changes whenever its answers may change; answers are cached under it."""
    can_score: bool
    """Whether the predictor can score given texts."""
    can_control: bool
    """Whether the predictor can be asked again with other images or prompts; a file of answers cannot."""

    def predict(
        self,
        samples: Sequence[Sample],
        texts: Sequence[Sequence[str]] = (),
        *,
        max_tokens: int = 96,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """One prediction per sample, in order.

        Args:
            samples: Samples, whose targets are ignored.
            texts: For each sample, texts to score as its answer; an empty sequence scores none.
            max_tokens: Maximum number of tokens of an answer; 0 generates nothing and only scores texts.
            progress: Called with the number of new answers as they arrive.

        Raises:
            BackendError: the predictor cannot be reached, or texts are given and it cannot score any.
            DataError: there is not one list of texts per sample.
        """
        ...
