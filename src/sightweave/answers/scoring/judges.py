"""The interface of a judge: a trained model other than the one that is scored, which looks at drawn images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightweave.core.errors import DataError
from sightweave.core.types import Check


class Judge(Protocol):
    """Answers questions about images, and computes their features."""

    name: str
    """Name for readers, such as the folder of its run."""
    fingerprint: str
    """Digest of its weights."""

    def answer(self, images: Sequence[NDArray[np.uint8]], checks: Sequence[Check]) -> list[str | None]:
        """The answer to one question about each image (H W 3); None if it could not be parsed."""
        ...

    def features(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """One vector per image, R D."""
        ...


def needed(metric: str, judge: Judge | None) -> Judge:
    """The judge of a metric.

    Raises:
        DataError: There is none, since only an evaluation loads it.
    """
    if judge is None:
        raise DataError(
            f"{metric}: its judge is not loaded; score drawings with `sightweave evaluate`, or set the metric's `judge`."
        )
    return judge


def signature(judge: Judge) -> str:
    """The name of a judge with the beginning of its digest."""
    return f"judge:{judge.name}|sha256:{judge.fingerprint[:12]}"
