"""The newcomer's story: a model learns a small world from nothing, and shows what it sees, and what it does not."""

from __future__ import annotations

import logging
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightweave.core import files

if TYPE_CHECKING:
    from sightweave.programs.evaluation.scores import Evaluation, Item
    from sightweave.run import Run

_SHOWN = 4
_LINE = 60
_TASKS = {
    "captioning": "captions, exact",
    "vqa": "questions (VQA)",
    "reasoning": "reasoning",
    "translation": "translation",
}

_SPLITS = {
    "scenes": "New scenes",
    "combinations": "Pairs never met in training",
    "combinations, met pairs": "The same scenes, pairs met in training",
}
"""What the splits of the scenes are called for a newcomer."""


def recipe_path(name: str) -> Path:
    """A recipe that ships with Sightweave: beside the checkout, or inside the installed package."""
    beside = Path(__file__).parents[2] / "recipes" / f"{name}.yaml"
    if beside.is_file():
        return beside
    return Path(str(resources.files("sightweave"))) / "recipes" / f"{name}.yaml"


def _free(folder: Path) -> Path:
    """The folder, or the next one of that name that no earlier demo has filled."""
    count, free = 1, folder
    while files.whole(free / "checkpoint").exists():
        count += 1
        free = folder.with_name(f"{folder.name}-{count}")
    return free


def tell(*, quick: bool, out: Path | None, console: Console) -> Run:
    """Trains, scores, shows answers, and says what to try next."""
    from sightweave import api

    logging.getLogger("sightweave").setLevel(logging.ERROR)
    began = time.perf_counter()
    recipe = recipe_path("demo_quick" if quick else "demo")
    folder = out or _free(Path("runs") / ("demo-quick" if quick else "demo"))
    console.print(
        "[bold]Sightweave[/bold] draws a small world of shapes and things, asks about it, and trains\n"
        f"a vision-language model on it from nothing.\nRecipe: {escape(str(recipe))}. Run: {escape(str(folder))}\n"
    )
    run = api.train(recipe, out=folder, evaluate=False, console=console)
    if run.stop_signal:
        console.print(f"\nStopped; what was learnt so far is in {escape(str(folder))}.")
        return run
    trained = time.perf_counter()
    console.print(f"\nTrained in {_minutes(trained - began)}. Now pictures that it has never met.\n")
    evaluations = api.evaluate(run, console=console)
    scored = time.perf_counter()
    for evaluation in evaluations:
        console.print(_scores(evaluation))
    _answers(console, evaluations[0])
    _homonym(console, evaluations[0])
    console.print(
        f"\nTraining took {_minutes(trained - began)}, scoring {_minutes(scored - trained)}."
        f"\nEverything to look at: [bold]{escape(str(folder / 'report.html'))}[/bold]"
        "\nThis model knows drawn scenes only. Try next:"
        f"\n  sightweave data sample scenes --split scenes --out sheet.png"
        f"\n  sightweave caption {folder} PICTURE"
        f'\n  sightweave generate {folder} PICTURE "What color is the circle?"'
        "\n  sightweave train recipes/own.yaml data=FOLDER       (your own pictures; see docs/how-to/own-pictures.md)"
        "\n  sightweave list                                     (the parts that you can choose)"
    )
    return run


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _scores(evaluation: Evaluation) -> Table:
    about = _SPLITS.get(evaluation.split, evaluation.split)
    table = Table(title=f"{about}: right answers in per cent (mean over types of question)")
    for column in ("task", "score", "without the picture", "with a wrong picture"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in evaluation.tasks:
        controls = [task.controls.get(name) for name in ("no_image", "shuffled_image")]
        table.add_row(
            _TASKS.get(task.task, task.task),
            f"[bold]{100 * task.score.value:.1f}[/bold]",
            *(f"{100 * one.value:.1f}" if one is not None else "-" for one in controls),
        )
    return table


def _answers(console: Console, evaluation: Evaluation) -> None:
    """A few pictures, each with its caption and what was asked of it."""
    groups: dict[str, list[Item]] = {}
    for item in evaluation.items:
        groups.setdefault(item.group, []).append(item)
    for items in list(groups.values())[:_SHOWN]:
        caption = next((item for item in items if item.type == "caption"), None)
        if caption is None:
            continue
        console.print(
            f"\n[bold]A picture.[/bold] The model says: {escape(caption.answer.text)} {_mark(caption)}"
        )
        for item in [item for item in items if item.type in ("color", "side", "rel", "ambiguous", "name")][
            :4
        ]:
            blind = item.controls.get("no_image")
            said = f"   (without the picture: {escape(_short(blind.text))})" if blind is not None else ""
            console.print(
                f"  {escape(item.prompt)}  ->  {escape(_short(item.answer.text))} {_mark(item)}[dim]{said}[/dim]"
            )


def _homonym(console: Console, evaluation: Evaluation) -> None:
    """One English sentence, two pictures, two translations: where the model gets both right."""
    seen: dict[str, Any] = {}
    for item in evaluation.items:
        if item.type != "ambiguous" or not item.answer.right:
            continue
        other = seen.get(item.prompt)
        if other is not None and other.answer.text != item.answer.text:
            console.print(
                f"\n[bold]One sentence, two pictures.[/bold] {escape(item.prompt)}\n"
                f"  {_thing(other)}:  {escape(other.answer.text)}\n  {_thing(item)}:  {escape(item.answer.text)}"
            )
            return
        seen[item.prompt] = item


def _thing(item: Item) -> str:
    return f"a picture of a {item.tags.get('word', '')} ({item.tags.get('sense', '').rpartition('_')[2]})"


def _short(text: str) -> str:
    """What follows the steps, cut where a model that sees nothing goes on and on."""
    answer = text.rpartition("Answer:")[2].strip() or text
    return answer if len(answer) <= _LINE else f"{answer[: _LINE - 3]}..."


def _mark(item: Item) -> str:
    return (
        "[green]right[/green]"
        if item.answer.right
        else f"[red]wrong[/red], it is: {escape(item.references[0])}"
    )
