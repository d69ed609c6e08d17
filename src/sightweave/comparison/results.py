"""Presents the results of a comparison: as data, as tables, as a plot of score against cost, and as an HTML page."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from sightweave.comparison.compositions import Column, Difference, Score
from sightweave.core import config as configs
from sightweave.core import files
from sightweave.core.terminal import in_short
from sightweave.pages import costs, notebook
from sightweave.pages.compared import ComparedPage, Table, write_compared
from sightweave.pages.scores import rival_name
from sightweave.programs.evaluation.statistics import Estimate

FORMAT_VERSION = 1
"""Version of the format of ``comparison.json``."""


@dataclass(frozen=True)
class Row:
    """One row of the tables: a composition, whose runs differ only in their seeds."""

    name: str
    labels: Mapping[str, str]
    seeds: tuple[int, ...]
    parameters: int
    steps: tuple[int, ...]
    """Number of steps of each run."""
    minutes: tuple[float, ...]
    """Training time of each run, in minutes."""
    scores: Mapping[str, Score]
    """The composition's score in each column, by the column's name."""


@dataclass(frozen=True)
class Budget:
    """The training budget that every run gets."""

    kind: Literal["steps", "minutes", "tokens"] = "steps"
    amount: float | None = None
    """Number of minutes or tokens; None for the recipe's own steps."""

    @property
    def text(self) -> str:
        """A description of the budget, for readers and as part of the keys in ``steps.json``."""
        if self.amount is None:
            return "the recipe's steps"
        return f"{self.amount:g} min" if self.kind == "minutes" else f"{self.amount:g} tokens"


