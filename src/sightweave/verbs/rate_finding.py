"""The learning-rate range test of a recipe."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave.core.errors import RecipeError
from sightweave.core.progress import LiveLine, wanted
from sightweave.programs.training import rate_finder
from sightweave.programs.training.early_stopping import BY_LOSS
from sightweave.programs.training.rate_finder import RateTest
from sightweave.programs.training.rates import batch_factor
from sightweave.programs.training.trainer import Trainer, TrainingData
from sightweave.programs.training.world import World
from sightweave.recipe import Recipe
from sightweave.verbs import planning
from sightweave.verbs.building import composed
from sightweave.verbs.sources import (
    read_recipe,
    with_data,
)


def find_lr(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    data: Any = None,
    stage: int = 0,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    progress: bool | None = None,
    console: Console | None = None,
) -> RateTest:
    """Suggests a peak learning rate: trains a stage with a rate that grows from step to step, and keeps nothing.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        data: Used instead of the recipe's sources, in any of the forms that `train` takes.
        stage: Index of the stage to test; it starts from the weights that the run would start from.
        steps: Number of updates.
        lowest: First learning rate of AdamW; the rates of Muon and of single parts keep their proportion to it.
        highest: Last learning rate.
        progress: As for `train`.
        console: As for `train`.

    Raises:
        RecipeError: a mistake in the recipe, no such stage, or invalid rates or steps.
        DataError: nothing to train on.
    """
    recipe, settings, records = with_data(recipe, settings, data)
    asked = read_recipe(recipe, settings)
    stages = asked.train.stages
    if not 0 <= stage < len(stages):
        raise RecipeError(f"find_lr: the recipe has stages 0 to {len(stages) - 1} (got {stage}).")
    unscored = dataclasses.replace(
        asked.train, validate_every=0, validate_samples=0, patience=0, best_by=BY_LOSS, keep="last"
    )

    console = wanted(console, progress)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = planning.plan(folder, dataclasses.replace(asked, train=unscored), records, None, World(), None)
        run = composed(plan.recipe, plan.sources, torch.device("cpu"))
        trainer = Trainer(
            run.model,
            run.processor,
            TrainingData(plan.sources, plan.tasks, plan.mix),
            plan.recipe.train,
            precision=plan.precision,
            out=folder,
            seed=plan.recipe.seed,
        )

        with LiveLine(console, transient=True) as line:
            line.start("learning rates", steps)
            found = rate_finder.find(
                trainer.model,
                trainer.feeds[stage],
                trainer.feeds[stage].stage,
                plan.precision,
                lowest=lowest,
                highest=highest,
                steps=steps,
                progress=lambda done, loss: line.update(done, total=steps, note=f"loss {loss:.3f}"),
            )
    return found.before_scaling(batch_factor(plan.recipe.train, plan.recipe.train.stages[stage]))
