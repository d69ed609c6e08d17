"""The learning-rate range test: trains a little with a rate that grows from step to step, and suggests a peak rate.

Smith 2017 (Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186), section 3.3, with a rate that grows
exponentially instead of linearly and the training loss in place of the accuracy, as is common since.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sightweave.core.device import Precision
from sightweave.core.errors import RecipeError
from sightweave.models.vlm import VLM
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.work import Work

_SMOOTHING = 0.9
"""Decay of the moving average of the losses, which is corrected for its start."""
_DIVERGED = 3.0
"""The test ends where the smoothed loss exceeds this many times its minimum."""
_FELL = 0.98
"""The smoothed loss must fall below this fraction of its first value for a suggestion."""
_SHARE = 0.1
"""The suggestion, as a fraction of the rate with the lowest smoothed loss."""
_WARM = 5
"""Number of steps before the test may end, since the first smoothed losses are of few batches."""


@dataclass(frozen=True, slots=True)
class RateTest:
    """The result of a range test."""

    rates: tuple[float, ...]
    """Learning rate of each update."""
    losses: tuple[float, ...]
    """Loss before each update."""
    smoothed: tuple[float, ...]
    """Moving average of the losses."""
    suggestion: float | None
    """The suggested peak learning rate; None if the loss did not fall, or was still falling at the highest rate."""
    reason: str
    """Why it is suggested, or why nothing is."""
    muon_rate: float | None = None
    """The suggested peak learning rate of Muon, in the recipe's proportion to that of AdamW; None without Muon."""

    def before_scaling(self, factor: float) -> RateTest:
        """The same with the suggested rates divided by a factor, by which the recipe multiplies its rates."""
        if factor == 1 or self.suggestion is None:
            return self
        muon_rate = None if self.muon_rate is None else self.muon_rate / factor
        reason = f"{self.reason} Divided by {factor:.3g}, by which train.scale_lr multiplies it."
        return replace(self, suggestion=self.suggestion / factor, muon_rate=muon_rate, reason=reason)

    def to_text(self, stage: int) -> str:
        """The suggestion as settings of the stage with this index, and the reason."""
        if self.suggestion is None:
            return f"no suggestion: {self.reason}"

        rates = {"lr": self.suggestion, "muon_lr": self.muon_rate}
        given = [
            f"train.stages.{stage}.optimizer.{name}={rate:.2g}"
            for name, rate in rates.items()
            if rate is not None
        ]
        return f"{' '.join(given)}\n{self.reason}"

    def to_plain(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "suggestion": self.suggestion,
            "muon_lr": self.muon_rate,
            "reason": self.reason,
            "rates": list(self.rates),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
        }


def range_test(
    update: Callable[[float], float], *, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100
) -> RateTest:
    """Makes updates with exponentially growing rates, until the last one or until the loss diverges.

    The suggestion is a tenth of the rate at which the smoothed loss was lowest: below the rates that make it rise, with a
    margin for the rest of the training.

    Args:
        update: Makes one update with a learning rate, and returns the loss before it.
        lowest: First rate.
        highest: Last rate.
        steps: Number of updates.

    Raises:
        ValueError: the rates are not positive and ascending, or there are fewer than two steps.
    """
    if not 0 < lowest < highest:
        raise ValueError(
            f"the rates must be positive, and the highest above the lowest (got {lowest:g} to {highest:g})."
        )
    if steps < 2:
        raise ValueError(f"a range test needs at least 2 steps (got {steps}).")

    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    total = weight = 0.0
    has_diverged = False
    for step in range(steps):
        rate = lowest * (highest / lowest) ** (step / (steps - 1))
        loss = update(rate)
        if not math.isfinite(loss):
            has_diverged = True
            break

        total, weight = _SMOOTHING * total + loss, _SMOOTHING * weight + 1
        rates.append(rate)
        losses.append(loss)
        smoothed.append(total / weight)
        if step >= _WARM and smoothed[-1] > _DIVERGED * min(smoothed):
            has_diverged = True
            break

    suggestion, reason = _suggested(rates, smoothed, has_diverged=has_diverged)
    return RateTest(tuple(rates), tuple(losses), tuple(smoothed), suggestion, reason)


def _suggested(rates: list[float], smoothed: list[float], *, has_diverged: bool) -> tuple[float | None, str]:
    """The suggested rate and the reason."""
    if not smoothed:
        return None, "the loss was not finite at the lowest rate; lower it, or check the data."

    best = smoothed.index(min(smoothed))
    if smoothed[best] > _FELL * smoothed[0]:
        return None, (
            f"the loss did not fall clearly at any rate from {rates[0]:.2g} to {rates[-1]:.2g}; use more steps or higher "
            "rates, or check the data."
        )
    if best == len(smoothed) - 1 and not has_diverged:
        return None, f"the loss was still falling at the highest rate, {rates[-1]:.2g}; test higher rates."
    return _SHARE * rates[best], (
        f"a tenth of {rates[best]:.2g}, the rate with the lowest smoothed loss ({smoothed[best]:.3g}, from "
        f"{smoothed[0]:.3g} at the start)."
    )


def find(
    model: VLM,
    feed: Feed,
    stage: Stage,
    precision: Precision,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    progress: Callable[[int, float], None] | None = None,
) -> RateTest:
    """Runs a range test of a stage; the model is trained by it, so it should be thrown away afterwards.

    The rates are those of AdamW, ``optimizer.lr``. Those of Muon and of single parts keep their proportion to it. Warm-up
    and decay do not apply.

    Args:
        model: The model on its device.
        feed: The feed of the stage.
        stage: The stage.
        precision: Device and number format.
        lowest: First rate.
        highest: Last rate.
        steps: Number of updates.
        progress: Called with the number of updates so far and the latest loss.

    Raises:
        RecipeError: the stage's learning rate is 0, so nothing can be in proportion to it, or invalid rates or steps.
    """
    peak = stage.optimizer.lr
    if not peak:
        raise RecipeError(
            f"train.stages, stage {stage.name!r}: optimizer.lr is 0; set any rate above 0 to test other rates."
        )

    work = Work.begin(model, feed, stage, precision, spent=0.0)
    with contextlib.closing(feed.updates()) as updates:
        done = 0

        def update(rate: float) -> float:
            nonlocal done
            loss = work.loss(next(updates))
            norm = work.clip()
            if not math.isfinite(norm):
                return math.nan
            work.update(rate / peak, done)
            done += 1
            if progress is not None:
                progress(done, loss)
            return loss

        try:
            found = range_test(update, lowest=lowest, highest=highest, steps=steps)
        except ValueError as error:
            raise RecipeError(f"find_lr: {error}") from error

    if stage.optimizer.name != "muon" or found.suggestion is None:
        return found
    muon_rate = found.suggestion * stage.optimizer.muon_lr / peak
    return replace(found, muon_rate=muon_rate)