@dataclass(frozen=True, repr=False)
class Comparison:
    """The results of a grid."""

    recipe: str
    settings: tuple[str, ...]
    budget: Budget
    against: str
    """Name of the composition that the others are compared with."""
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """Notes on the runs; the function `notes` adds those on the budget and the seeds."""
    cells: tuple[Mapping[str, Any], ...]
    """One mapping for each run, with its recipe, steps, seconds, versions and processor."""

    def __repr__(self) -> str:
        lines = [f"Comparison({self.recipe!r}, {len(self.cells)} runs)"]
        for row in self.rows:
            scores = []
            for column in self.columns:
                mean = _estimate(row.scores[column.name].mean, column.unit)
                scores.append(f"{column.name} {mean} {column.unit}")
            lines.append(in_short(f"  {row.name}: {', '.join(scores)}"))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return notebook.tables(f"{self.recipe}: {len(self.cells)} runs", tables(self))

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data."""
        return {"format_version": FORMAT_VERSION, **configs.to_plain(self)}


def _between(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _tokens_used(found: Comparison) -> str:
    """A clause on the number of tokens used; empty if some runs are from a version that did not count them."""
    used = []
    for cell in found.cells:
        if cell.get("tokens_shown") is None:
            return ""
        used.append(cell["tokens_shown"])
    return f"; they used {_between(used)}"


def notes(found: Comparison) -> list[str]:
    """All notes on the comparison: on the budget, the seeds, the tests, and the runs."""
    lines = [_budget_note(found)]
    lines.append("Minutes are training time; runs in parallel on one machine slow each other down.")
    lines.append(_seeds_note(min(len(row.seeds) for row in found.rows)))
    if found.differences:
        lines.append(
            f"p-values are Holm-corrected over all {len(found.differences)} differences to {found.against}; "
            "detectable is the smallest true difference that a single such comparison finds four times in five "
            "(80 % power)."
        )

    for key in ("processor", "versions", "commit"):
        distinct = {json.dumps(one.get(key), sort_keys=True) for one in found.cells}
        if len(distinct) > 1:
            lines.append(f"The runs differ in their {key}; see comparison.json.")
    lines.append(
        "All combinations used the same recipe; none was tuned individually unless the settings did so."
    )
    return [*lines, *found.notes]


def _budget_note(found: Comparison) -> str:
    if found.budget.kind == "steps":
        return "Every run trained for the recipe's own steps, so training times differ."
    if found.budget.kind == "minutes":
        minutes = list(itertools.chain.from_iterable(row.minutes for row in found.rows))
        return (
            f"Every run was given about {found.budget.text}: the number of steps was measured for each combination. "
            f"Training took {_between(minutes)} min."
        )
    return (
        f"Every run was given about {found.budget.text}, by a trial of each combination{_tokens_used(found)}. "
        "All positions of the training sequence count: a fusion that puts the image into the sequence counts the "
        "image tokens too."
    )


def _seeds_note(seeds: int) -> str:
    """Explains what the intervals cover, given the smallest number of seeds of any composition."""
    if seeds < 2:
        return (
            "There is one seed per combination, so intervals and tests cover images only: the variation between seeds "
            "is unknown and may be larger. Add seed=0,1,2."
        )
    covered = "Intervals are 95 % over images and seeds: other images and seeds would give different numbers."
    if seeds > 2:
        return covered
    return (
        f"{covered} Two seeds say little about the variation between seeds, so intervals are wide: three or more narrow "
        "them."
    )


def write(out: Path, found: Comparison) -> None:
    """Writes ``comparison.json``, ``comparison.svg`` and ``comparison.html``."""
    document = json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    files.write_text(out / "comparison.json", document + "\n")

    panels = [_panel(found, column) for column in found.columns]
    costs.write_picture(out / "comparison.svg", panels)

    page = ComparedPage(
        title=f"{len(found.rows)} combinations of {Path(found.recipe).name}",
        lead=f"Trained equally ({found.budget.text}) and asked the same questions.",
        tables=tables(found),
        panels=panels,
        notes=notes(found),
        facts=_facts(found),
    )
    write_compared(out / "comparison.html", page)


def _facts(found: Comparison) -> dict[str, str]:
    """Facts about how the comparison was made; the machine and the versions are those of the first run."""
    first = found.cells[0]
    facts = {
        "recipe": found.recipe,
        "settings": " ".join(found.settings),
        "budget": found.budget.text,
        "runs": str(len(found.cells)),
        "processor": str(first["processor"]),
        "commit": str(first["commit"]),
    }
    for name, version in (first["versions"] or {}).items():
        facts[f"version of {name}"] = version
    return facts


def _panel(found: Comparison, column: Column) -> costs.Panel:
    """The plot of one column, with a point for each composition."""
    scale = 100 if column.unit == "%" else 1
    points = []
    for row in found.rows:
        mean = row.scores[column.name].mean
        points.append(
            costs.Point(
                name=row.name,
                cost=fmean(row.minutes),
                least_cost=min(row.minutes),
                most_cost=max(row.minutes),
                score=scale * mean.value,
                low=scale * mean.low,
                high=scale * mean.high,
                is_baseline=row.name == found.against,
            )
        )

    return costs.panel(
        f"{column.name}: {column.metric}",
        points,
        cost="training minutes",
        score=column.unit,
        least=0.0,
    )


def _pictures(column: Column) -> str:
    of_all = "" if column.pictures_total is None else f" of {column.pictures_total:,}"
    return f"{column.pictures:,}{of_all} images"


def tables(found: Comparison) -> list[Table]:
    """The tables: mean scores with intervals, controls if there are any, and differences from the baseline."""
    shown = [_scores(found), *_controls(found)]
    if found.differences:
        units = {column.name: column.unit for column in found.columns}
        shown.append(
            Table(
                title=f"Differences from {found.against}",
                heads=["composition", "task", "difference (95 % interval)", "p", "p, Holm's", "detectable"],
                rows=[_difference(one, units[one.column]) for one in found.differences],
                words=2,
                note="Differences of percentages are in percentage points.",
            )
        )
    return shown


def _scores(found: Comparison) -> Table:
    """A table of the mean scores of each composition with its size and cost."""
    labels = list(found.rows[0].labels) or ["composition"]
    heads = [*labels, "M parameters", "steps", "min", "seeds", *map(_head, found.columns)]

    rows = []
    for row in found.rows:
        cells = [*(row.labels.values() or [row.name]), f"{row.parameters / 1e6:.2f}", _span(row.steps)]
        cells += [f"{fmean(row.minutes):.1f}", str(len(row.seeds))]
        cells += [_estimate(row.scores[column.name].mean, column.unit) for column in found.columns]
        rows.append(cells)

    samples = "; ".join(f"{one.name}: {one.samples} on {_pictures(one)}" for one in found.columns)
    return Table(
        title="Scores",
        heads=heads,
        rows=rows,
        words=len(labels),
        note=f"Means over seeds, unweighted over question types, with 95 % intervals. Samples: {samples}.",
    )


def _head(column: Column) -> str:
    return f"{column.name}, {column.unit}"


def _controls(found: Comparison) -> list[Table]:
    """A table of the scores without the right image; an empty list if there were no controls and no baselines."""
    others: dict[str, None] = {}
    for column in found.columns:
        for row in found.rows:
            others.update(dict.fromkeys(row.scores[column.name].others))
    names = list(others)
    if not names:
        return []

    rows = []
    for column in found.columns:
        for row in found.rows:
            score = row.scores[column.name]
            cells = [_head(column), row.name, ", ".join(dict.fromkeys(score.uses_image)) or "-"]
            cells.append(_number(score.mean.value, column.unit))
            cells += [_optional(score.others.get(name), column.unit) for name in names]
            rows.append([*cells, _optional(score.gain, column.unit, sign="+")])

    return [
        Table(
            title="With other images and without images",
            heads=["task", "composition", "uses the image", "score", *map(rival_name, names), "gain"],
            rows=rows,
            words=3,
            note="Means over seeds. Gain: the score minus that of the best control without the right image. Majority always "
            "gives the most frequent answer, text only that of the nearest training prompt.",
        )
    ]


def _difference(one: Difference, unit: str) -> list[str]:
    """One row of the table of differences, as formatted cells."""
    difference = _estimate(one.difference, unit, sign="+")
    detectable = _optional(one.detectable, unit)
    return [one.composition, one.column, difference, _p(one.p), _p(one.p_holm), detectable]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _span(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _estimate(found: Estimate, unit: str, *, sign: str = "") -> str:
    low, high = _number(found.low, unit, sign=sign), _number(found.high, unit, sign=sign)
    return f"{_number(found.value, unit, sign=sign)} ({low} to {high})"


def _optional(value: float | None, unit: str, *, sign: str = "") -> str:
    return "-" if value is None else _number(value, unit, sign=sign)


def _number(value: float, unit: str, *, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}" if unit == "%" else f"{value:{sign}.3f}"


def as_markdown(found: Comparison) -> str:
    """The tables and notes as Markdown."""
    parts = [f"## {table.title}\n\n{table.to_markdown()}" for table in tables(found)]
    parts.append("\n".join(f"- {note}" for note in notes(found)) + "\n")
    return "\n".join(parts)
