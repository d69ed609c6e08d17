"""Compares many recipes at an equal budget: trains and scores every combination of the given settings.

Each cell of the grid is a run in its own process; several run in parallel. Finished work is kept: the same command
resumes where it stopped. It trains again only runs that did not finish or used another recipe, and evaluates again only
runs without readable scores.

The budget is the recipe's own steps, or a number of minutes or tokens per run. For minutes and tokens, a short trial of
each composition measures how many steps fit. Recipes still count steps, so every run can be repeated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
"""Subfolder for the trials."""
_TRIAL_STEPS = 24
"""Number of steps in each stage of a trial."""
_WARM_STEPS = 8
"""Number of steps at the start of each stage of a trial that are not timed, because they allocate memory."""
_FACTS = (
    "steps",
    "training_seconds",
    "tokens_shown",
    "parameters",
    "processor",
    "threads",
    "versions",
    "commit",
)
"""Fields of ``run.json`` that are copied into ``comparison.json``."""
_Run = Callable[[Sequence[Job]], None]
"""Function that runs jobs until all have ended."""


class ComparisonError(SightweaveError):
    """Raised when a run of the comparison failed; its log has the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The runs to compare and their common settings."""

    recipe: str | Path
    settings: Sequence[str]
    cells: Sequence[Cell]
    budget: Budget
    against: str
    out: Path

    def recipe_of(self, cell: Cell) -> recipes.Recipe:
        """The recipe of one run."""
        return recipes.read(self.recipe, cell.settings)

    def folder(self, cell: Cell) -> Path:
        """The folder of one run."""
        return self.out / cell.name

    def trial_folder(self, cell: Cell) -> Path:
        """The folder of a composition's trial, named after the composition's first run."""
        return self.out / _TRIALS / cell.name


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
        out: Output folder; each run gets a subfolder.
        minutes: Approximate training time of each run. A trial of each composition finds a factor by which all of its
            stages become longer or shorter, and ``steps.json`` stores the resulting steps. None keeps the recipe's
            steps.
        tokens: Approximate number of tokens to train on, as an alternative to `minutes`.
        against: The composition that the others are compared with: its words joined by ``-`` as in the folder names;
            by default the first one of the grid.
        at_once: Number of runs in parallel.
        threads: Threads of each run; None keeps the recipe's value.
        say: Called with a line of text when a run starts or ends.
        progress: Called with the number of finished runs, the number of all runs, and the names of those now running.

    Raises:
        RecipeError: there is a mistake in the recipe, in a setting or in `against`; this is found before anything is
            trained.
        ComparisonError: a run failed; the other runs are finished first.
        DataError: the files of a run cannot be read, or two runs answered different samples.
        FolderError: `out` contains files that Sightweave did not write and would overwrite, or another process is
            writing to it.
    """
    budget = _budget(minutes, tokens)
    cells = grid([*settings, f"train.num_threads={threads}"] if threads else settings)
    baseline = _baseline(cells, against)
    plan = _Plan(recipe=recipe, settings=settings, cells=cells, budget=budget, against=baseline, out=out)

    for cell in cells:
        read = plan.recipe_of(cell)
        # Models on the Hub are read only by training, which reports mistakes itself.
        if not read.model.hub_names:
            read.check()

    def run(jobs: Sequence[Job]) -> None:
        failed = run_jobs(jobs, at_once=at_once, threads=threads, say=say, progress=progress)
        if failed:
            raise ComparisonError(f"failed: {', '.join(failed)}. Run the same command again to resume.")

    with files.claimed(
        out, writes=outputs.COMPARISON_FILES, markers=outputs.COMPARISON_MARKERS, purpose="comparison"
    ):
        return _compared(plan, run, say)


def _baseline(cells: Sequence[Cell], against: str | None) -> str:
    """The name of the composition that the others are compared with.

    Raises:
        RecipeError: `against` is not a composition of the grid.
    """
    names = list(dict.fromkeys(cell.composition for cell in cells))
    if against is None:
        return names[0]
    if against not in names:
        raise RecipeError(f"against: no combination {against!r} in the grid. {did_you_mean(against, names)}")
    return against


