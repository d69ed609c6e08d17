"""An evaluation for the terminal: a sentence, the scores with their controls, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from sightweave.core.terminal import markup
from sightweave.core.verdicts import HARDLY, NO, use_of_image
from sightweave.programs.evaluation.scores import Evaluation, MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate


def show(evaluation: Evaluation, console: Console, *, types: bool = True) -> None:
    """Prints all of it; fits 80 columns."""
    console.print(f"[bold]{markup(evaluation.sentence)}[/bold]")
    for task in evaluation.tasks:
        # The table alone would not say why: it has the gain over the controls, and the verdict asks for more.
        if task.needs_image and task.uses_image in (NO, HARDLY) and task.sentence:
            console.print(markup(task.sentence), highlight=False)
    console.print(score_table(evaluation, types=types))
    for table in control_tables(evaluation, types=types):
        console.print(table)
    if any(_further(task) for task in evaluation.tasks):
        console.print(further_table(evaluation))
    for line in (*detectable_lines(evaluation), *calibration_lines(evaluation)):
        console.print(markup(line), highlight=False)
    for note in evaluation.notes:
        console.print(f"note: {markup(note)}", highlight=False)


def score_table(evaluation: Evaluation, *, types: bool = True) -> Table:
    """One row per task (the mean over its types) and, if wanted, one per type, beside what needs no model."""
    table = _table(
        f"{markup(evaluation.split or 'evaluation')}: {evaluation.count} prompts on {_pictures(evaluation)}",
        "%, with 95 % intervals over images; a task's score is the unweighted mean over its question types. "
        "text only: the answer of the most similar training prompt",
    )
    for name in ("n", "score", "chance", "majority", "text\nonly", "unparsed"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, scores, style in _lines(evaluation, types):
        values = map(_share, (scores.chance, scores.majority, scores.neighbour))
        table.add_row(
            name, str(scores.count), _range(scores.score), *values, str(scores.unparsed), style=style
        )
    return table


def control_tables(evaluation: Evaluation, *, types: bool = True) -> list[Table]:
    """What is left without the picture and with other ones; several tables where there are many controls."""
    names = list(
        dict.fromkeys(
            name
            for task in evaluation.tasks
            for kind in task.types
            for name in (*task.controls, *kind.controls)
        )
    )
    tables = []
    for start in range(0, len(names), _CONTROLS_IN_A_ROW):
        shown = names[start : start + _CONTROLS_IN_A_ROW]
        is_first = not start
        table = _table(
            "with other images or words",
            "gain: score minus that of the best control without the right image, in points",
        )
        for name in ("score", *(name.replace("_", "\n") for name in shown)):
            table.add_column(name, justify="right", no_wrap=True)
        if is_first:
            table.add_column("gain", justify="right", no_wrap=True)
            table.add_column("uses\nimage", no_wrap=True)
        for name, scores, style in _lines(evaluation, types):
            found = [scores.controls.get(control) for control in shown]
            if not is_first and not any(found):
                continue
            last = [_range(scores.gain, sign="+"), _use(scores)] if is_first else []
            values = ["-" if one is None else f"{100 * one.value:.1f}" for one in found]
            table.add_row(name, f"{100 * scores.score.value:.1f}", *values, *last, style=style)
        tables.append(table)
    return tables


_CONTROLS_IN_A_ROW = 3


def _use(scores: TaskScores | TypeScores) -> str:
    """Whether a task uses the image; nothing is said about a single type."""
    if not isinstance(scores, TaskScores):
        return ""
    return use_of_image(scores.uses_image, needs_image=scores.needs_image).replace(" ", "\n")


def _table(title: str, caption: str) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", no_wrap=True)
    return table


def _lines(evaluation: Evaluation, types: bool) -> Iterator[tuple[str, TaskScores | TypeScores, str]]:
    """Name, scores and style of each row."""
    for task in evaluation.tasks:
        yield markup(task.task), task, "bold"
        for kind in task.types if types else ():
            yield f"  {markup(kind.type)}", kind, ""


def detectable_lines(evaluation: Evaluation) -> list[str]:
    """How large a difference to an independent score must be to be found, task by task."""
    known = [
        f"{task.task} {100 * task.detectable:.1f}" for task in evaluation.tasks if task.detectable is not None
    ]
    if not known:
        return []
    return [f"smallest difference from another score that is detected four times in five: {', '.join(known)}"]


def further_table(evaluation: Evaluation) -> Table:
    """The other metrics of each task, with what one must know of them."""
    table = _table("further metrics", "% unless a unit is given; mean over question types")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("more", overflow="fold")
    for task in evaluation.tasks:
        for name, value in _further(task).items():
            facts = task.facts.get(name, MetricFacts())
            more = [
                f"{key.replace('_', ' ')} "
                + (f"{100 * number:.1f}" if facts.unit == "%" else f"{number:.4g}")
                for key, number in facts.totals.items()
            ]
            more += ["lower is better"] * facts.less_is_better + [facts.signature] * bool(facts.signature)
            table.add_row(
                markup(task.task),
                markup(name),
                markup(_in_unit(value, facts.unit)),
                markup("; ".join(more)),
            )
    return table


def calibration_lines(evaluation: Evaluation) -> list[str]:
    """For each task that tells its probabilities, a sentence on whether it knows when it is right."""
    lines = []
    for task in evaluation.tasks:
        if (found := task.calibration) is None:
            continue
        chosen = found.selection
        kept = (
            "no threshold keeps errors under 5 %"
            if chosen.error is None
            else f"answering the {100 * chosen.coverage.value:.1f} % most confident: errors {100 * chosen.error.value:.1f} %"
        )
        lines.append(
            f"{task.task}: calibration error {100 * found.ece_equal_mass:.1f} points, Brier "
            f"{found.brier:.3f}; {kept}."
        )
    return lines


def _further(task: TaskScores) -> dict[str, Estimate | None]:
    """Metrics beside the score, and the score's own where it has further numbers."""
    return {
        name: value
        for name, value in task.metrics.items()
        if name != task.metric or task.facts.get(name, MetricFacts()).totals
    }


def _in_unit(value: Estimate | None, unit: str) -> str:
    if value is None:
        return "not computed"
    if unit == "%":
        return _range(value)
    return f"{value.value:.3f} ({value.low:.3f}..{value.high:.3f}) {unit}"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _pictures(evaluation: Evaluation) -> str:
    """How many images, and of how many they were drawn."""
    if evaluation.pictures_total is None:
        return f"{evaluation.pictures:,} images"
    return f"{evaluation.pictures:,} of {evaluation.pictures_total:,} images"


def _range(value: Estimate | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{100 * value.value:{sign}.1f} ({100 * value.low:{sign}.1f}..{100 * value.high:{sign}.1f})"
