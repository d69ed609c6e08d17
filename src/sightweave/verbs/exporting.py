"""Exports a run to the file formats of other programs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.core import catalog, config, old_names, outputs
from sightweave.core.errors import ExportError
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
    """Exports a run for another program, loads the files there, and compares logits and greedy answers.

    Args:
        run: A run or its folder.
        to: A kind in ``programs/exports``, such as ``transformers``, or the dotted path of your own module.
        out: The new folder; by default ``export-TO`` in the run's folder.
        data: Data for the comparison: a path, a source as in a recipe, a list of these, or rows; None means the run's own
            data, or generated scenes if it names none.
        samples: Number of prompts to compare.
        license: SPDX identifier of the licence in the model card.
        trust_run: As for `load`.
        options: Fields of the kind's ``Config``, such as ``layout="llava"``.

    Raises:
        RecipeError: no such kind, or a mistake in its options.
        ExportError: the other program has no equivalent of this model, or its results differ from ours.
    """
    program = catalog.module("programs.exports", to)
    exporter = config.build(program.Config, options, where=f"export to {to}")

    loaded = as_run(run, trust_run=trust_run)
    if loaded.model.image_tokenizer is not None:
        raise ExportError(
            f"{loaded.folder or 'this run'}: the model has an image tokenizer, "
            f"{config.kind_of(loaded.recipe.model.image_tokenizer)}, which no export format can contain; use the run itself."
        )
    folder = Path(out) if out is not None else (loaded.folder or Path("runs")) / f"export-{to}"
    outputs.check_export(folder)

    source = Source(
        model=lora.merged(loaded.model),
        processor=loaded.processor,
        parts=loaded.recipe.model,
        recipe=loaded.recipe.to_plain(),
    )
    exported: Exported = exporter.export(
        source,
        folder,
        _to_compare(loaded, data, samples),
        card=_card(loaded, license, _use(program, exporter)),
    )
    return exported


def _use(program: Any, exporter: Any) -> str:
    """How to load the files, and the known limits of programs that load them."""
    uses: Mapping[str, str] = getattr(program, "USES", {})
    use = uses.get(getattr(exporter, "layout", ""), program.USE)
    return f"{use}\n\n{program.LIMITS}"


def _to_compare(run: Run, data: Any, count: int) -> list[Sample]:
    """At most `count` samples with images, from as many different images as possible."""
    recipe = run.recipe
    if data is None:
        check_places(run)
        with_data = recipe if recipe.data else recipes.measured({"data": "scenes"})
        sources = build_sources(with_data, None, "train")
    else:
        chosen, records = read_data(data)
        sources = build_sources(dataclasses.replace(recipe, data=chosen), records, "train")

    tasks = recipe.build_tasks()
    groups = []
    for one in sources:
        for index in order.drawn(recipe.seed, len(one), count):
            samples = [tasks[task_of(record)].sample(record) for record in one[index]]
            groups.append([sample for sample in samples if sample.media])

    # The first sample of every image, then the second ones, and so on.
    in_turns = itertools.chain.from_iterable(itertools.zip_longest(*groups))
    return [sample for sample in in_turns if sample is not None][:count]


def _card(run: Run, licence: str, use: str) -> str:
    """The model card, with the scores of the run's evaluation if there is one."""
    folder = run.folder or Path()
    facts = runs.facts_of(folder)
    has_scores = (folder / EVALUATION).exists()
    splits = [one.to_json() for one in stored.read_scores(folder)] if has_scores else []

    title = run.recipe.title or folder.name or "A run"
    return card(title, run.recipe.to_plain(), facts, splits, licence, use)
