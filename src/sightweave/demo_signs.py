"""The demo of words in images: trains a model that translates signs, and draws its translations into new scenes."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from sightweave.core.recipe_files import find
from sightweave.demo import free_folder, minutes, score_table

if TYPE_CHECKING:
    from sightweave.core.types import Prediction, Sample
    from sightweave.recipe import Recipe
    from sightweave.run import Run

TRANSLATIONS = "translations"
"""Folder inside the run for the images before and after translation."""
_SHOWN = 6
"""Number of scenes that are translated."""
_QUICK, _LEAST = 0.08, 20
"""Share of the recipe's steps that the quick demo trains, and the least number of steps of a stage."""
_QUICK_IMAGES = 20
"""Maximum number of images per split that the quick demo evaluates."""
_OTHER_SEED = 1
"""What is added to the seed of the data, so that the scenes are not those of the evaluation either."""


def tell(*, quick: bool, out: Path | None, console: Console) -> Run:
    """Trains and evaluates the model, translates the signs of scenes it has never seen, and names the report."""
    from sightweave import api

    # Training.
    logging.getLogger("sightweave").setLevel(logging.ERROR)
    began = time.perf_counter()
    recipe = find("signs")
    settings = fewer_steps(api.read_recipe(recipe)) if quick else ()
    folder = out or free_folder(Path("runs") / ("signs-quick" if quick else "signs"), recipe, settings)
    console.print(
        "[bold]Sightweave[/bold] draws scenes with signs in three languages, and trains a model from scratch\nto read the "
        "signs and to translate them. Some words have two meanings, and only the things\nnext to the sign show which one is "
        f"meant.\nRecipe: {escape(str(recipe))}. Run: {escape(str(folder))}\n"
    )
    run = api.train(recipe, *settings, out=folder, evaluate=False, console=console)
    if run.stop_signal:
        console.print(
            f"\nStopped; the progress so far is saved in {escape(str(folder))}. The same command resumes there."
        )
        return run
    trained = time.perf_counter()
    console.print(f"\nTrained in {minutes(trained - began)}. Now some scenes it has never seen.\n")

    # Scores, then some translated signs.
    evaluations = api.evaluate(run, max_images=_QUICK_IMAGES if quick else None, console=console)
    scored = time.perf_counter()
    for evaluation in evaluations:
        console.print(score_table(evaluation))
        console.print(f"{escape(evaluation.sentence)}\n")
    console.print("[bold]Signs, translated and drawn into their scenes:[/bold]")
    for line in translate(run, folder / TRANSLATIONS):
        console.print(f"  {line}", soft_wrap=True)

    # What to try next.
    console.print(
        f"\nTraining took {minutes(trained - began)}, evaluation {minutes(scored - trained)}."
        "\nFull report, with sources, references and answers side by side: "
        f"[bold]{escape(str(folder / 'report.html'))}[/bold]"
        "\nThis model knows drawn scenes only. What to try next:"
        f"\n  sightweave translate {folder} {folder / TRANSLATIONS / '1-source.png'} --to {_target(run)} --out out.png"
        '\n  sightweave data sample "{kind: scenes, signs: 1}" --split scenes --out sheet.png'
        "\n  docs/how-to/words-in-images.md                      (your own images with words)"
    )
    return run


def fewer_steps(recipe: Recipe) -> tuple[str, ...]:
    """Settings that shorten every stage of a recipe, and its warm-up with it."""
    settings = []
    for number, stage in enumerate(recipe.train.stages):
        if stage.steps is not None:
            steps = min(stage.steps, max(_LEAST, round(_QUICK * stage.steps)))
            warmup = min(stage.schedule.warmup_steps, steps // 5)
            settings.append(f"train.stages.{number}.steps={steps}")
            settings.append(f"train.stages.{number}.schedule.warmup_steps={warmup}")
    return tuple(settings)


def translate(run: Run, folder: Path) -> Iterator[str]:
    """Translates the signs of new scenes, writes each scene before and after, and yields a line about each.

    Args:
        run: A run whose first dataset has scenes with signs.
        folder: Folder for the images.
    """
    from sightweave.data.inputs import image_files
    from sightweave.verbs.rendering import write_png

    samples = list(unseen(run.recipe))
    answers = run.predict(samples, writer=run.recipe.task("image_translation").writer)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (sample, answer) in enumerate(zip(samples, answers, strict=True), start=1):
        source, target = folder / f"{number}-source.png", folder / f"{number}-translated.png"
        write_png(image_files.picture(sample.media[0]), source)
        shown = str(source)
        if answer.picture is not None and answer.regions:
            write_png(answer.picture, target)
            shown = f"{source} -> {target}"
        yield f"{_about(sample, answer)}  [dim]{escape(shown)}[/dim]"


def unseen(recipe: Recipe) -> Iterator[Sample]:
    """A translation of each of a few scenes that are neither trained on nor evaluated."""
    source = recipe.data[0]
    scenes = dataclasses.replace(source, seed=source.seed + _OTHER_SEED).build(split="scenes")
    task = recipe.task("image_translation").build()
    found = 0
    for index in range(len(scenes)):
        samples = [task.sample(record) for record in scenes[index] if hasattr(record, "target_language")]
        if samples:
            yield samples[index % len(samples)]  # so that the languages vary
            found += 1
        if found == _SHOWN:
            return


def _target(run: Run) -> str:
    """The target language of the first scene."""
    first = next(iter(unseen(run.recipe)))
    return first.tags["languages"].partition("-")[2]


def _about(sample: Sample, answer: Prediction) -> str:
    """The words of a sign, their translation, and whether it is right, readable without colours too."""
    from sightweave.core.text_regions import parse_regions

    expected = parse_regions(sample.references[0]).regions
    shown = f"{_words(expected, 'source')}  ->  {_words(answer.regions, 'text') or '(no sign found)'}"
    is_right = _words(answer.regions, "text") == _words(expected, "text")
    if is_right:
        return f"{escape(shown)} [green](correct)[/green]"
    return f"{escape(shown)} [red](wrong; correct: {escape(_words(expected, 'text'))})[/red]"


def _words(regions: Any, field: str) -> str:
    return " | ".join([" ".join(getattr(region, field).split()) for region in regions])