def _compared(plan: _Plan, run: _Run, say: Callable[[str], None]) -> Comparison:
    """Trains and scores the runs that are not finished yet, and returns the comparison of all runs."""
    if plan.budget.amount is not None:
        plan = replace(plan, cells=_budgeted(plan, run))
    wanted = {cell.name: plan.recipe_of(cell) for cell in plan.cells}

    # Find the runs that earlier calls did not finish.
    waiting: list[Cell] = []
    jobs: list[Job] = []
    num_trained = 0
    for cell in plan.cells:
        state = _state(plan.folder(cell), wanted[cell.name])
        if state != "done":
            waiting.append(cell)
            jobs.append(_job_of(plan, cell, is_trained=state == "trained"))
            num_trained += state == "trained"
    only = f", {num_trained} more trained but not evaluated" if num_trained else ""
    say(f"{len(plan.cells)} runs, {len(plan.cells) - len(waiting)} already done{only}")

    # A run that was interrupted ends without an error but also without scores.
    run(jobs)
    for cell in waiting:
        if _state(plan.folder(cell), wanted[cell.name]) != "done":
            raise ComparisonError(
                f"{cell.name} ended without scores; see {plan.folder(cell) / LOG}. Run the same command again to resume."
            )

    found = _found(plan, wanted)
    files.write_text(plan.out / "comparison.md", as_markdown(found))
    results.write(plan.out, found)
    return found


def _budget(minutes: float | None, tokens: float | None) -> Budget:
    given: dict[Literal["minutes", "tokens"], float | None] = {"minutes": minutes, "tokens": tokens}
    if minutes is not None and tokens is not None:
        raise RecipeError(f"set either minutes ({minutes:g}) or tokens ({tokens:g}), not both.")
    for kind, amount in given.items():
        if amount is not None and not 0 < amount < float("inf"):
            raise RecipeError(
                f"{kind} must be above 0 (got {amount:g}); omit it to train the recipe's own steps."
            )
        if amount is not None:
            return Budget(kind, float(amount))
    return Budget()


def _budgeted(plan: _Plan, run: _Run) -> list[Cell]:
    """The cells, each with the number of steps that fits into the budget; a trial finds it if it is not known yet.

    All seeds of a composition get the same number of steps.
    """
    file = plan.out / "steps.json"
    known: dict[str, list[int]] = _read(file) if file.is_file() else {}

    # Run one trial for each composition whose steps are not known yet.
    keys: dict[str, str] = {}
    tried: dict[str, Cell] = {}
    for cell in plan.cells:
        key = keys[cell.name] = f"{plan.budget.text}, {_fingerprint(plan, cell)}"
        if key not in known:
            tried.setdefault(key, cell)
    run([_trial(plan, cell) for cell in tried.values()])

    # Compute the steps that fit from each trial, and store them.
    for key, cell in tried.items():
        known[key] = _fitting_steps(plan, cell)
    files.write_text(file, json.dumps(known, indent=1) + "\n")

    budgeted = []
    for cell in plan.cells:
        steps = _steps(known[keys[cell.name]])
        budgeted.append(replace(cell, settings=(*cell.settings, *steps)))
    return budgeted


def _fitting_steps(plan: _Plan, cell: Cell) -> list[int]:
    """The number of steps of each stage that fit into the budget, according to the composition's trial."""
    stages = plan.recipe_of(cell).train.stages
    folder = plan.trial_folder(cell)
    costs = _cost_of_step(folder / METRICS, len(stages), plan.budget)
    images = runs.facts_of(folder).get(runs.EPOCH_IMAGES, [])

    # The cost of the recipe's own steps, in seconds or tokens.
    planned = []
    whole = 0.0
    for number, stage in enumerate(stages):
        steps = _planned(number, stage, plan.budget, costs, images)
        planned.append(steps)
        whole += steps * costs[number]
    if not whole:
        raise RecipeError(
            f"tokens: {cell.name} trains on no tokens in any of its stages, so no number of steps reaches "
            f"{plan.budget.amount:g}; use a budget in minutes, or none."
        )

    amount = plan.budget.amount or 0.0
    factor = amount * (60 if plan.budget.kind == "minutes" else 1) / whole
    return [max(1, round(steps * factor)) for steps in planned]


