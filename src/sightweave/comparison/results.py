"""What a grid of recipes gave, for readers: as data, as tables, as a drawing of score against cost, and as a page."""

from __future__ import annotations

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
"""Of ``comparison.json``."""


@dataclass(frozen=True)
class Row:
    """Cells that differ in nothing but their seed."""

    name: str
    labels: Mapping[str, str]
    seeds: tuple[int, ...]
    parameters: int
    steps: tuple[int, ...]
    """Of each run."""
    minutes: tuple[float, ...]
    """Training time of each run."""
    scores: Mapping[str, Score]
    """By column."""


@dataclass(frozen=True)
class Budget:
    """What every run gets alike."""

    kind: Literal["steps", "minutes", "tokens"] = "steps"
    amount: float | None = None
    """None for steps, which the recipe has."""

    @property
    def text(self) -> str:
        """For a reader, and as a part of the key of what a trial found."""
        if self.amount is None:
            return "the recipe's steps"
        return f"{self.amount:g} min" if self.kind == "minutes" else f"{self.amount:g} tokens"


@dataclass(frozen=True, repr=False)
class Comparison:
    """What a grid gave."""

    recipe: str
    settings: tuple[str, ...]
    budget: Budget
    against: str
    """The composition that the others are compared with."""
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What a reader must know, but for the budget and the seeds."""
    cells: tuple[Mapping[str, Any], ...]
    """Each run with its recipe, steps, seconds, versions and processor."""

    def __repr__(self) -> str:
        units = {column.name: column.unit for column in self.columns}
        lines = [
            f"  {row.name}: "
            + ", ".join(
                f"{name} {_estimate(row.scores[name].mean, unit)} {unit}" for name, unit in units.items()
            )
            for row in self.rows
        ]
        return "\n".join([f"Comparison({self.recipe!r}, {len(self.cells)} runs)", *map(in_short, lines)])

    def _repr_html_(self) -> str:
        return notebook.tables(f"{self.recipe}: {len(self.cells)} runs", tables(self))

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {"format_version": FORMAT_VERSION, **configs.to_plain(self)}


def _between(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _tokens_used(found: Comparison) -> str:
    """What the runs used of a budget of tokens; empty where some are of a version that did not count."""
    used = [cell.get("tokens_shown") for cell in found.cells]
    known = [one for one in used if one is not None]
    return f"; they used {_between(known)}" if known and len(known) == len(used) else ""


def notes(found: Comparison) -> list[str]:
    """What a reader must know."""
    said = {
        "steps": "Every run trained for the recipe's own steps, so training times differ.",
        "minutes": f"Every run was given about {found.budget.text}: the number of steps was measured for each combination. "
        f"Training took {_between([one for row in found.rows for one in row.minutes])} min.",
        "tokens": f"Every run was given about {found.budget.text}, by a trial of each combination{_tokens_used(found)}. "
        "All positions of the training sequence count: a fusion that puts the image into the sequence counts the "
        "image tokens too.",
    }
    told = [said[found.budget.kind]]
    told.append("Minutes are training time; runs in parallel on one machine slow each other down.")
    seeds = min(len(row.seeds) for row in found.rows)
    if seeds > 1:
        few = " Two seeds say little about the variation between seeds, so intervals are wide: three or more narrow them."
        told.append(
            "Intervals are 95 % over images and seeds: other images and seeds would give different numbers."
            + (few if seeds == 2 else "")
        )
    else:
        told.append(
            "There is one seed per combination, so intervals and tests cover images only: the variation between seeds "
            "is unknown and may be larger. Add seed=0,1,2."
        )
    if found.differences:
        told.append(
            f"p-values are Holm-corrected over all {len(found.differences)} differences to {found.against}; "
            "detectable is the "
            "smallest true difference that a single such comparison finds four times in five (80 % power)."
        )
    for key in ("processor", "versions", "commit"):
        if len({json.dumps(one.get(key), sort_keys=True) for one in found.cells}) > 1:
            told.append(f"The runs differ in their {key}; see comparison.json.")
    told.append(
        "All combinations used the same recipe; none was tuned individually unless the settings did so."
    )
    return [*told, *found.notes]


def write(out: Path, found: Comparison) -> None:
    """Writes ``comparison.json``, ``comparison.svg`` and ``comparison.html``."""
    document = json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    files.write_text(out / "comparison.json", document + "\n")
    panels = [_panel(found, column) for column in found.columns]
    costs.write_picture(out / "comparison.svg", panels)
    first = found.cells[0]
    facts = {
        "recipe": found.recipe,
        "settings": " ".join(found.settings),
        "budget": found.budget.text,
        "runs": str(len(found.cells)),
        "processor": str(first["processor"]),
        "commit": str(first["commit"]),
        **{f"version of {name}": version for name, version in (first["versions"] or {}).items()},
    }
    page = ComparedPage(
        title=f"{len(found.rows)} combinations of {Path(found.recipe).name}",
        lead=f"Trained equally ({found.budget.text}) and asked the same questions.",
        tables=tables(found),
        panels=panels,
        notes=notes(found),
        facts=facts,
    )
    write_compared(out / "comparison.html", page)


def _panel(found: Comparison, column: Column) -> costs.Panel:
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
    """Means with their intervals, and the differences to the baseline."""
    labels = list(found.rows[0].labels) or ["composition"]
    heads = [*labels, "M parameters", "steps", "min", "seeds"]
    heads += [f"{column.name}, {column.unit}" for column in found.columns]
    rows = []
    for row in found.rows:
        cells = [*(row.labels.values() or [row.name]), f"{row.parameters / 1e6:.2f}", _span(row.steps)]
        cells += [f"{fmean(row.minutes):.1f}", str(len(row.seeds))]
        cells += [_estimate(row.scores[column.name].mean, column.unit) for column in found.columns]
        rows.append(cells)
    samples = "; ".join(f"{one.name}: {one.samples} on {_pictures(one)}" for one in found.columns)
    made = [
        Table(
            title="Scores",
            heads=heads,
            rows=rows,
            words=len(labels),
            note=f"Means over seeds, unweighted over question types, with 95 % intervals. Samples: {samples}.",
        )
    ]
    made += _controls(found)
    if found.differences:
        units = {column.name: column.unit for column in found.columns}
        made.append(
            Table(
                title=f"Differences from {found.against}",
                heads=["composition", "task", "difference (95 % interval)", "p", "p, Holm's", "detectable"],
                rows=[_difference(one, units[one.column]) for one in found.differences],
                words=2,
                note="Differences of percentages are in percentage points.",
            )
        )
    return made


def _controls(found: Comparison) -> list[Table]:
    """What is left without the right image: a table of all tasks, or none where nothing was asked."""
    scores = [row.scores[column.name] for column in found.columns for row in found.rows]
    names = list(dict.fromkeys(name for score in scores for name in score.others))
    if not names:
        return []

    rows = []
    for column in found.columns:
        for row in found.rows:
            score = row.scores[column.name]
            numbers = [score.mean.value, *(score.others.get(name) for name in names)]
            cells = ["-" if one is None else _number(one, column.unit) for one in numbers]
            gain = "-" if score.gain is None else _number(score.gain, column.unit, sign="+")
            uses = ", ".join(dict.fromkeys(score.uses_image)) or "-"
            rows.append([f"{column.name}, {column.unit}", row.name, uses, *cells, gain])
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
    detectable = "-" if one.detectable is None else _number(one.detectable, unit)
    difference = _estimate(one.difference, unit, sign="+")
    return [one.composition, one.column, difference, _p(one.p), _p(one.p_holm), detectable]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _span(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _estimate(found: Estimate, unit: str, *, sign: str = "") -> str:
    value, low, high = (_number(x, unit, sign=sign) for x in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _number(value: float, unit: str, *, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}" if unit == "%" else f"{value:{sign}.3f}"


def as_markdown(found: Comparison) -> str:
    """The tables for a text file, with all that one must know to read them."""
    parts = [f"## {table.title}\n\n{table.to_markdown()}" for table in tables(found)]
    parts.append("\n".join(f"- {note}" for note in notes(found)) + "\n")
    return "\n".join(parts)
