"""Baselines that answer from the training texts alone: counted once for a run, and cached in its folder.

Counting can take as long as answering: the demo trains on 28,640 images, and a source that generates images on demand
generates their texts too. The counts depend only on the data, the tasks and the recipe, so later evaluations reuse them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from sightweave.core import bounded, files, json_lines
from sightweave.core import config as configs
from sightweave.core.bounded import UnreadableError
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.programs.evaluation.baselines import Baselines
from sightweave.recipe import Measured, Recipe
from sightweave.verbs.sources import seen_in_training

logger = logging.getLogger(__name__)

TEXT_ONLY = "text-only.json"
_FORMAT_VERSION = 1
_MAX_BYTES = 256 << 20


def baselines(
    sources: Sequence[Dataset], measured: Measured, recipe: Recipe | None, folder: Path | None
) -> Baselines:
    """Counts the answers in the training data, or in the part that was shown in training if images are generated.

    Args:
        sources: The training data.
        measured: Settings of the tasks, which turn records into prompts.
        recipe: The run's recipe; None if something other than a run answers.
        folder: The run's folder, where counts are cached.
    """
    visited = seen_in_training(recipe, sources)
    notes = list(_notes(sources, visited, has_recipe=recipe is not None))

    # Only the counts of a run are cached.
    path = folder / TEXT_ONLY if folder is not None and recipe is not None and sources else None
    key = _key(sources, visited, measured, recipe)
    cached = None if path is None or key is None else _cached(path, key, notes)
    if cached is not None:
        return cached

    known = Baselines(notes=notes)
    tasks = measured.build_tasks()
    for one, places in zip(sources, visited, strict=True):
        # Only texts are counted, and finding regions may cost more than everything else.
        texts = one.without_regions() if hasattr(one, "without_regions") else one
        for index in places:
            for record in texts[index]:
                known.add(tasks[task_of(record)].sample(record))

    if path is not None and key is not None and path.parent.is_dir():
        document = {"format_version": _FORMAT_VERSION, "key": key, "counts": known.to_plain()}
        files.write_text(path, json_lines.dumps(document))
    return known


def _notes(sources: Sequence[Dataset], visited: Sequence[Sequence[int]], *, has_recipe: bool) -> list[str]:
    counted, total = sum(map(len, visited)), sum(map(len, sources))
    if counted == total:
        return []
    how = "the first ones used in training" if has_recipe else "sampled from all of them"
    return [f"the majority and text-only baselines use {counted:,} of {total:,} training images, {how}."]


def _key(
    sources: Sequence[Dataset], visited: Sequence[Sequence[int]], measured: Measured, recipe: Recipe | None
) -> str | None:
    """A hash of everything the counts depend on; None if a source has no fingerprint."""
    fingerprints = [getattr(one, "fingerprint", "") for one in sources]
    if recipe is None or not all(fingerprints):
        return None

    plain = recipe.to_plain()
    tasks = {name: configs.to_plain(measured.task(name)) for name in measured.task_names()}
    for values in tasks.values():
        values.pop("metrics", None)  # metrics do not affect prompts

    of_all = {
        "data": fingerprints,
        "mix": plain["data"],
        "seed": recipe.seed,
        "stages": plain["train"]["stages"],
        "visited": list(map(len, visited)),
        "tasks": tasks,
    }
    return hashlib.sha256(json.dumps(of_all, sort_keys=True).encode()).hexdigest()


def _cached(path: Path, key: str, notes: Sequence[str]) -> Baselines | None:
    """The counts cached under this key; None if there are none or they cannot be read."""
    if not path.exists():
        return None

    try:
        document = bounded.parsed(path, most=_MAX_BYTES)
        if document["format_version"] != _FORMAT_VERSION or document["key"] != key:
            return None
        return Baselines.from_plain(document["counts"], notes=notes)
    except (OSError, UnreadableError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged (%s: %s); counting again", path, type(error).__name__, error)
        return None
