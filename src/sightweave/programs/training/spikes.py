"""Spikes of the training loss: losses far above those of the updates before.

A spike is found by a robust z-score, with the median in place of the mean and the median absolute deviation in place of the
standard deviation (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers), so that spikes hardly change the scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

LOSS, TYPICAL, SAMPLES = "spike_loss", "spike_typical_loss", "spike_samples"
"""Names in the log: the loss, the median of the window before it, and ids of samples of its update."""
WINDOW = 100
"""Number of updates that a loss is compared with."""
_FEWEST = 20
"""Number of updates below which nothing counts as a spike."""
_SCORE = 8.0
"""A loss with a larger robust z-score is a spike."""
_LEAST = 0.05
"""Smallest scale, as a fraction of the median, so that the noise of a very even loss is no spike."""
_TO_DEVIATION = 1.4826
"""Standard deviation of normally distributed values, over their median absolute deviation."""
MAX_IDS = 5
"""Maximum number of ids that are named."""
_MAX_SHOWN = 500
"""Maximum characters of the ids in a sentence."""


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Whether a loss is far above those of the updates before it."""
    if len(before) < _FEWEST:
        return False
    middle = median(before)
    deviation = _TO_DEVIATION * median(abs(one - middle) for one in before)
    scale = max(deviation, _LEAST * abs(middle))
    return loss - middle > _SCORE * scale


def row(loss: float, before: Sequence[float], ids: Sequence[str]) -> dict[str, float | str]:
    """The row of the log for a spike.

    Args:
        loss: Loss of the update.
        before: Losses of the updates before it.
        ids: Ids of the update's samples.
    """
    named = ", ".join(ids[:MAX_IDS])
    more = f" and {len(ids) - MAX_IDS} more" if len(ids) > MAX_IDS else ""
    return {LOSS: loss, TYPICAL: median(before), SAMPLES: named + more}


def notes(history: Iterable[Mapping[str, Any]], *, most: int = 5) -> list[str]:
    """Sentences about the highest spikes in the rows of a log, in their order.

    Args:
        history: Rows of a ``metrics.jsonl``.
        most: Maximum number of sentences about single spikes; one more has the number of the others.
    """
    found = [one for one in history if isinstance(one.get(LOSS), int | float)]
    highest = sorted(found, key=_height, reverse=True)[:most]
    sentences = []
    for one in found:
        if one in highest:
            ids = str(one.get(SAMPLES, ""))[:_MAX_SHOWN]
            sentences.append(
                f"The loss of step {one['step'] + 1:,} was {one[LOSS]:.3g}, but {_typical(one):.3g} was typical; samples of "
                f"this update: {ids}."
            )
    if len(found) > most:
        sentences.append(f"{len(found) - most} smaller spikes of the loss are in metrics.jsonl.")
    return sentences


def _height(one: Mapping[str, Any]) -> float:
    return float(one[LOSS]) - _typical(one)


def _typical(one: Mapping[str, Any]) -> float:
    value = one.get(TYPICAL)
    return float(value) if isinstance(value, int | float) else 0.0
