"""Many recipes at an equal budget, one table: every combination of the given settings is trained and scored.

Each cell of the grid is a run of its own in a process of its own, some at a time. What is done stays done: the same
command goes on where it was stopped, and trains again only what has no scores or was made from another recipe.

An equal budget is one of steps, which the recipe has, or of minutes: then a short trial of each composition tells how
many steps fit. Recipes go on counting steps, so that every run can be repeated.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core.errors import RecipeError, SightweaveError
from sightweave.programs.training.logs import METRICS, read_metrics

_SEED = "seed"
_LOG = "log.txt"
_POLL_SECONDS = 0.5
_TRIALS = "trials"
_TRIAL_STEPS = 24
_WARM_STEPS = 8
"""Of a trial's stage, not counted: the first ones allocate memory."""


class ComparisonError(SightweaveError):
    """A run of the comparison failed; its log says why."""


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    name: str
    """Of its folder."""
    labels: Mapping[str, str]
    """What sets it apart: a word for each varied path, the seed not included."""
    settings: tuple[str, ...]
    """All settings of its recipe."""


@dataclass(frozen=True)
class Row:
    """Cells that differ in nothing but their seed. Scores are fractions from 0 to 1."""

    labels: Mapping[str, str]
    seeds: int
    parameters: int
    minutes: float
    """Mean training time of a run."""
    scores: Mapping[str, tuple[float, float, float]]
    """By task: the mean over seeds, the lowest and the highest."""


def split_values(setting: str) -> tuple[str, list[str]]:
    """A path and its values: ``model.fusion=concat,addition`` has two; commas inside brackets divide nothing.

    Raises:
        RecipeError: no ``=``, or an empty value.
    """
    path, sign, text = setting.partition("=")
    if not sign or not path.strip():
        raise RecipeError(f"setting {setting!r} needs the form path=value or path=value,value.")
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and not depth:
            values.append("")
        else:
            values[-1] += letter
    values = [value.strip() for value in values]
    if not all(values):
        raise RecipeError(f"setting {setting!r} has an empty value; write path=value,value without gaps.")
    return path.strip(), values


def grid(settings: Sequence[str]) -> list[Cell]:
    """Every combination of the values of the settings that have several, with the others in each.

    Raises:
        RecipeError: a mistake in a setting, or two cells of one name.
    """
    axes = [(path, values) for path, values in map(split_values, settings)]
    varied = [path for path, values in axes if len(values) > 1]
    cells: dict[str, Cell] = {}
    for values in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip((path for path, _ in axes), values, strict=True))
        words = {path: _word(chosen[path]) for path in varied}
        name = "-".join(f"seed{word}" if path == _SEED else word for path, word in words.items()) or "run"
        if name in cells:
            raise RecipeError(
                f"two runs would both be called {name!r}: {cells[name].settings} and "
                f"{[f'{path}={value}' for path, value in chosen.items()]}. Give each value of a setting once."
            )
        labels = {path: word for path, word in words.items() if path != _SEED}
        cells[name] = Cell(name, labels, tuple(f"{path}={value}" for path, value in chosen.items()))
    return list(cells.values())


def _word(value: str) -> str:
    """A short word for a value, fit for a folder's name: the kind, where it is a mapping with one."""
    found = re.search(r"\bkind:\s*([\w.]+)", value)
    word = found.group(1) if found and value.startswith("{") else value
    return re.sub(r"[^\w.]+", "_", word).strip("_") or "_"


