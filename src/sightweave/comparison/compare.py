"""Many recipes at an equal budget, one table: every combination of the given settings is trained and scored.

Each cell of the grid is a run of its own in a process of its own, some at a time. What is done stays done: the same
command goes on where it was stopped, trains again only what did not end or was made from another recipe, and scores
again what has no scores that can be read.

An equal budget is one of steps, which the recipe has, or of minutes or tokens: then a short trial of each composition
tells how many steps fit. Recipes go on counting steps, so that every run can be repeated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from sightweave import recipe as recipes
from sightweave import run as runs
from sightweave.comparison import results
from sightweave.comparison.compositions import Answered, Compositions, side_by_side
from sightweave.comparison.grid import Cell, grid
from sightweave.comparison.results import Budget, Comparison, Row, as_markdown
from sightweave.core import checkpoint, files, outputs
from sightweave.core import config as configs
from sightweave.core.errors import RecipeError, SightweaveError, did_you_mean
from sightweave.core.processes import LOG, Job, run_jobs
from sightweave.data.reading.splits import is_for_choosing
from sightweave.programs.evaluation import stored
from sightweave.programs.training import durations
from sightweave.programs.training.logs import METRICS, read_metrics
from sightweave.programs.training.settings import Stage

_TRIALS = "trials"
_TRIAL_STEPS = 24
_WARM_STEPS = 8
"""Of a trial's stage, not counted in its time: the first ones allocate memory."""
_Run = Callable[[Sequence[Job]], None]


class ComparisonError(SightweaveError):
    """A run of the comparison failed; its log says why."""


def compare(
    recipe: str | Path,
    settings: Sequence[str],
    *,
    out: Path,
    minutes: float | None = None,
    tokens: float | None = None,
    against: str | None = None,
    at_once: int = 1,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int, str], None] = lambda _done, _total, _note: None,
) -> Comparison:
    """Trains and scores every cell of a grid, and writes ``comparison.json``, ``.md``, ``.svg`` and ``.html``.

    Args:
        recipe: A YAML file.
        settings: ``path=value`` for all runs, ``path=value,value`` for an axis of the grid.
        out: A folder; each run gets one inside it.
        minutes: Training of each run takes about so long: all its stages become longer or shorter by one factor, which
            a trial of each composition finds and ``steps.json`` keeps. None leaves the recipe's steps.
        tokens: The same by the tokens that a run trains on.
        against: The composition that the others are compared with: its words joined by ``-``, as in the folders' names;
            by default the first of the grid.
        at_once: Runs that go at the same time.
        threads: Of each run; None leaves what the recipe says.
        say: Told what starts and what ends.
        progress: Told how many runs have ended, of how many, and which are going on.

    Raises:
        RecipeError: a mistake in the recipe, in a setting or in `against`, found before anything is trained.
        ComparisonError: a run failed; the others are left to end.
        DataError: what a run left cannot be read, or two runs answered other samples.
        FolderError: `out` holds files that Sightweave did not write and would overwrite, or another process writes into it.
    """
    budget = _budget(minutes, tokens)
    cells = grid([*settings, *([f"train.num_threads={threads}"] if threads else [])])
    names = list(dict.fromkeys(cell.composition for cell in cells))
    baseline = names[0] if against is None else against
    if baseline not in names:
        raise RecipeError(
            f"against: no combination {baseline!r} in the grid. {did_you_mean(baseline, names)}"
        )
    for cell in cells:
        read = recipes.read(recipe, cell.settings)
        if not read.model.hub_names:  # only training reads those, so a mistake in them ends that run
            read.check()

    def run(jobs: Sequence[Job]) -> None:
        failed = run_jobs(jobs, at_once=at_once, threads=threads, say=say, progress=progress)
        if failed:
            raise ComparisonError(f"failed: {', '.join(failed)}. Run the same command again to resume.")

    with files.claimed(
        out, writes=outputs.COMPARISON_FILES, markers=outputs.COMPARISON_MARKERS, purpose="comparison"
    ):
        return _compared(recipe, settings, cells, budget, baseline, out, run, say)


