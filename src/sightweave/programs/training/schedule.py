"""Learning rate schedules: warm-up, then cosine decay, a constant rate with linear decay at the end, or a constant rate."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from sightweave.core.config import config

Name = Literal["cosine", "wsd", "constant"]
Share = Annotated[float, Field(ge=0, le=1)]


@config
class ScheduleConfig:
    """Learning rate schedule."""

    name: Name = "wsd"
    """Schedule: cosine, wsd (warm-up, stable, decay: constant, then linear to `min_lr_ratio`) or constant."""
    warmup_steps: NonNegativeInt = 50
    """Number of warm-up steps."""
    cooldown: Share = 0.35
    """Fraction of all steps, at the end, over which ``wsd`` decays."""
    min_lr_ratio: Share = 0.0
    """Final learning rate, as a fraction of the peak."""

    def build(self, *, steps: int) -> Schedule:
        """The schedule of a stage with this number of steps."""
        return Schedule(
            steps=steps,
            name=self.name,
            warmup_steps=self.warmup_steps,
            cooldown=self.cooldown,
            min_lr_ratio=self.min_lr_ratio,
        )


class Schedule:
    r"""The fraction of the peak learning rate at each step.

    ::

        cosine   /^^-._            wsd   /^^^^^^\           constant   /^^^^^^^^
                /      `-.              /        \                   /

    wsd: MiniCPM (Hu et al. 2024, arXiv:2404.06395), section 4.2, with linear decay.

    Args:
        steps: Number of steps.
        name: ``cosine``, ``wsd`` or ``constant``.
        warmup_steps: Number of steps of linear warm-up.
        cooldown: Fraction of the steps, at the end, over which ``wsd`` decays.
        min_lr_ratio: Fraction of the peak that the decay ends at, one step after the last.

    Raises:
        ValueError: unknown `name`, no steps, a negative warm-up, or fractions outside 0 to 1.
    """

    def __init__(
        self,
        *,
        steps: int,
        name: Name = "wsd",
        warmup_steps: int = 0,
        cooldown: float = 0.35,
        min_lr_ratio: float = 0.0,
    ) -> None:
        if name not in ("cosine", "wsd", "constant"):
            raise ValueError(f"schedule must be cosine, wsd or constant (got {name!r}).")
        if steps < 1:
            raise ValueError(f"a schedule needs at least 1 step (got {steps}).")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be 0 or more (got {warmup_steps}).")
        for field, share in (("cooldown", cooldown), ("min_lr_ratio", min_lr_ratio)):
            if not 0 <= share <= 1:
                raise ValueError(f"{field} must be from 0 to 1 (got {share}).")

        self.steps, self.name, self.min_lr_ratio = steps, name, min_lr_ratio
        # A run shorter than its warm-up still reaches the peak.
        self.warmup_steps = min(warmup_steps, steps // 2)
        decay_steps = {"cosine": steps - self.warmup_steps, "wsd": round(steps * cooldown), "constant": 0}
        self.fall_from = max(self.warmup_steps, steps - decay_steps[name])

    def factor(self, step: int) -> float:
        """The fraction of the peak rate at `step`, counted from 0."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if step < self.fall_from or self.name == "constant":
            return 1.0
        if step >= self.steps:
            return self.min_lr_ratio

        done = (step - self.fall_from) / (self.steps - self.fall_from)
        left = (1 + math.cos(math.pi * done)) / 2 if self.name == "cosine" else 1 - done
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * left
