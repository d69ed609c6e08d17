"""A run in the files of other programs."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import catalog, outputs
from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.core.types import Sample
from sightweave.data.datasets._base import task_of
from sightweave.data.inputs import order
from sightweave.programs.evaluation import stored
from sightweave.programs.evaluation.stored import EVALUATION
from sightweave.programs.exports._base import Exported
from sightweave.programs.exports._card import card
from sightweave.programs.exports._layout import Source
from sightweave.programs.training import lora
from sightweave.run import Run
from sightweave.verbs.building import as_run
from sightweave.verbs.sources import build_sources, check_places, read_data


def export(
    run: str | Path | Run,
    *,
    to: str = "transformers",
    out: str | Path | None = None,
    data: Any = None,
    samples: int = 8,
    licence: str = "",
    trust_run: bool = False,
    **options: Any,
) -> Exported:
    """Writes a run in the files of another program, opens them there, and compares logits and greedy answers.

    Args:
        run: A run or its folder.
        to: A kind in ``programs/exports``: ``transformers`` ...
        out: The new folder; by default ``export-TO`` in the run's.
        data: What to compare by: a path, a source as in a recipe, a list of these, or rows; None means the run's own data,
            or drawn scenes where it names none.
        samples: Prompts to compare by.
        licence: An SPDX name for the model card.
        trust_run: As for `load`.
        options: The kind's own, such as ``layout="llava"``.

    Raises:
        RecipeError: no such kind, or an option that it has not.
        ExportError: the composition has no place there, or the other program does not say what we say.
    """
    program = catalog.module("programs.exports", to)
    known = [*inspect.signature(program.export).parameters][3:]
    if unknown := [name for name in options if name not in known]:
        raise RecipeError(f"export to {to} has no option {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
    loaded = as_run(run, trust_run=trust_run)
    folder = Path(out) if out is not None else (loaded.folder or Path("runs")) / f"export-{to}"
    outputs.check_export(folder)
    made: Exported = program.export(
        Source(
            model=lora.merged(loaded.model),
            processor=loaded.processor,
            parts=loaded.recipe.model,
            recipe=loaded.recipe.to_plain(),
        ),
        folder,
        _to_compare(loaded, data, samples),
        card=_card(loaded, licence, _use(program, options)),
        **options,
    )
    return made


def _use(program: Any, options: Mapping[str, Any]) -> str:
    """How the files are opened, and what programs that open them get wrong."""
    uses: Mapping[str, str] = getattr(program, "USES", {})
    return f"{uses.get(options.get('layout', ''), program.USE)}\n\n{program.LIMITS}"


def _to_compare(run: Run, data: Any, count: int) -> list[Sample]:
    """Samples with pictures, from as many pictures as can be."""
    recipe = run.recipe
    if data is None:
        check_places(run)
        sources = build_sources(
            recipe if recipe.data else recipes.measured({"data": "scenes"}), None, "train"
        )
    else:
        chosen, records = read_data(data)
        sources = build_sources(dataclasses.replace(recipe, data=chosen), records, "train")
    tasks = recipe.build_tasks()
    groups = [
        [tasks[task_of(record)].sample(record) for record in one[index]]
        for one in sources
        for index in order.drawn(recipe.seed, len(one), count)
    ]
    with_pictures = [[sample for sample in group if sample.media] for group in groups]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*with_pictures))
    return [sample for sample in turns if sample is not None][:count]


def _card(run: Run, licence: str, use: str) -> str:
    folder = run.folder or Path()
    facts = runs.facts_of(folder)
    has_scores = (folder / EVALUATION).exists()
    splits = [one.to_json() for one in stored.read_scores(folder)] if has_scores else []
    return card(
        run.recipe.title or folder.name or "A run", run.recipe.to_plain(), facts, splits, licence, use
    )