def _compared(
    recipe: str | Path,
    settings: Sequence[str],
    cells: list[Cell],
    budget: Budget,
    baseline: str,
    out: Path,
    run: _Run,
    say: Callable[[str], None],
) -> Comparison:
    """Trains and scores what is not done yet, and writes the table."""
    if budget.amount is not None:
        cells = _budgeted(recipe, cells, budget, out, run)
    wanted = {cell.name: recipes.read(recipe, cell.settings) for cell in cells}
    states = {cell.name: _state(out / cell.name, wanted[cell.name]) for cell in cells}
    done, trained = (sum(state == name for state in states.values()) for name in ("done", "trained"))
    only = f", {trained} more trained but not evaluated" if trained else ""
    say(f"{len(cells)} runs, {done} already done{only}")
    waiting = [cell for cell in cells if states[cell.name] != "done"]
    run([_job_of(recipe, cell, out, is_trained=states[cell.name] == "trained") for cell in waiting])
    for cell in waiting:  # one that was asked to stop ends well, but without scores
        if _state(out / cell.name, wanted[cell.name]) != "done":
            log = out / cell.name / LOG
            raise ComparisonError(
                f"{cell.name} ended without scores; see {log}. Run the same command again to resume."
            )
    found = _found(str(recipe), settings, budget, baseline, cells, wanted, out)
    files.write_text(out / "comparison.md", as_markdown(found))
    results.write(out, found)
    return found


def _budget(minutes: float | None, tokens: float | None) -> Budget:
    given: dict[Literal["minutes", "tokens"], float | None] = {"minutes": minutes, "tokens": tokens}
    if minutes is not None and tokens is not None:
        raise RecipeError(f"set either minutes ({minutes:g}) or tokens ({tokens:g}), not both.")
    for kind, amount in given.items():
        if amount is not None and not 0 < amount < float("inf"):
            raise RecipeError(
                f"{kind} must be over 0 (got {amount:g}); omit it to train the recipe's own steps."
            )
        if amount is not None:
            return Budget(kind, float(amount))
    return Budget()


def _budgeted(recipe: str | Path, cells: Sequence[Cell], budget: Budget, out: Path, run: _Run) -> list[Cell]:
    """The cells with the steps that fit into the budget: the same for all seeds of a composition."""
    file = out / "steps.json"
    known: dict[str, list[int]] = _read(file) if file.is_file() else {}
    keys = {cell.name: f"{budget.text}, {_fingerprint(recipe, cell)}" for cell in cells}
    tried: dict[str, Cell] = {}
    for cell in cells:
        if keys[cell.name] not in known:
            tried.setdefault(keys[cell.name], cell)
    trials = [replace(cell, settings=_trial(recipe, cell)) for cell in tried.values()]
    run([_job_of(recipe, cell, out / _TRIALS, score=False) for cell in trials])
    for key, cell in tried.items():
        stages = recipes.read(recipe, cell.settings).train.stages
        each = _cost_of_step(out / _TRIALS / cell.name / METRICS, len(stages), budget)
        images = runs.facts_of(out / _TRIALS / cell.name).get(runs.EPOCH_IMAGES, [])
        planned = [_planned(number, stage, budget, each, images) for number, stage in enumerate(stages)]
        whole = sum(steps * cost for steps, cost in zip(planned, each, strict=True))
        if not whole:
            raise RecipeError(
                f"tokens: {cell.name} trains on no tokens in any of its stages, so no number of steps reaches "
                f"{budget.amount:g}; use a budget in minutes, or none."
            )
        amount = budget.amount or 0.0
        factor = amount * (60 if budget.kind == "minutes" else 1) / whole
        known[key] = [max(1, round(steps * factor)) for steps in planned]
    files.write_text(file, json.dumps(known, indent=1) + "\n")
    return [replace(cell, settings=(*cell.settings, *_steps(known[keys[cell.name]]))) for cell in cells]