def _planned(
    number: int, stage: Stage, budget: Budget, costs: Sequence[float], images: Sequence[float]
) -> float:
    """The recipe's own number of steps of a stage: as given, from its epochs, or from its minutes.

    Args:
        number: Index of the stage.
        stage: The stage.
        budget: The budget; tokens cannot be combined with a stage of minutes.
        costs: Cost of a step in each stage, as in `_cost_of_step`.
        images: Number of images in each stage's data.

    Raises:
        RecipeError: the budget is in tokens, but a stage is in minutes.
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
    """The part of a recipe on which training depends, as plain data."""
    values = recipe.to_plain()
    del values["evaluate"]
    return values


def _fingerprint(plan: _Plan, cell: Cell) -> str:
    """A hash of everything that affects the cost of a step: the training part of the recipe, without its seed."""
    values = _trained(plan.recipe_of(cell)) | {"seed": 0}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _trial(plan: _Plan, cell: Cell) -> Job:
    """A short training run that measures the cost of a step."""
    count = len(plan.recipe_of(cell).train.stages)
    settings = (*cell.settings, *_steps([_TRIAL_STEPS] * count), "train.log_every=1")
    folder = plan.trial_folder(cell)
    return Job(folder, (*_training_words(plan, settings, folder), "--no-evaluate"))


def _steps(numbers: Sequence[int]) -> list[str]:
    return [f"train.stages.{index}.steps={number}" for index, number in enumerate(numbers)]


def _cost_of_step(metrics: Path, stages: int, budget: Budget) -> list[float]:
    """The cost of a step in each stage of a trial: the median of seconds, or the mean number of tokens."""
    rows = [row for row in read_metrics(metrics) if "seconds" in row]
    costs = []
    for start in range(0, stages * _TRIAL_STEPS, _TRIAL_STEPS):
        stage = rows[start : start + _TRIAL_STEPS]
        if budget.kind == "tokens":
            costs.append(fmean(row["tokens_per_second"] * row["seconds"] for row in stage))
        else:
            costs.append(median(float(row["seconds"]) for row in stage[_WARM_STEPS:]))
    return costs


def _steps_of(recipe: recipes.Recipe) -> int:
    return sum(stage.steps or 0 for stage in recipe.train.stages)


def _state(folder: Path, wanted: recipes.Recipe) -> Literal["new", "trained", "done"]:
    """The state of a run: ``new``, ``trained`` with the wanted recipe, or ``done`` if it is also evaluated."""
    try:
        facts = _read(folder / "run.json")
        found = _recipe_in(folder, wanted)
        is_trained = (
            files.whole(folder / runs.CHECKPOINT).is_dir()
            and (facts.get("stopped_early") or facts["steps"] == _steps_of(found))
            and not facts["interrupted"]
            and _is_of(found, facts, wanted)
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError):  # missing, or only partly written
        return "new"
    if not is_trained:
        return "new"

    try:
        measured = stored.read_document(folder).get("measured", wanted.to_plain())
        return "done" if _measured(measured, wanted) == _measured(wanted, wanted) else "trained"
    except SightweaveError:
        return "trained"


def _recipe_in(folder: Path, wanted: recipes.Recipe) -> recipes.Recipe:
    """Reads the recipe in a run's folder; it may refer only to Python modules that the wanted recipe names."""
    source = configs.Downloaded(recipes.modules_of(wanted))
    values = configs.read_yaml(folder / "recipe.yaml")
    return recipes.of_run(values, where=str(folder), source=source)


def _trust(folder: Path) -> tuple[str, ...]:
    """``--trust-run`` if the run's checkpoint and its folder contain the same recipe, which has been checked; else empty."""
    try:
        loaded = checkpoint.read_document(folder / runs.CHECKPOINT, "recipe")
        return ("--trust-run",) if loaded == configs.read_yaml(folder / "recipe.yaml") else ()
    except SightweaveError:
        return ()


def _is_of(trained: recipes.Recipe, facts: Mapping[str, Any], wanted: recipes.Recipe) -> bool:
    """Whether a run was trained with the wanted recipe, comparing only what affects training.

    The run's recipe is resolved: it has sizes and steps, while the wanted one may name parts on the Hub and give
    epochs. The original values are in ``run.json``, so nothing has to be looked up.
    """
    wanted = recipes.of_run(wanted.to_plain(), where="recipe", source=None)
    asked = recipes.without_outputs(runs.asked_of(facts))
    if wanted.model.hub_names and "model" not in asked:  # runs of earlier versions do not record it
        wanted = wanted.resolved()
    return _trained(trained) | asked == _trained(wanted)