def compare(
    recipe: str | Path,
    settings: Sequence[str],
    *,
    out: Path,
    minutes: float | None = None,
    at_once: int = 1,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Trains and scores every cell of a grid, and writes ``comparison.json`` and ``comparison.md``.

    Args:
        recipe: A YAML file.
        settings: ``path=value`` for all runs, ``path=value,value`` for an axis of the grid.
        out: A folder; each run gets one inside it.
        minutes: Training of each run takes about so long: all its stages become longer or shorter by one factor, which
            a trial of each composition finds and ``steps.json`` keeps. None leaves the recipe's steps.
        at_once: Runs that go at the same time.
        threads: Of each run; None leaves what the recipe says.
        say: Told what starts and what ends.

    Raises:
        RecipeError: a mistake in the recipe or in a setting, found before anything is trained.
        ComparisonError: a run failed; the others are left to end.
    """
    if minutes is not None and minutes <= 0:
        raise RecipeError(
            f"minutes must be over 0 (got {minutes}); leave it out to train the recipe's own steps."
        )
    cells = grid([*settings, *([f"train.threads={threads}"] if threads else [])])
    for cell in cells:
        recipes.read(recipe, cell.settings).check()
    out.mkdir(parents=True, exist_ok=True)
    if minutes is not None:
        cells = _budgeted(recipe, cells, minutes, out, at_once, threads, say)
    wanted = {cell.name: recipes.read(recipe, cell.settings) for cell in cells}
    waiting = [cell for cell in cells if not _is_done(out / cell.name, wanted[cell.name])]
    say(f"{len(cells)} runs, {len(cells) - len(waiting)} of them done before")
    _run_all(recipe, waiting, out, at_once, threads, say)
    rows = _rows(cells, out)
    document = {
        "recipe": str(recipe),
        "settings": list(settings),
        "minutes": minutes,
        "rows": [configs.to_plain(r) for r in rows],
    }
    (out / "comparison.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "comparison.md").write_text(as_markdown(rows), encoding="utf-8")
    return rows


def _budgeted(
    recipe: str | Path,
    cells: Sequence[Cell],
    minutes: float,
    out: Path,
    at_once: int,
    threads: int | None,
    say: Callable[[str], None],
) -> list[Cell]:
    """The cells with the steps that fit into so many minutes: the same for all seeds of a composition."""
    file = out / "steps.json"
    known: dict[str, list[int]] = _read(file) if file.is_file() else {}
    keys = {cell.name: f"{minutes:g} min, {_composition(recipe, cell)}" for cell in cells}
    tried: dict[str, Cell] = {}
    for cell in cells:
        if keys[cell.name] not in known:
            tried.setdefault(keys[cell.name], cell)
    trials = [replace(cell, settings=_trial(recipe, cell)) for cell in tried.values()]
    _run_all(recipe, trials, out / _TRIALS, at_once, threads, say, score=False)
    for key, cell in tried.items():
        stages = recipes.read(recipe, cell.settings).train.stages
        seconds = _seconds_per_step(out / _TRIALS / cell.name / METRICS, len(stages))
        factor = 60 * minutes / sum(stage.steps * each for stage, each in zip(stages, seconds, strict=True))
        known[key] = [max(1, round(stage.steps * factor)) for stage in stages]
    file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return [replace(cell, settings=(*cell.settings, *_steps(known[keys[cell.name]]))) for cell in cells]


def _composition(recipe: str | Path, cell: Cell) -> str:
    """Everything that decides how long a step takes: all of the recipe but its seed."""
    values = recipes.read(recipe, cell.settings).to_plain() | {"seed": 0}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _trial(recipe: str | Path, cell: Cell) -> tuple[str, ...]:
    count = len(recipes.read(recipe, cell.settings).train.stages)
    return (*cell.settings, *_steps([_TRIAL_STEPS] * count), "train.log_every=1")


def _steps(numbers: Sequence[int]) -> list[str]:
    return [f"train.stages.{index}.steps={number}" for index, number in enumerate(numbers)]


def _seconds_per_step(metrics: Path, stages: int) -> list[float]:
    seconds = [float(row["seconds"]) for row in read_metrics(metrics)]
    starts = range(0, stages * _TRIAL_STEPS, _TRIAL_STEPS)
    return [median(seconds[start + _WARM_STEPS : start + _TRIAL_STEPS]) for start in starts]


def _is_done(folder: Path, wanted: recipes.Recipe) -> bool:
    if not (folder / "evaluation.json").is_file():
        return False
    try:
        return recipes.read(folder / "recipe.yaml") == wanted
    except SightweaveError:
        return False


def _run_all(
    recipe: str | Path,
    waiting: list[Cell],
    out: Path,
    at_once: int,
    threads: int | None,
    say: Callable[[str], None],
    *,
    score: bool = True,
) -> None:
    environment = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    queue, failed = list(waiting), list[str]()
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while queue or running:
            while queue and len(running) < at_once and not failed:
                cell = queue.pop(0)
                folder = out / cell.name
                if (folder / _LOG).exists():  # a run of ours that did not end, or of another recipe
                    shutil.rmtree(folder)
                folder.mkdir(parents=True, exist_ok=True)
                words = ["-m", "sightweave", "train", str(recipe), *cell.settings, "--out", str(folder)]
                words += [] if score else ["--no-evaluate"]
                with (folder / _LOG).open("wb") as log:
                    process = subprocess.Popen(
                        [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, env=environment
                    )
                running[cell.name] = process, time.monotonic()
                say(f"{cell.name}: started")
            for name, (process, began) in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    say(f"{name}: ended after {(time.monotonic() - began) / 60:.1f} min")
                    if process.returncode:
                        failed.append(f"{name} (status {process.returncode}; see {out / name / _LOG})")
            if failed and not running:
                raise ComparisonError(f"failed: {', '.join(failed)}. The same command goes on from here.")
            time.sleep(_POLL_SECONDS)
    finally:
        for process, _ in running.values():
            process.terminate()
            process.wait()


def _rows(cells: Sequence[Cell], out: Path) -> list[Row]:
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[tuple(cell.labels.values())].append(cell)
    return [_row(group, out) for group in groups.values()]


def _row(group: Sequence[Cell], out: Path) -> Row:
    facts = [_read(out / cell.name / "run.json") for cell in group]
    scores: dict[str, list[float]] = defaultdict(list)
    for cell in group:
        first_split = _read(out / cell.name / "evaluation.json")[0]
        for task in first_split["tasks"]:
            scores[task["task"]].append(task["score"]["value"])
    return Row(
        labels=group[0].labels,
        seeds=len(group),
        parameters=facts[0]["parameters"],
        minutes=fmean(one["training_seconds"] for one in facts) / 60,
        scores={task: (fmean(found), min(found), max(found)) for task, found in scores.items()},
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def as_markdown(rows: Sequence[Row]) -> str:
    """A table: means over seeds in per cent, with the lowest and the highest in brackets."""
    tasks = list(dict.fromkeys(task for row in rows for task in row.scores))
    heads = [*rows[0].labels, "M parameters", "min", "seeds", *tasks]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        cells = [*row.labels.values(), f"{row.parameters / 1e6:.2f}", f"{row.minutes:.1f}", str(row.seeds)]
        for task in tasks:
            mean, low, high = (100 * value for value in row.scores[task])
            cells.append(f"{mean:.1f} ({low:.1f} to {high:.1f})" if row.seeds > 1 else f"{mean:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
