"""Shows an evaluation in the terminal: the verdict, the scores with their controls, and further metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from sightweave.core.terminal import markup
from sightweave.core.verdicts import HARDLY, NO, use_of_image
from sightweave.programs.evaluation.scores import Evaluation, MetricFacts, TaskScores, TypeScores
from sightweave.programs.evaluation.statistics import Estimate


def show(evaluation: Evaluation, console: Console, *, types: bool = True) -> None:
    """Prints the whole evaluation within 80 columns."""
    console.print(f"[bold]{markup(evaluation.sentence)}[/bold]")
    for task in evaluation.tasks:
        # The table shows only the gain over the controls, which does not explain the verdict.
        if task.needs_image and task.uses_image in (NO, HARDLY) and task.sentence:
            console.print(markup(task.sentence), highlight=False)

    console.print(score_table(evaluation, types=types))
    for table in control_tables(evaluation, types=types):
        console.print(table)
    if any(map(_further, evaluation.tasks)):
        console.print(further_table(evaluation))

    for line in (*detectable_lines(evaluation), *calibration_lines(evaluation)):
        console.print(markup(line), highlight=False)
    for note in evaluation.notes:
        console.print(f"note: {markup(note)}", highlight=False)


def score_table(evaluation: Evaluation, *, types: bool = True) -> Table:
    """The scores next to the baselines: a row per task (the mean over its types) and, optionally, per type."""
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
    """Tables of the controls' scores; several if there are many controls."""
    controls: dict[str, None] = {}
    for task in evaluation.tasks:
        for kind in task.types:
            controls.update(dict.fromkeys((*task.controls, *kind.controls)))
    names = list(controls)

    tables = []
    for start in range(0, len(names), _CONTROLS_IN_A_ROW):
        shown = names[start : start + _CONTROLS_IN_A_ROW]
        tables.append(_control_table(evaluation, shown, types=types, is_first=not start))
    return tables


_CONTROLS_IN_A_ROW = 3
"""Maximum number of controls in one table."""


def _control_table(evaluation: Evaluation, shown: Sequence[str], *, types: bool, is_first: bool) -> Table:
    """A table of the scores of the controls in `shown`; if `is_first`, it also has the gain and the verdict."""
    table = _table(
        "with other images or words",
        "gain: score minus that of the best control without the right image, in points",
    )
    table.add_column("score", justify="right", no_wrap=True)
    for name in shown:
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    if is_first:
        table.add_column("gain", justify="right", no_wrap=True)
        table.add_column("uses\nimage", no_wrap=True)

    for name, scores, style in _lines(evaluation, types):
        if not is_first and scores.controls.keys().isdisjoint(shown):
            continue
        cells = [f"{100 * scores.score.value:.1f}"]
        for control in shown:
            found = scores.controls.get(control)
            cells.append("-" if found is None else f"{100 * found.value:.1f}")
        if is_first:
            cells += [_range(scores.gain, sign="+"), _use(scores)]
        table.add_row(name, *cells, style=style)
    return table


def _use(scores: TaskScores | TypeScores) -> str:
    """Whether a task uses the image, as text; empty for a single question type."""
    if not isinstance(scores, TaskScores):
        return ""
    return use_of_image(scores.uses_image, needs_image=scores.needs_image).replace(" ", "\n")


def _table(title: str, caption: str) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", no_wrap=True)
    return table


def _lines(evaluation: Evaluation, types: bool) -> Iterator[tuple[str, TaskScores | TypeScores, str]]:
    """Yields the name, the scores and the style of each row."""
    for task in evaluation.tasks:
        yield markup(task.task), task, "bold"
        for kind in task.types if types else ():
            yield f"  {markup(kind.type)}", kind, ""


def detectable_lines(evaluation: Evaluation) -> list[str]:
    """A line with the smallest detectable difference of each task; an empty list if none is known."""
    known = [
        f"{task.task} {100 * task.detectable:.1f}" for task in evaluation.tasks if task.detectable is not None
    ]
    if not known:
        return []
    return [f"smallest difference from another score that is detected four times in five: {', '.join(known)}"]


def further_table(evaluation: Evaluation) -> Table:
    """A table of the further metrics of each task with facts about them."""
    table = _table("further metrics", "% unless a unit is given; mean over question types")
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("more", overflow="fold")
    for task in evaluation.tasks:
        for name, value in _further(task).items():
            facts = task.facts.get(name, MetricFacts())
            more = "; ".join(filter(None, [_rivals(task, name, facts.unit), _more(facts)]))
            cells = (task.task, name, _in_unit(value, facts.unit), more)
            table.add_row(*map(markup, cells))
    return table


def _rivals(task: TaskScores, metric: str, unit: str) -> str:
    """What a copy of the source and the reference images score by a metric, as text."""
    times, digits = (100, ".1f") if unit == "%" else (1, ".4g")
    parts = []
    for name, values in (("copied source", task.floors), ("reference image", task.ceilings)):
        if metric in values:
            parts.append(f"{name} {times * values[metric]:{digits}}")
    return ", ".join(parts)


def _more(facts: MetricFacts) -> str:
    """Further numbers of a metric, and how to interpret it, as text."""
    parts = []
    for name, number in facts.totals.items():
        shown = f"{100 * number:.1f}" if facts.unit == "%" else f"{number:.4g}"
        parts.append(f"{name.replace('_', ' ')} {shown}")
    if facts.less_is_better:
        parts.append("lower is better")
    if facts.signature:
        parts.append(facts.signature)
    return "; ".join(parts)


def calibration_lines(evaluation: Evaluation) -> list[str]:
    """A sentence on calibration for each task with known probabilities."""
    lines = []
    for task in evaluation.tasks:
        found = task.calibration
        if found is None:
            continue
        chosen = found.selection
        kept = "no threshold keeps errors under 5 %"
        if chosen.error is not None:
            kept = (
                f"answering the {100 * chosen.coverage.value:.1f} % most confident: "
                f"errors {100 * chosen.error.value:.1f} %"
            )
        lines.append(
            f"{task.task}: calibration error {100 * found.ece_equal_mass:.1f} points, Brier "
            f"{found.brier:.3f}; {kept}."
        )
    return lines


def _further(task: TaskScores) -> dict[str, Estimate | None]:
    """All metrics of a task except that of its score, which is included only if it has further numbers."""
    found = {}
    for name, value in task.metrics.items():
        if name != task.metric or task.facts.get(name, MetricFacts()).totals:
            found[name] = value
    return found


def _in_unit(value: Estimate | None, unit: str) -> str:
    if value is None:
        return "not computed"
    if unit == "%":
        return _range(value)
    return f"{value.value:.3f} ({value.low:.3f}..{value.high:.3f}) {unit}"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def _pictures(evaluation: Evaluation) -> str:
    """The number of images, and the number from which they were drawn if that is known."""
    if evaluation.pictures_total is None:
        return f"{evaluation.pictures:,} images"
    return f"{evaluation.pictures:,} of {evaluation.pictures_total:,} images"


def _range(value: Estimate | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{100 * value.value:{sign}.1f} ({100 * value.low:{sign}.1f}..{100 * value.high:{sign}.1f})"
