"""The results of validations, which of them is the best, and when a stage ends because none was better for long."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import pydantic
from pydantic import NonNegativeInt

from sightweave.core.errors import RecipeError, did_you_mean

LOSS, SCORE, MEASURE = "validation_loss", "validation_score_", "validation_"
"""Names in the log: of the loss, of a score, followed by the task, and of another measure, followed by its name."""
BY_LOSS, BY_SCORE = "loss", "score"
"""Values of ``train.best_by`` other than a task: the lowest loss, or the highest mean of the scores of all tasks."""


@dataclass
class Validated:
    """The result of one validation."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        extra="forbid", allow_inf_nan=False
    )

    step: NonNegativeInt
    """Number of updates over all stages when it was made."""
    loss: float | None
    """Mean loss; None if it is not finite."""
    scores: dict[str, float] = field(default_factory=dict)
    """Score of each task that was asked, by name."""
    measures: dict[str, float] = field(default_factory=dict)
    """For a stage that learns image_tokens: mean PSNR (dB), mean SSIM and the number of codes used, by name."""

    def row(self) -> dict[str, float | str]:
        """Its numbers by their names in the log."""
        found: dict[str, float | str] = {LOSS: math.nan if self.loss is None else self.loss}
        for task, score in self.scores.items():
            found[SCORE + task] = score
        for name, value in self.measures.items():
            found[MEASURE + name] = value
        return found

    def value(self, by: str) -> float | None:
        """The loss or the score that decides which validation is the best; None if there is none.

        Args:
            by: ``loss``, ``score`` or the name of a task. Without any scores, as in a stage that learns words, the loss.

        Raises:
            RecipeError: the task was not asked.
        """
        if by == BY_LOSS or not self.scores:
            return self.loss
        if by == BY_SCORE:
            return sum(self.scores.values()) / len(self.scores)
        if by not in self.scores:
            known = [BY_LOSS, BY_SCORE, *self.scores]
            raise RecipeError(
                f"train.best_by: the validation has no score of {by!r}. {did_you_mean(by, known)}"
            )
        return self.scores[by]


@dataclass
class Best:
    """The best validation of a stage so far."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(
        extra="forbid", allow_inf_nan=False
    )

    step: NonNegativeInt
    """Number of updates over all stages when it was made."""
    score: float
    """The loss or the score."""
    by: str
    """What `score` is: ``loss``, ``score`` (the mean over tasks) or the name of a task."""

    def is_beaten_by(self, value: float) -> bool:
        """Whether a later value is better: lower for a loss, higher for a score."""
        return value < self.score if self.by == BY_LOSS else value > self.score


@dataclass
class Stopped:
    """A stage that ended early."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    stage: str
    """Name of the stage."""
    step: NonNegativeInt
    """Number of updates of the stage."""
    planned_steps: NonNegativeInt
    """Number of updates that it would have had."""
    best: Best | None
    """Its best validation; None if no loss was finite."""
    patience: NonNegativeInt
    """Number of validations without improvement that it waited for."""

    def to_text(self) -> str:
        """A sentence for the terminal."""
        best = "no validation loss was finite"
        if self.best is not None:
            name = "validation loss" if self.best.by == BY_LOSS else f"validation score ({self.best.by})"
            best = f"the best {name}, {self.best.score:.4g}, was at step {self.best.step:,}"
        return (
            f"stage {self.stage} ended early, after {self.step:,} of {self.planned_steps:,} steps: no improvement in "
            f"{self.patience} validations; {best}"
        )


def better(best: Best | None, found: Validated, by: str) -> Best | None:
    """The new best validation if this one is better than the best so far; otherwise None."""
    value = found.value(by)
    if value is None:
        return None

    named = by if found.scores else BY_LOSS
    is_first = best is None or best.by != named
    if best is None or is_first or best.is_beaten_by(value):
        return Best(found.step, value, named)
    return None
