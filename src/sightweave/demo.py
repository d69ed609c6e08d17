"""The demo: trains a small model from scratch, evaluates it, and shows what it can and cannot answer."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightweave.core.errors import CheckpointError
from sightweave.core.recipe_files import find
from sightweave.core.run_folder import GIVEN, facts_of, holds_run, unfinished

if TYPE_CHECKING:
    from sightweave.programs.evaluation.scores import Evaluation, Item
    from sightweave.run import Run

_SHOWN = 4
"""Maximum images shown, and maximum questions about each."""
_ASKED = ("color", "side", "rel", "ambiguous", "name")
"""Types of question that are easy to understand."""
_LINE = 60
"""Maximum characters of an answer."""
_TASKS = {
    "captioning": "captions, exact",
    "vqa": "questions (VQA)",
    "reasoning": "reasoning",
    "translation": "translation",
    "reading": "reading signs",
    "image_translation": "translating signs",
}

_SPLITS = {
    "scenes": "New scenes",
    "combinations": "Pairs not seen in training",
    "combinations, met pairs": "The same scenes, pairs seen in training",
    "combinations, phrases": "Phrases not seen in training",
    "combinations, faces": "A typeface not seen in training",
    "combinations, pairs": "Pairs of a word and a thing not seen in training",
}
"""Titles of the splits of the ``scenes`` dataset."""


def free_folder(folder: Path, recipe: Path, settings: Sequence[str] = ()) -> Path:
    """The folder, or the first numbered one of that name, that holds no run, or an unfinished one of the recipe."""
    from sightweave import api

    given = json.loads(json.dumps(api.read_recipe(recipe, settings).to_plain()))
    count, free = 1, folder
    while holds_run(free) and not _is_unfinished(free, given):
        count += 1
        free = folder.with_name(f"{folder.name}-{count}")
    return free


def _is_unfinished(folder: Path, given: object) -> bool:
    try:
        known = facts_of(folder)
    except CheckpointError:
        return False
    return bool(unfinished(known)) and known.get(GIVEN) == given


def tell(*, quick: bool, out: Path | None, console: Console) -> Run:
    """Trains and evaluates the demo's model, shows some answers, and suggests what to try next."""
    from sightweave import api

    # Training.
    logging.getLogger("sightweave").setLevel(logging.ERROR)
    began = time.perf_counter()
    recipe = find("demo_quick" if quick else "demo")
    folder = out or free_folder(Path("runs") / ("demo-quick" if quick else "demo"), recipe)
    console.print(
        "[bold]Sightweave[/bold] draws a small world of shapes and objects, asks questions about it,\nand trains "
        f"a vision-language model on it from scratch.\nRecipe: {escape(str(recipe))}. Run: {escape(str(folder))}\n"
    )
    run = api.train(recipe, out=folder, evaluate=False, console=console)
    if run.stop_signal:
        console.print(
            f"\nStopped; the progress so far is saved in {escape(str(folder))}. The same command resumes there."
        )
        return run
    trained = time.perf_counter()
    console.print(f"\nTrained in {minutes(trained - began)}. Now some images it has never seen.\n")

    # Scores, then some answers of the first split.
    evaluations = api.evaluate(run, console=console)
    scored = time.perf_counter()
    for evaluation in evaluations:
        console.print(score_table(evaluation))
        console.print(f"{escape(evaluation.sentence)}\n")
    kept = _kept_pictures(folder)
    _answers(console, evaluations[0], kept)
    _homonym(console, evaluations[0], kept)

    # What to try next.
    console.print(
        f"\nTraining took {minutes(trained - began)}, evaluation {minutes(scored - trained)}."
        f"\nFull report: [bold]{escape(str(folder / 'report.html'))}[/bold]"
        "\nThis model knows drawn scenes only. What to try next:"
        f"\n  sightweave data sample scenes --split scenes --out sheet.png"
        f"\n  sightweave caption {folder} PICTURE"
        f'\n  sightweave generate {folder} PICTURE "What color is the circle?"'
        "\n  sightweave train own data=FOLDER                    (your own images; see docs/how-to/own-pictures.md)"
        "\n  sightweave list                                     (the parts you can choose from)"
    )
    return run


def minutes(seconds: float) -> str:
    """A duration as text."""
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def score_table(evaluation: Evaluation) -> Table:
    """A table of the scores of each task, with and without the right image."""
    about = _SPLITS.get(evaluation.split, evaluation.split)
    table = Table(title=f"{about}: correct answers in % (mean over question types)")
    for column in ("task", "score", "without the image", "with a wrong image"):
        table.add_column(column, justify="left" if column == "task" else "right")

    for task in evaluation.tasks:
        row = [_TASKS.get(task.task, task.task), f"[bold]{100 * task.score.value:.1f}[/bold]"]
        for name in ("no_image", "shuffled_image"):
            control = task.controls.get(name)
            row.append("-" if control is None else f"{100 * control.value:.1f}")
        table.add_row(*row)
    return table


def _kept_pictures(folder: Path) -> dict[str, Path]:
    """Files of the images in the gallery of the report, by key."""
    place = folder / "gallery"
    names = json.loads((place / "index.json").read_text(encoding="utf-8"))
    return {key: place / name for key, name in names.items()}


def _answers(console: Console, evaluation: Evaluation, kept: Mapping[str, Path]) -> None:
    """Prints a few images, each with its file, its caption, and some questions with answers."""
    groups: dict[str, list[Item]] = {}
    for item in evaluation.items:
        groups.setdefault(item.group, []).append(item)

    # Images with a file that the user can open come first.
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
    """Prints an ambiguous English sentence that the model translates correctly in two ways for two images."""
    prompts: dict[str, list[Item]] = {}
    for item in evaluation.items:
        if item.type == "ambiguous" and item.answer.right:
            prompts.setdefault(item.prompt, []).append(item)

    pairs: list[tuple[Item, Item]] = []
    for items in prompts.values():
        for one, other in itertools.combinations(items, 2):
            if one.answer.text != other.answer.text:
                pairs.append((one, other))
    if not pairs:
        return

    # Prefer two images with files that the user can open.
    pairs.sort(key=lambda pair: sum(item.answer.image not in kept for item in pair))
    console.print(f"\n[bold]One sentence, two images.[/bold] {escape(pairs[0][0].prompt)}", soft_wrap=True)
    for item in pairs[0]:
        console.print(f"  {_thing(item)}{_file_of(item, kept)}:  {escape(item.answer.text)}", soft_wrap=True)


def _file_of(item: Item, kept: Mapping[str, Path]) -> str:
    """The file of an item's image in parentheses; empty if it has none."""
    path = kept.get(item.answer.image)
    return "" if path is None else f" ({escape(str(path))})"


def _thing(item: Item) -> str:
    """A phrase for what an item's image shows, such as "an image of a bow (ribbon)"."""
    word, sense = item.tags.get("word", ""), item.tags.get("sense", "").rpartition("_")[2]
    article = "an" if word[:1] in tuple("aeiou") else "a"
    return escape(f"an image of {article} {word} ({sense})")


def _short(text: str) -> str:
    """The answer without its reasoning steps, cut because answers without the image may not end."""
    answer = text.rpartition("Answer:")[2].strip() or text
    return answer if len(answer) <= _LINE else f"{answer[: _LINE - 3]}..."


def _mark(item: Item) -> str:
    """Whether an answer is right, readable without colours too."""
    if item.answer.right:
        return "[green](correct)[/green]"
    return f"[red](wrong; correct: {escape(item.references[0])})[/red]"
