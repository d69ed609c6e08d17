"""What the training texts alone would answer: counted once for a run, and kept in its folder.

Counting takes as long as answering does: the demo is shown 28,640 pictures, and where pictures are drawn when asked for,
so are their texts. The counts are a function of the data, the tasks and the recipe, so a later evaluation reads them.
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
_MOST_BYTES = 256 << 20


def baselines(
    sources: Sequence[Dataset], measured: Measured, recipe: Recipe | None, folder: Path | None
) -> Baselines:
    """What the training data alone would answer: all of it or, where it is drawn when asked for, what a run was shown.

    Args:
        sources: The training data.
        measured: How its records become prompts.
        recipe: Of the run, where a run answers.
        folder: Of the run; counts are kept there.
    """
    visited = seen_in_training(recipe, sources)
    notes = list(_notes(sources, visited, has_recipe=recipe is not None))
    path = folder / TEXT_ONLY if folder is not None and recipe is not None and sources else None
    key = _key(sources, visited, measured, recipe)
    kept = None if path is None or key is None else _kept(path, key, notes)
    if kept is not None:
        return kept

    known = Baselines(notes=notes)
    tasks = measured.build_tasks()
    for one, places in zip(sources, visited, strict=True):
        # Texts alone are counted, and finding regions may cost more than all the rest.
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
    """A hash of all that the counts depend on; None where a source has no fingerprint."""
    fingerprints = [getattr(one, "fingerprint", "") for one in sources]
    if recipe is None or not all(fingerprints):
        return None
    plain = recipe.to_plain()
    tasks = {name: configs.to_plain(measured.task(name)) for name in measured.task_names()}
    for values in tasks.values():
        values.pop("metrics", None)  # how answers are scored changes no prompt
    of_all = {
        "data": fingerprints,
        "mix": plain["data"],
        "seed": recipe.seed,
        "stages": plain["train"]["stages"],
        "visited": [len(places) for places in visited],
        "tasks": tasks,
    }
    return hashlib.sha256(json.dumps(of_all, sort_keys=True).encode()).hexdigest()


def _kept(path: Path, key: str, notes: Sequence[str]) -> Baselines | None:
    """What is kept under that key; None where there is nothing that can be read."""
    if not path.exists():
        return None
    try:
        document = bounded.parsed(path, most=_MOST_BYTES)
        if document["format_version"] != _FORMAT_VERSION or document["key"] != key:
            return None
        return Baselines.from_plain(document["counts"], notes=notes)
    except (OSError, UnreadableError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged (%s: %s); counting again", path, type(error).__name__, error)
        return None