def _planned(
    number: int, stage: Stage, budget: Budget, costs: Sequence[float], images: Sequence[float]
) -> float:
    """Steps that a stage asks for: as given, by the images of its epochs, or by what fits into its minutes.

    Raises:
        RecipeError: a budget of tokens for a stage of minutes.
    """
    if stage.steps is not None:
        return stage.steps
    if stage.epochs is not None:
        return durations.steps_of(stage, images[number])
    if budget.kind == "tokens":
        raise RecipeError(
            f"tokens: stage {stage.name!r} trains for minutes ({stage.minutes:g}), so its tokens depend on the machine's "
            f"speed; set train.stages.{number}.steps or epochs."
        )
    return 60 * (stage.minutes or 0.0) / costs[number]


def _trained(recipe: recipes.Recipe) -> dict[str, Any]:
    """The part of a recipe that training depends on."""
    values = recipe.to_plain()
    del values["evaluate"]
    return values


def _fingerprint(recipe: str | Path, cell: Cell) -> str:
    """Of everything that decides what a step costs: all that trains but its seed."""
    values = _trained(recipes.read(recipe, cell.settings)) | {"seed": 0}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _trial(recipe: str | Path, cell: Cell) -> tuple[str, ...]:
    count = len(recipes.read(recipe, cell.settings).train.stages)
    return (*cell.settings, *_steps([_TRIAL_STEPS] * count), "train.log_every=1")


def _steps(numbers: Sequence[int]) -> list[str]:
    return [f"train.stages.{index}.steps={number}" for index, number in enumerate(numbers)]


def _cost_of_step(metrics: Path, stages: int, budget: Budget) -> list[float]:
    """Of each stage of a trial: seconds of a step in the middle, or tokens of a mean one."""
    rows = read_metrics(metrics)
    each = [rows[start : start + _TRIAL_STEPS] for start in range(0, stages * _TRIAL_STEPS, _TRIAL_STEPS)]
    if budget.kind == "tokens":
        return [fmean(row["tokens_per_second"] * row["seconds"] for row in stage) for stage in each]
    return [median(float(row["seconds"]) for row in stage[_WARM_STEPS:]) for stage in each]


