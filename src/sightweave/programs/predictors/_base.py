"""Interface of everything that an evaluation can score: answers, and if possible the likelihood of given texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from sightweave.core.types import Prediction, Sample

Progress = Callable[[int], None]
"""Called with the number of new answers."""
Each = Callable[[int, Prediction], None]
"""Called with the index of a sample and its prediction as soon as that is known."""
_ROUNDING = 1e-3
"""Maximum by which rounding may put a log-probability above 0."""


def log_probability(value: float) -> float | None:
    """A reported natural-log probability without rounding error, so at most 0; None if it is not a valid one."""
    return min(value, 0.0) if math.isfinite(value) and value <= _ROUNDING else None


class Predictor(Protocol):
    """Answers samples of any task, always greedily: an evaluation must be repeatable.

    Each kind's file also has ``recognise(who: str) -> str``, which describes a path or an address of this kind (empty for
    others), and a ``Config`` whose ``at(where)`` gives the settings for such a path or address and whose ``build`` makes the
    predictor. A run is loaded rather than built from its path, so its kind has no ``at``.
    """

    name: str
    """Name for readers: the folder, the address and model, or the file."""
    fingerprint: str
    """Identifies the predictor, and changes whenever its answers may; answers are kept under it."""
    can_score: bool
    """Whether it can score given texts."""
    can_control: bool
    """Whether it can be asked again with other images or prompts; a file of answers cannot."""

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
            texts: For each sample, texts whose likelihood as its answer is wanted; empty means none for any.
            max_tokens: Maximum tokens of an answer; 0 writes nothing and only scores texts.
            progress: Called as answers arrive.

        Raises:
            BackendError: it cannot be reached, or texts are given and it cannot score any.
            DataError: not one list of texts per sample.
        """
        ...
