"""The scores of one recipe over several seeds, as the tables of docs/results.md.

    python -m benchmarks.seeds runs/demo-seeds/seed0 runs/demo-seeds/seed1 runs/demo-seeds/seed2

Scores are means over the runs, with 95 % intervals over images and seeds; controls and gains are means over the runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core.verdicts import use_of_image
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.program import rescored
from sightweave.programs.evaluation.scores import Evaluation, Item, TaskScores, TypeScores
from sightweave.programs.evaluation.stored import read_evaluations
from sightweave.programs.evaluation.verdict import CONTROLS


def main() -> None:
    """Prints one table for each split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    folders = parser.parse_args().runs
    recipe = recipes.read(folders[0] / "recipe.yaml")
    evaluations = [read_evaluations(folder) for folder in folders]
    for same_split in zip(*evaluations, strict=True):
        for line in table(same_split, recipe):
            print(line)
        print()


def table(runs: Sequence[Evaluation], recipe: recipes.Recipe) -> Iterator[str]:
    """One split: a row for each task and each type of question."""
    names = [name for name in CONTROLS if any(name in task.controls for task in runs[0].tasks)]
    yield f"{runs[0].split}: {runs[0].count} prompts on {runs[0].pictures} images, {len(runs)} run(s)"
    yield ""
    head = ["", "n", "score", *(name.replace("_", " ") for name in names), "gain", "uses image"]
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for number, task in enumerate(runs[0].tasks):
        same = [run.tasks[number] for run in runs]
        metrics = recipe.task(task.task).metrics
        config = next(one for one in metrics if configs.kind_of(one) == task.metric)
        yield _row(f"**{task.task}**", same, _score(runs, config, task.task, None), names)
        for place, kind in enumerate(task.types):
            types = [one.types[place] for one in same]
            yield _row(kind.type, types, _score(runs, config, task.task, kind.type), names)


def _score(runs: Sequence[Evaluation], config: object, task: str, kind: str | None) -> statistics.Estimate:
    """The mean over the runs, with an interval over images and seeds."""

    def chosen(run: Evaluation) -> list[Item]:
        return [item for item in run.items if item.task == task and kind in (None, item.type)]

    items = chosen(runs[0])
    scored = [rescored(config, chosen(run)) for run in runs]
    metric = scored[0][0]
    return statistics.crossed_mean(
        np.stack([rows for _, rows in scored]),
        [item.group for item in items],
        metric.total,
        strata=[item.type for item in items],
        best=float(getattr(metric, "best", 1.0)),
    )


def _row(
    name: str,
    runs: Sequence[TaskScores] | Sequence[TypeScores],
    score: statistics.Estimate,
    controls: Sequence[str],
) -> str:
    cells = [name, str(runs[0].count), _range(score)]
    for control in controls:
        known = [run.controls[control].value for run in runs if control in run.controls]
        cells.append(f"{100 * np.mean(known):.1f}" if known else "-")
    gains = [run.gain.value for run in runs if run.gain is not None]
    cells.append(f"{100 * np.mean(gains):+.1f}" if gains else "-")
    tasks = [run for run in runs if isinstance(run, TaskScores)]
    words = [use_of_image(task.uses_image, needs_image=task.needs_image) for task in tasks]
    cells.append(", ".join(dict.fromkeys(words)))
    return f"| {' | '.join(cells)} |"


def _range(found: statistics.Estimate) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


if __name__ == "__main__":
    main()
