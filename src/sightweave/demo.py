"""The newcomer's story: a model learns a small world from nothing, and shows what it sees, and what it does not."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightweave.core import files
from sightweave.core.recipe_files import find

if TYPE_CHECKING:
    from sightweave.programs.evaluation.scores import Evaluation, Item
    from sightweave.run import Run

_SHOWN = 4
"""Pictures, and questions on each."""
_ASKED = ("color", "side", "rel", "ambiguous", "name")
"""Types of question that are easy to follow."""
_LINE = 60
_TASKS = {
    "captioning": "captions, exact",
    "vqa": "questions (VQA)",
    "reasoning": "reasoning",
    "translation": "translation",
}

_SPLITS = {
    "scenes": "New scenes",
    "combinations": "Pairs not seen in training",
    "combinations, met pairs": "The same scenes, pairs seen in training",
}
"""What the splits of the scenes are called for a newcomer."""


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
    recipe = find("demo_quick" if quick else "demo")
    folder = out or _free(Path("runs") / ("demo-quick" if quick else "demo"))
    console.print(
        "[bold]Sightweave[/bold] draws a small world of shapes and objects, asks questions about it,\nand trains "
        f"a vision-language model on it from scratch.\nRecipe: {escape(str(recipe))}. Run: {escape(str(folder))}\n"
    )
    run = api.train(recipe, out=folder, evaluate=False, console=console)
    if run.stop_signal:
        console.print(f"\nStopped; the progress so far is saved in {escape(str(folder))}.")
        return run
    trained = time.perf_counter()
    console.print(f"\nTrained in {_minutes(trained - began)}. Now some images it has never seen.\n")
    evaluations = api.evaluate(run, console=console)
    scored = time.perf_counter()
    for evaluation in evaluations:
        console.print(_scores(evaluation))
        console.print(f"{escape(evaluation.sentence)}\n")
    kept = _kept_pictures(folder)
    _answers(console, evaluations[0], kept)
    _homonym(console, evaluations[0], kept)
    console.print(
        f"\nTraining took {_minutes(trained - began)}, evaluation {_minutes(scored - trained)}."
        f"\nFull report: [bold]{escape(str(folder / 'report.html'))}[/bold]"
        "\nThis model knows drawn scenes only. What to try next:"
        f"\n  sightweave data sample scenes --split scenes --out sheet.png"
        f"\n  sightweave caption {folder} PICTURE"
        f'\n  sightweave generate {folder} PICTURE "What color is the circle?"'
        "\n  sightweave train own data=FOLDER                    (your own images; see docs/how-to/own-pictures.md)"
        "\n  sightweave list                                     (the parts you can choose from)"
    )
    return run


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _scores(evaluation: Evaluation) -> Table:
    about = _SPLITS.get(evaluation.split, evaluation.split)
    table = Table(title=f"{about}: correct answers in % (mean over question types)")
    for column in ("task", "score", "without the image", "with a wrong image"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in evaluation.tasks:
        controls = [task.controls.get(name) for name in ("no_image", "shuffled_image")]
        table.add_row(
            _TASKS.get(task.task, task.task),
            f"[bold]{100 * task.score.value:.1f}[/bold]",
            *(f"{100 * one.value:.1f}" if one is not None else "-" for one in controls),
        )
    return table


def _kept_pictures(folder: Path) -> dict[str, Path]:
    """Files of the pictures that the evaluation kept for its report, by their keys."""
    place = folder / "gallery"
    names = json.loads((place / "index.json").read_text(encoding="utf-8"))
    return {key: place / name for key, name in names.items()}


def _answers(console: Console, evaluation: Evaluation, kept: Mapping[str, Path]) -> None:
    """A few pictures, each with its file, its caption and what was asked of it."""
    groups: dict[str, list[Item]] = {}
    for item in evaluation.items:
        groups.setdefault(item.group, []).append(item)

    # Pictures that a reader can open come first.
    captions = [item for item in evaluation.items if item.type == "caption"]
    captions.sort(key=lambda item: item.answer.image not in kept)
    for caption in captions[:_SHOWN]:
        console.print(
            f"\n[bold]An image{_file_of(caption, kept)}.[/bold] "
            f"The model says: {escape(caption.answer.text)} {_mark(caption)}",
            soft_wrap=True,
        )
        asked = [item for item in groups[caption.group] if item.type in _ASKED]
        for item in asked[:_SHOWN]:
            blind = item.controls.get("no_image")
            said = f"   without the image: {escape(_short(blind.text))}" if blind is not None else ""
            console.print(
                f"  {escape(item.prompt)}  ->  {escape(_short(item.answer.text))} {_mark(item)}[dim]{said}[/dim]",
                soft_wrap=True,
            )


def _homonym(console: Console, evaluation: Evaluation, kept: Mapping[str, Path]) -> None:
    """One English sentence, two pictures, two translations: where the model gets both right."""
    prompts: dict[str, list[Item]] = {}
    for item in evaluation.items:
        if item.type == "ambiguous" and item.answer.right:
            prompts.setdefault(item.prompt, []).append(item)

    # Of two pictures that a reader can open, if there are such; else of the first two.
    pairs = [
        (one, other)
        for items in prompts.values()
        for one, other in itertools.combinations(items, 2)
        if one.answer.text != other.answer.text
    ]
    pairs.sort(key=lambda pair: sum(item.answer.image not in kept for item in pair))
    for one, other in pairs[:1]:
        console.print(f"\n[bold]One sentence, two images.[/bold] {escape(one.prompt)}", soft_wrap=True)
        for item in (one, other):
            console.print(
                f"  {_thing(item)}{_file_of(item, kept)}:  {escape(item.answer.text)}", soft_wrap=True
            )


def _file_of(item: Item, kept: Mapping[str, Path]) -> str:
    """Where the picture of an item is, for one who wants to see it."""
    path = kept.get(item.answer.image)
    return "" if path is None else f" ({escape(str(path))})"


def _thing(item: Item) -> str:
    word, sense = item.tags.get("word", ""), item.tags.get("sense", "").rpartition("_")[2]
    article = "an" if word[:1] in tuple("aeiou") else "a"
    return escape(f"an image of {article} {word} ({sense})")


def _short(text: str) -> str:
    """What follows the steps, cut where a model that sees nothing goes on and on."""
    answer = text.rpartition("Answer:")[2].strip() or text
    return answer if len(answer) <= _LINE else f"{answer[: _LINE - 3]}..."


def _mark(item: Item) -> str:
    """Whether an answer is right, told apart from it without colours too."""
    if item.answer.right:
        return "[green](correct)[/green]"
    return f"[red](wrong; correct: {escape(item.references[0])})[/red]"