def _measured(recipe: recipes.Recipe | Mapping[str, Any], wanted: recipes.Recipe) -> recipes.Measured:
    """The part of a recipe on which an evaluation depends; it may refer only to Python modules of the wanted recipe."""
    values = recipe.to_plain() if isinstance(recipe, recipes.Recipe) else recipe
    given = {}
    for field in dataclasses.fields(recipes.Measured):
        if field.name in values:
            given[field.name] = values[field.name]
    return recipes.measured(
        recipes.without_outputs(given), source=configs.Downloaded(recipes.modules_of(wanted))
    )


def _job_of(plan: _Plan, cell: Cell, *, is_trained: bool) -> Job:
    """The job that trains and evaluates a run, or only evaluates it if it is trained already."""
    folder = plan.folder(cell)
    if not is_trained:
        return Job(folder, _training_words(plan, cell.settings, folder))

    asked = plan.recipe_of(cell).to_plain()["evaluate"]
    settings = [f"evaluate.{name}={json.dumps(value)}" for name, value in asked.items()]
    words = ("evaluate", str(folder), *settings, *_trust(folder))
    return Job(folder, words, is_fresh=False, note="scores only")


def _training_words(plan: _Plan, settings: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The command-line arguments of a training run."""
    return ("train", str(plan.recipe), *settings, "--out", str(folder))


def _found(plan: _Plan, wanted: Mapping[str, recipes.Recipe]) -> Comparison:
    """Builds the comparison from runs that all have scores."""
    groups: dict[str, list[Cell]] = {}
    answered: dict[str, list[Answered]] = {}
    for cell in plan.cells:
        groups.setdefault(cell.composition, []).append(cell)
        one = _answered(plan.folder(cell), wanted[cell.name])
        answered.setdefault(cell.composition, []).append(one)
    compared = side_by_side(answered, against=plan.against)

    # Collect the settings and costs of the runs.
    facts: dict[str, Any] = {}
    cells = []
    for cell in plan.cells:
        facts[cell.name] = _read(plan.folder(cell) / "run.json")
        cells.append(_plain_cell(plan, cell, facts[cell.name], wanted[cell.name]))
    rows = [_row(name, group, facts, wanted, compared) for name, group in groups.items()]

    splits = [column.split for column in compared.columns]
    return Comparison(
        recipe=str(plan.recipe),
        settings=tuple(plan.settings),
        budget=plan.budget,
        against=plan.against,
        rows=tuple(rows),
        columns=compared.columns,
        differences=compared.differences,
        notes=(*compared.notes, *choosing_notes(splits)),
        cells=tuple(cells),
    )


def _answered(folder: Path, recipe: recipes.Recipe) -> Answered:
    """The stored answers of one run, with the metrics of its recipe."""
    return Answered(
        where=str(folder),
        evaluations=stored.read_evaluations(folder),
        metrics=lambda task: recipe.task(task).metrics,
    )


def _plain_cell(plan: _Plan, cell: Cell, facts: Mapping[str, Any], wanted: recipes.Recipe) -> dict[str, Any]:
    """One run for ``comparison.json``, with its recipe and its resolved model."""
    model = _recipe_in(plan.folder(cell), wanted).to_plain()["model"]
    return {
        "name": cell.name,
        "composition": cell.composition,
        "seed": wanted.seed,
        **{name: facts.get(name) for name in _FACTS},
        "recipe": wanted.to_plain() | {"model": model},
    }


def choosing_notes(splits: Sequence[str]) -> list[str]:
    """A list with a warning if recipes are compared on test splits; otherwise an empty list."""
    tests = list(dict.fromkeys(split for split in splits if not is_for_choosing(split)))
    if not tests:
        return []
    return [
        f"These are scores on {', '.join(tests)}. To choose among the rows, compare them on evaluate.splits=[validation] "
        "and evaluate the chosen one here: the best of several test scores is biased upwards."
    ]


def _row(
    name: str,
    group: Sequence[Cell],
    facts: Mapping[str, Mapping[str, Any]],
    wanted: Mapping[str, recipes.Recipe],
    compared: Compositions,
) -> Row:
    """The table row of one composition, whose runs differ only in their seeds."""
    seeds, steps, minutes = [], [], []
    for cell in group:
        seeds.append(wanted[cell.name].seed)
        steps.append(facts[cell.name]["steps"])
        minutes.append(facts[cell.name]["training_seconds"] / 60)

    return Row(
        name=name,
        labels=group[0].labels,
        seeds=tuple(seeds),
        parameters=facts[group[0].name]["parameters"],
        steps=tuple(steps),
        minutes=tuple(minutes),
        scores=compared.scores[name],
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
