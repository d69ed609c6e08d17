"""An evaluation as a table for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from sightweave.programs.evaluation.scores import Evaluation, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate


def as_table(evaluation: Evaluation, *, types: bool = True) -> Table:
    """One row per task (the mean over its types) and, if wanted, one per type. All rates in per cent."""
    table = Table(
        title=f"{escape(evaluation.split or 'evaluation')}: {evaluation.count} prompts on {evaluation.pictures} pictures",
        caption="per cent (gain in points), with 95 % intervals; a task's score is the unweighted mean over its types",
    )
    table.add_column("task", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("chance", justify="right")
    table.add_column("majority", justify="right")
    names = list(
        dict.fromkeys(
            name
            for task in evaluation.tasks
            for kind in task.types
            for name in (*task.controls, *kind.controls)
        )
    )
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("unparsed", justify="right")
    table.add_column("uses image")
    for task in evaluation.tasks:
        table.add_row(
            escape(task.task), *_cells(task, names), task.uses_image, style="bold", end_section=not types
        )
        for number, kind in enumerate(task.types if types else ()):
            table.add_row(
                f"  {escape(kind.type)}", *_cells(kind, names), "", end_section=number == len(task.types) - 1
            )
    return table


def _cells(scores: TaskScores | TypeScores, names: list[str]) -> list[str]:
    return [
        str(scores.count),
        _range(scores.score),
        "-" if scores.chance is None else f"{100 * scores.chance:.1f}",
        f"{100 * scores.majority:.1f}",
        *(f"{100 * scores.controls[name].value:.1f}" if name in scores.controls else "-" for name in names),
        _range(scores.gain, sign="+"),
        str(scores.unparsed),
    ]


def _range(value: Estimate | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{100 * value.value:{sign}.1f} ({100 * value.low:{sign}.1f}..{100 * value.high:{sign}.1f})"
