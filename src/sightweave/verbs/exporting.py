"""A run in the files of other programs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import catalog, config, old_names, outputs
from sightweave.core.types import Sample
from sightweave.data.inputs import order
from sightweave.data.reading.dataset import task_of
from sightweave.models.adapters import lora
from sightweave.programs.evaluation import stored
from sightweave.programs.evaluation.stored import EVALUATION
from sightweave.programs.exports._base import Exported
from sightweave.programs.exports._card import card
from sightweave.programs.exports._layout import Source
from sightweave.run import Run
from sightweave.verbs.building import as_run
from sightweave.verbs.sources import build_sources, check_places, read_data


@old_names.accepts(licence="license")
def export(
    run: str | Path | Run,
    *,
    to: str = "transformers",
    out: str | Path | None = None,
    data: Any = None,
    samples: int = 8,
    license: str = "",
    trust_run: bool = False,
    **options: Any,
) -> Exported:
    """Writes a run in the files of another program, opens them there, and compares logits and greedy answers.

    Args:
        run: A run or its folder.
        to: A kind in ``programs/exports``, such as ``transformers``, or the dotted path of a module of your own.
        out: The new folder; by default ``export-TO`` in the run's.
        data: What to compare by: a path, a source as in a recipe, a list of these, or rows; None means the run's own data,
            or drawn scenes where it names none.
        samples: Prompts to compare by.
        license: An SPDX name for the model card.
        trust_run: As for `load`.
        options: Fields of the kind's ``Config``, such as ``layout="llava"``.

    Raises:
        RecipeError: no such kind, or a mistake in its options.
        ExportError: the composition has no place there, or the other program does not say what we say.
    """
    program = catalog.module("programs.exports", to)
    exporter = config.build(program.Config, options, where=f"export to {to}")

    loaded = as_run(run, trust_run=trust_run)
    folder = Path(out) if out is not None else (loaded.folder or Path("runs")) / f"export-{to}"
    outputs.check_export(folder)
    made: Exported = exporter.export(
        Source(
            model=lora.merged(loaded.model),
            processor=loaded.processor,
            parts=loaded.recipe.model,
            recipe=loaded.recipe.to_plain(),
        ),
        folder,
        _to_compare(loaded, data, samples),
        card=_card(loaded, license, _use(program, exporter)),
    )
    return made


def _use(program: Any, exporter: Any) -> str:
    """How the files are opened, and what programs that open them get wrong."""
    uses: Mapping[str, str] = getattr(program, "USES", {})
    use = uses.get(getattr(exporter, "layout", ""), program.USE)
    return f"{use}\n\n{program.LIMITS}"


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
