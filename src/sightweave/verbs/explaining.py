"""Tests on data whether the explanations of a run are true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightweave.core.types import Sample
from sightweave.data.datasets import own
from sightweave.data.inputs import order
from sightweave.data.reading.dataset import task_of
from sightweave.programs import faithfulness as program
from sightweave.programs.faithfulness import Faithfulness
from sightweave.run import Run
from sightweave.verbs.building import as_run
from sightweave.verbs.sources import read_data

_PER_QUESTION = 10
"""Maximum number of images that are read for each question that counts."""


def faithfulness(
    run: str | Path | Run,
    data: Any,
    *,
    methods: Sequence[str] = (),
    samples: int = 100,
    split: str = "test",
    seed: int = 0,
    trust_run: bool = False,
) -> Faithfulness:
    """Tests whether explanations point at the object that a question names, and whether it matters what they point at.

    Args:
        run: A run or its folder.
        data: Data with regions: a path, a source such as ``{kind: scenes}``, a list of these, or rows.
        methods: Kinds in ``answers/explainers``; empty means all.
        samples: Number of questions to test on; those that the model answers wrong do not count.
        split: Split of the data.
        seed: Random seed of the choice of questions and of the random map.
        trust_run: As for `load`.

    Raises:
        DataError: No question names one region and is answered right.
        RecipeError: There is no such method.
    """
    loaded = as_run(run, trust_run=trust_run)
    sources, rows = read_data(data)
    datasets = (
        [one.build(split=split) for one in sources]
        if rows is None
        else [own.from_records(rows, held_out=0.0)]
    )
    asked = _drawn(loaded, datasets, _PER_QUESTION * samples, seed)
    return program.measure(loaded.model, loaded.processor, asked, methods, most=samples, seed=seed)


def _drawn(run: Run, datasets: Sequence[Any], count: int, seed: int) -> list[Sample]:
    """The samples of at most `count` images of each dataset, drawn at random."""
    tasks = run.recipe.build_tasks()
    found: list[Sample] = []
    for one in datasets:
        for index in order.drawn(seed, len(one), count):
            found += [tasks[task_of(record)].sample(record) for record in one[index]]
    return found
