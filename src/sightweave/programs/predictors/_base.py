"""What an evaluation needs of whoever answers: texts, and where possible how likely given texts are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from sightweave.core.types import Prediction, Sample

Progress = Callable[[int], None]
"""Told the number of answers that are new."""
Each = Callable[[int, Prediction], None]
"""Called with the number of a sample and its answer as soon as it is there."""
_ROUNDING = 1e-3
"""A log-probability may be so far above 0 by rounding."""


def log_probability(value: float) -> float | None:
    """A natural-log probability that somebody tells: at most 0, rounding taken off; None where it is none."""
    return min(value, 0.0) if math.isfinite(value) and value <= _ROUNDING else None


class Predictor(Protocol):
    """Answers samples of any task, always greedily: an evaluation must give the same twice.

    Each kind's file also has ``recognise(who: str) -> str``, which says what a path or an address is if it is of this
    kind, and a ``Config`` whose ``at(where)`` gives the settings for such a path or address and whose ``build`` makes the
    predictor. A run is loaded rather than built from its path, so its kind has no ``at``.
    """

    name: str
    """For readers: the folder, the address and model, or the file."""
    fingerprint: str
    """Names what answers, so that it changes whenever the answers may; answers are kept under it."""
    can_score: bool
    """Whether it can judge given texts."""
    can_control: bool
    """Whether it can be asked again with other pictures or prompts; a file of answers cannot."""

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
            samples: Their targets are not looked at.
            texts: For each sample the texts whose likelihood as its answer is wanted; empty means none for any.
            max_tokens: Tokens of an answer at most; 0 writes nothing and only judges.
            progress: Told of answers as they come.

        Raises:
            BackendError: it cannot be reached, or texts are given and it cannot judge any.
            DataError: not one list of texts per sample.
        """
        ...
