"""What a folder that training is to write into holds already: nothing, an unfinished run to resume, or a finished one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import config as configs
from sightweave.core import files
from sightweave.core.device import Precision
from sightweave.core.errors import DataError, RecipeError, SightweaveError
from sightweave.core.run_folder import refuse_other_results, refuse_run, unfinished
from sightweave.data.reading.dataset import Dataset
from sightweave.programs.training.checkpoints import Checkpoints
from sightweave.programs.training.feed import fingerprint_of
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.state import State
from sightweave.recipe import Recipe

_FREE = (
    "title",
    "evaluate",
    "train.check",
    "train.keep_checkpoints",
    "train.log_every",
    "train.num_workers",
    "train.save_every",
    "train.trackers",
    # These change at most rounding and dropout; `inexact` reports the last three.
    "mesh",
    "train.device",
    "train.num_threads",
    "train.precision",
)
"""Settings that may change on a resume."""
_SHOWN = 12


@dataclass(frozen=True)
class Earlier:
    """An earlier run of the same recipe in a folder."""

    state: State | None
    """State to resume from; None if the run is finished."""
    changes: Sequence[str] = ()
    """Differences to the recipe that the run began with, which the user allows."""
    may_change: bool = False
    """Whether the user allows differences."""


def earlier_run(folder: Path, asked: Recipe, *, allow_changes: bool) -> Earlier | None:
    """The run that a folder holds, if the same recipe began it; None if the folder holds none.

    A run that ended before its first checkpoint counts as none.

    Args:
        folder: The run's folder, locked by the caller.
        asked: The recipe as given.
        allow_changes: Whether an unfinished run may be resumed with another recipe.

    Raises:
        FolderError: the folder holds the results of another recipe or of another command.
        RecipeError: the folder holds an unfinished run of another recipe.
        CheckpointError: none of its checkpoints can be read.
    """
    known = runs.facts_of(folder)
    checkpoints = Checkpoints(folder)
    is_saved = files.whole(folder / runs.CHECKPOINT).is_dir()
    if not is_saved and not checkpoints.steps:
        refuse_other_results(folder)
        return None

    is_finished = is_saved and known.get("interrupted") is False
    if runs.GIVEN not in known or (is_saved and not is_finished and not checkpoints.steps):
        refuse_run(folder)  # written by an earlier version, or without its checkpoints

    changes = list(_differences(known[runs.GIVEN], asked))
    if is_finished:
        if changes:
            refuse_run(folder, f"its recipe differs from this one:{_listed(changes)}")
        return Earlier(None)

    if changes and not allow_changes:
        raise RecipeError(
            f"{folder}: {unfinished(known)}, and its recipe differs from this one:{_listed(changes)}\nResume with the "
            "recipe that it began with, allow the changes with --allow-changes (allow_changes=True), which the run "
            "records, or choose another folder."
        )

    # Both kinds of leftovers of a killed process may be removed, since nobody else writes here.
    checkpoints.tidy()
    state = checkpoints.newest()
    assert state is not None  # there are steps, and `newest` raises if all of them are damaged
    return Earlier(state, changes, may_change=allow_changes)


def to_json(earlier: Earlier | None) -> dict[str, Any] | None:
    """What the other processes of a run need to know about an earlier one, for `of_json`."""
    if earlier is None:
        return None
    steps = None if earlier.state is None else earlier.state.steps
    return {"steps": steps, "changes": list(earlier.changes), "may_change": earlier.may_change}


def of_json(document: Mapping[str, Any] | None, folder: Path) -> Earlier | None:
    """The earlier run that `to_json` described, with its state read from the run's folder.

    Raises:
        CheckpointError: this process cannot read the state.
    """
    if document is None:
        return None
    steps = document["steps"]
    # The first process has compared the hashes.
    state = None if steps is None else Checkpoints(folder).read(steps, is_checked=False)
    return Earlier(state, document["changes"], may_change=document["may_change"])


def _differences(given: Any, asked: Recipe) -> Iterator[str]:
    """The settings that differ between a recipe from ``run.json`` and another one, as ``path: value -> value``."""
    source = configs.Downloaded(recipes.modules_of(asked))
    try:
        earlier = recipes.of_run(given, where="run.json", source=source).to_plain()
    except SightweaveError as error:
        yield f"its recipe cannot be read: {error}"
        return

    old, new = dict(_settings(earlier)), dict(_settings(asked.to_plain()))
    for path in [*old, *[path for path in new if path not in old]]:
        is_free = any(path == one or path.startswith(f"{one}.") for one in _FREE)
        if not is_free and old.get(path) != new.get(path):
            yield f"{path}: {old.get(path)} -> {new.get(path)}"


def _settings(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All settings of a plain recipe by their paths."""
    if isinstance(value, Mapping) and value:
        parts: Sequence[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list | tuple) and value:
        parts = list(enumerate(value))
    else:
        yield path, list(value) if isinstance(value, tuple) else value
        return

    for name, one in parts:
        yield from _settings(one, f"{path}.{name}" if path else str(name))


