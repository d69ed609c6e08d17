"""Planning a training run: the resolved recipe, the device and the data, before the model is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave.core import outputs
from sightweave.core.device import (
    Precision,
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from sightweave.core.outputs import ROWS_LEFT_OUT
from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset
from sightweave.data.reading.splits import VALIDATION
from sightweave.programs.training import durations
from sightweave.programs.training.durations import Epoch
from sightweave.programs.training.state import State
from sightweave.programs.training.world import World
from sightweave.recipe import Recipe
from sightweave.verbs import resuming
from sightweave.verbs.sources import (
    FEWEST,
    SHARE,
    build_sources,
    held_out_of,
    holding_out,
    mixing,
    say,
)

NOTHING_HELD_OUT = (
    "no image is held out, so this run has no score; give some rows the split test, add images, or set data.0.held_out "
    "above 0"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything about a training run that is known before its model is built."""

    asked: Recipe
    """The recipe as given."""
    recipe: Recipe
    """The resolved recipe: with all parts, the held-out share, and steps in place of epochs."""
    precision: Precision
    tasks: dict[str, Any]
    sources: list[Dataset]
    held_out: dict[str, list[Dataset]]
    validation: list[Dataset]
    """Sources of the validation split; empty if nothing is validated during training."""
    mix: Sequence[order.Mixing]
    epochs: list[Epoch]
    """The epoch of each stage."""


def plan(
    folder: Path,
    asked: Recipe,
    records: list[Any] | None,
    resumed: State | None,
    world: World,
    console: Console | None,
) -> Plan:
    """Chooses device and precision, and opens the data."""
    # Resolving a recipe may use the network, so it comes after everything that does not.
    tasks = asked.build_tasks()
    with world.in_turns():
        recipe = asked.resolved()
    if resumed is not None:
        recipe = resuming.with_precision(recipe, resumed)
    keep_freed_memory()
    device = world.device(choose_device(recipe.train.device))
    set_threads(recipe.train.num_threads)
    precision = world.precision(choose_precision(recipe.train.precision, device))
    recipe.check()
    torch.manual_seed(recipe.seed)

    # The data determines what is held out, and the number of steps per epoch.
    with world.in_turns():
        if world.is_first:
            outputs.remove(folder, ROWS_LEFT_OUT)
        recipe, sources, held_out, validation = _data(recipe, records, folder if world.is_first else None)
        if world.is_first:
            outputs.remove(folder, ROWS_LEFT_OUT, only_empty=True)
    if not held_out:
        say(console, NOTHING_HELD_OUT)

    mix = mixing(recipe, records)
    epochs = durations.epochs(recipe.train.stages, sources, tasks, mix)
    recipe = dataclasses.replace(recipe, train=durations.resolved(recipe.train, epochs))

    return Plan(asked, recipe, precision, tasks, sources, held_out, validation, mix, epochs)


def _data(
    recipe: Recipe, records: list[Any] | None, folder: Path | None
) -> tuple[Recipe, list[Dataset], dict[str, list[Dataset]], list[Dataset]]:
    """The recipe, its training sources, its held-out splits, and the sources of its validation split.

    If the data holds out nothing, a share of it is held out for validation.
    """

    def read(recipe: Recipe, share: float | None) -> tuple[list[Dataset], dict[str, list[Dataset]]]:
        sources = build_sources(recipe, records, "train", folder, share)
        return sources, held_out_of(recipe, records, share)

    share = None
    sources, held_out = read(recipe, None)
    if not held_out and not recipe.evaluate.splits:
        holding = holding_out(recipe)
        is_enough = sum(map(len, sources)) >= FEWEST
        if is_enough and (records is not None or holding != recipe):
            recipe, share = holding, SHARE
            sources, held_out = read(recipe, share)

    validation: list[Dataset] = []
    if recipe.train.validate_every != 0:
        validation = held_out.get(VALIDATION) or build_sources(recipe, records, VALIDATION, None, share)
    return recipe, sources, held_out, [one for one in validation if len(one)]