def _state(folder: Path, wanted: recipes.Recipe) -> Literal["new", "trained", "done"]:
    """How far a run of the wanted recipe has come."""
    try:
        facts = _read(folder / "run.json")
        found = _recipe_in(folder, wanted)
        is_trained = (
            files.whole(folder / runs.CHECKPOINT).is_dir()
            and facts["steps"] == sum(stage.steps or 0 for stage in found.train.stages)
            and not facts["interrupted"]
            and _is_of(found, facts, wanted)
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, or cut off while it was written
        return "new"
    if not is_trained:
        return "new"
    try:
        measured = stored.read_document(folder).get("measured", wanted.to_plain())
        return "done" if _measured(measured, wanted) == _measured(wanted, wanted) else "trained"
    except SightweaveError:
        return "trained"


def _recipe_in(folder: Path, wanted: recipes.Recipe) -> recipes.Recipe:
    """The recipe in a run's folder, which may name the Python modules that the wanted one names."""
    source = configs.Downloaded(recipes.modules_of(wanted))
    values = configs.read_yaml(folder / "recipe.yaml")
    return recipes.of_run(values, where=str(folder), source=source)


def _trust(folder: Path) -> tuple[str, ...]:
    """The word that trusts a run, where its checkpoint has the recipe that was found to be the one asked for."""
    try:
        loaded = checkpoint.read_document(folder / runs.CHECKPOINT, "recipe")
        return ("--trust-run",) if loaded == configs.read_yaml(folder / "recipe.yaml") else ()
    except SightweaveError:
        return ()


def _is_of(trained: recipes.Recipe, facts: Mapping[str, Any], wanted: recipes.Recipe) -> bool:
    """Whether a run was trained by the wanted recipe, as far as training goes.

    The run's recipe is resolved: it has sizes where the wanted one may name parts on the hub, and steps for its epochs. What
    was asked is in ``run.json`` then, so that nothing is looked up.
    """
    wanted = recipes.of_run(wanted.to_plain(), where="recipe", source=None)
    asked = recipes.without_outputs(runs.asked_of(facts))
    if wanted.model.hub_names and "model" not in asked:  # runs of earlier versions do not say
        wanted = wanted.resolved()
    return _trained(trained) | asked == _trained(wanted)


def _measured(recipe: recipes.Recipe | Mapping[str, Any], wanted: recipes.Recipe) -> recipes.Measured:
    """The part of a recipe that an evaluation depends on; it may name the Python modules that the wanted one names."""
    values = recipe.to_plain() if isinstance(recipe, recipes.Recipe) else recipe
    names = [field.name for field in dataclasses.fields(recipes.Measured)]
    given = recipes.without_outputs({name: values[name] for name in names if name in values})
    return recipes.measured(given, source=configs.Downloaded(recipes.modules_of(wanted)))


def _job_of(
    recipe: str | Path, cell: Cell, out: Path, *, is_trained: bool = False, score: bool = True
) -> Job:
    folder = out / cell.name
    if is_trained:
        asked = recipes.read(recipe, cell.settings).to_plain()["evaluate"]
        settings = [f"evaluate.{name}={json.dumps(value)}" for name, value in asked.items()]
        words = ("evaluate", str(folder), *settings, *_trust(folder))
        return Job(folder, words, is_fresh=False, note="scores only")
    train = ("train", str(recipe), *cell.settings, "--out", str(folder))
    return Job(folder, train if score else (*train, "--no-evaluate"))


def _found(
    recipe: str,
    settings: Sequence[str],
    budget: Budget,
    against: str,
    cells: Sequence[Cell],
    wanted: Mapping[str, recipes.Recipe],
    out: Path,
) -> Comparison:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.composition, []).append(cell)
    answered = {
        name: [
            Answered(
                where=str(out / cell.name),
                evaluations=stored.read_evaluations(out / cell.name),
                metrics=_metrics_of(wanted[cell.name]),
            )
            for cell in group
        ]
        for name, group in groups.items()
    }
    compared = side_by_side(answered, against=against)
    facts = {cell.name: _read(out / cell.name / "run.json") for cell in cells}
    rows = [_row(name, group, facts, wanted, compared) for name, group in groups.items()]
    told = (
        "steps",
        "training_seconds",
        "tokens_shown",
        "parameters",
        "processor",
        "threads",
        "versions",
        "commit",
    )
    return Comparison(
        recipe=recipe,
        settings=tuple(settings),
        budget=budget,
        against=against,
        rows=tuple(rows),
        columns=compared.columns,
        differences=compared.differences,
        notes=(*compared.notes, *choosing_notes([column.split for column in compared.columns])),
        cells=tuple(
            {
                "name": cell.name,
                "composition": cell.composition,
                "seed": wanted[cell.name].seed,
                **{key: facts[cell.name].get(key) for key in told},
                "recipe": wanted[cell.name].to_plain()
                | {"model": _recipe_in(out / cell.name, wanted[cell.name]).to_plain()["model"]},
            }
            for cell in cells
        ),
    )


def choosing_notes(splits: Sequence[str]) -> list[str]:
    """A warning where recipes are compared on tests."""
    tests = list(dict.fromkeys(split for split in splits if not is_for_choosing(split)))
    if not tests:
        return []
    return [
        f"These are scores on {', '.join(tests)}. To choose among the rows, compare them on evaluate.splits=[validation] "
        "and evaluate the chosen one here: the best of several test scores is biased upwards."
    ]


def _metrics_of(recipe: recipes.Recipe) -> Callable[[str], Sequence[Any]]:
    return lambda task: recipe.task(task).metrics


def _row(
    name: str,
    group: Sequence[Cell],
    facts: Mapping[str, Mapping[str, Any]],
    wanted: Mapping[str, recipes.Recipe],
    compared: Compositions,
) -> Row:
    each = [facts[cell.name] for cell in group]
    return Row(
        name=name,
        labels=group[0].labels,
        seeds=tuple(wanted[cell.name].seed for cell in group),
        parameters=each[0]["parameters"],
        steps=tuple(one["steps"] for one in each),
        minutes=tuple(one["training_seconds"] / 60 for one in each),
        scores=compared.scores[name],
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