def with_precision(recipe: Recipe, state: State) -> Recipe:
    """The recipe with the number format that the run began with, if it leaves that open."""
    if recipe.train.precision != "auto":
        return recipe
    return replace(recipe, train=replace(recipe.train, precision=state.precision))


def facts_of_sources(datasets: Sequence[Dataset]) -> list[dict[str, Any]]:
    """Fingerprint, number of images and hash of the sizes of the image files of each source, for ``run.json``."""
    found = []
    for one in datasets:
        facts = {"fingerprint": fingerprint_of([one]), "images": len(one)}
        sizes = getattr(one, "sizes", "")
        found.append(facts | ({"sizes": sizes} if sizes else {}))
    return found


def data_changes(folder: Path, datasets: Sequence[Dataset]) -> list[str]:
    """The sources of the training split that differ from those that the run in a folder began with."""
    before, sources = runs.facts_of(folder).get(runs.SOURCES, []), facts_of_sources(datasets)
    found = []
    if len(before) != len(sources):
        found.append(f"data: {len(before)} sources -> {len(sources)}")
    for number, (old, new) in enumerate(zip(before, sources, strict=False)):
        change = _change(old, new)
        if change:
            found.append(f"data.{number}: {change}")
    return found


def _change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How a source differs from what ``run.json`` says of it; empty if it does not."""
    if old.get("images") != new["images"]:
        return f"{old.get('images')} images -> {new['images']}"
    if old.get("fingerprint") != new["fingerprint"]:
        return "other rows"
    # Runs of earlier versions have no sizes.
    if "sizes" in old and old["sizes"] != new.get("sizes"):
        return "image files of other sizes"
    return ""


def check_data(folder: Path, datasets: Sequence[Dataset]) -> None:
    """Raises `FolderError` if the finished run in a folder was trained on other data."""
    changes = data_changes(folder, datasets)
    if changes:
        refuse_run(folder, f"its training data differs from this:{_listed(changes)}")


def compare_data(
    folder: Path, state: State, datasets: Sequence[Dataset], *, allow_changes: bool
) -> list[str]:
    """Compares the training data with that of the run; returns the differences, and adapts the state to allowed ones.

    Args:
        folder: The run's folder.
        state: The state to resume from.
        datasets: Sources of the training split.
        allow_changes: Whether they may differ.

    Raises:
        DataError: they differ and must not.
    """
    changes = data_changes(folder, datasets)
    if changes and not allow_changes:
        raise DataError(
            f"{folder}: its training data has changed since it began:{_listed(changes)}\nRestore the data, allow the "
            "changes with --allow-changes (allow_changes=True), which the run records, or choose another folder."
        )
    if state.data != fingerprint_of(datasets):
        # Images are numbered through all sources, so the numbers of those seen so far mean nothing any more.
        state.data = fingerprint_of(datasets)
        state.seen = Seen(sum(map(len, datasets)))
    return changes


def _listed(changes: Sequence[str]) -> str:
    return "".join(f"\n  {one}" for one in changes[:_SHOWN])


def inexact(folder: Path, state: State, precision: Precision) -> list[str]:
    """Reasons why a resumed run may end with other bits than one that was never stopped."""
    known, now = runs.facts_of(folder), runs.facts(precision.device)
    found = []
    if state.threads and state.threads != torch.get_num_threads():
        found.append(f"threads {state.threads} -> {torch.get_num_threads()}")
    if state.precision != precision.name:
        found.append(f"{state.precision} -> {precision.name}")
    if known.get("device") not in (None, str(precision.device)):
        found.append(f"{known['device']} -> {precision.device}")
    if known.get("processor") not in (None, now["processor"]):
        found.append(f"{known['processor']} -> {now['processor']}")

    before = known.get("versions")
    for name, version in now["versions"].items():
        earlier = before.get(name) if isinstance(before, Mapping) else None
        if earlier not in (None, version):
            found.append(f"{name} {earlier} -> {version}")
    return found


def record_resume(folder: Path, state: State, changes: Sequence[str]) -> None:
    """Adds an entry on this resume to ``run.json``."""
    before = runs.facts_of(folder).get(runs.RESUMED, [])
    entry = {"step": state.steps, "time": round(time.time()), "changes": list(changes)}
    runs.record(folder, {runs.RESUMED: [*(before if isinstance(before, list) else []), entry]})
