"""Data looked at, checked and kept before anything trains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core import files
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.progress import LiveLine, wanted
from sightweave.core.types import Sample
from sightweave.data.datasets._base import split_among, task_of
from sightweave.data.datasets._source import FilesConfig
from sightweave.data.inputs import media, order
from sightweave.data.inputs.cache import Written
from sightweave.data.scenes.sheet import contact_sheet
from sightweave.programs.doctor import check as doctor_check
from sightweave.programs.doctor import program as doctor_program
from sightweave.programs.doctor.report import Report
from sightweave.recipe import Recipe
from sightweave.verbs.building import composed, plan_lengths
from sightweave.verbs.sources import build_sources, read_recipe, say, source


def sample_data(
    data: str,
    out: str | Path,
    *,
    split: str = "train",
    count: int = 24,
    columns: int = 6,
    seed: int = 0,
) -> Path:
    """Draws a sheet of a source's pictures with their texts, and returns its path.

    Args:
        data: ``scenes``, a path to any format, or a source as in a recipe.
        out: A PNG file.
        split: Which split.
        count: Pictures.
        columns: Pictures side by side.
        seed: Of the embedded world, and of the draw of pictures.

    Raises:
        DataError: no such split, or nothing in it.
        FolderError: `out` is a file that Sightweave did not write.
    """
    path = Path(out)
    files.refuse_other(path, is_ours=_is_sheet)
    config = source({"kind": "scenes", "seed": seed} if data == "scenes" else data)
    name = split_among(split, config.splits)
    if name is None:
        raise DataError(f"{data}: no split {split!r}. {did_you_mean(split, config.splits)}")
    dataset = config.build(split=name)
    if not len(dataset):
        raise DataError(f"{data}: the split {split!r} is empty.")
    tasks = recipes.Measured().build_tasks()
    pictures, texts = [], []
    for index in order.drawn(seed, len(dataset), count):
        samples = [tasks[task_of(record)].sample(record) for record in dataset[index]]
        shown = [one for one in samples if one.media]
        if shown:
            pictures.append(media.load(shown[0].media[0]))
            texts.append("\n".join(f"{one.prompt} > {one.target}" for one in shown))
    said = PngInfo()
    said.add_text(*_SHEET)
    with files.making(path.parent), files.replacing(path) as stream:
        contact_sheet(pictures, texts, columns).save(stream, format="PNG", pnginfo=said)
    return path


_SHEET = ("Software", "Sightweave")
"""What a sheet says of itself, so that it may be overwritten."""


def _is_sheet(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError:
        return False
    # A PNG has its texts before its pixels: the kind of chunk, the name, a zero byte and the value.
    return head.startswith(b"\x89PNG") and f"tEXt{_SHEET[0]}\0{_SHEET[1]}".encode() in head


def check_data(
    data: str | Path | Mapping[str, Any],
    *settings: str,
    against: str | Path | Mapping[str, Any] | None = None,
    fix: str | Path | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    out: str | Path = "data-check",
    workers: int | None = None,
    progress: bool | None = None,
    console: Console | None = None,
) -> Report:
    """Looks a data set over before anything trains: every row, every picture.

    The same call goes on where it was stopped: pictures that have not changed are not decoded again.

    Args:
        data: A path to any format, or a source as in a recipe.
        settings: ``path=value`` settings of `recipe`.
        against: A test set whose pictures training must not have seen.
        fix: A new folder for a copy without bad and doubled rows and without places of taking.
        recipe: Counts rows that are over its ``inputs.max_length`` with their pictures.
        out: A folder for ``report.json``, ``report.html`` and what is known of each picture.
        workers: Processes that decode; None means one for each core.
        progress: True shows progress in a log too, False not at all; None shows it where there is a terminal or a notebook.
        console: Where progress is shown; by default standard error, or the output of the cell in a notebook.

    Returns:
        What was found; ``may_train`` says whether training may start.

    Raises:
        DataError: the data cannot be read as a whole.
    """
    chosen, other = _of_files(data), None if against is None else _of_files(against)
    lengths, plan = (None, "") if recipe is None else _lengths(recipe, settings, data)
    return doctor_program.run(
        chosen,
        against=other,
        fix_to=None if fix is None else Path(fix),
        lengths=lengths,
        plan=plan,
        out=Path(out),
        workers=workers,
        console=wanted(console, progress),
    )


def cache_data(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    out: str | Path,
    progress: bool | None = None,
    console: Console | None = None,
) -> Written:
    """Decodes and resizes all pictures of a recipe once; training with ``inputs.cache=OUT`` then reads those.

    Whatever is trained, its numbers are the same with and without. Pictures that a stage varies are decoded as ever.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        out: The cache's folder; an older cache there is replaced.
        progress: As for `check_data`.
        console: As for `check_data`.

    Raises:
        DataError: `out` holds something that is no cache.
    """
    resolved = read_recipe(recipe, (*settings, "inputs.cache=''"))
    if any(not isinstance(one, FilesConfig) for one in resolved.data):
        raise RecipeError("data: drawn pictures are not kept; a cache is for pictures in files.")
    tasks = resolved.build_tasks()
    names = list(dict.fromkeys(name for one in resolved.data for name in one.splits))
    sources = [source for name in names for source in build_sources(resolved, None, name)]
    processor = resolved.build_picture_processor()

    def samples() -> Iterator[Sample]:
        for one in sources:
            for index in range(len(one)):
                yield from (tasks[task_of(record)].sample(record) for record in one[index])

    console = wanted(console, progress)
    with LiveLine(console, transient=True) as line:
        line.start("decoding", None)  # how many tiles there are is not known before
        written = processor.write_cache(samples(), Path(out), lambda count: line.advance(count, "pictures"))
    for key, reason in list(written.left_out.items())[:5]:
        say(console, f"left out {key}: {reason}")
    return written


def _of_files(data: str | Path | Mapping[str, Any]) -> FilesConfig:
    found = source(data)
    if not isinstance(found, FilesConfig):
        raise DataError(f"{data}: made by Sightweave itself; there are no files to check.")
    return found.to_check()


def _lengths(recipe: Any, settings: Sequence[str], data: Any) -> tuple[doctor_check.Lengths, str]:
    """Tokens of records under a recipe, which is composed for it; and its plan for the training data."""
    resolved = read_recipe(recipe, [*settings, f"data={json.dumps(configs.to_plain(source(data)))}"])
    sources = build_sources(resolved, None, "train")
    run = composed(resolved, sources, torch.device("cpu"))
    tasks = resolved.build_tasks()
    limit = run.processor.max_length

    def lengths(records: Sequence[Any]) -> list[tuple[int, int]]:
        samples = [tasks[task_of(record)].sample(record) for record in records]
        return [(run.processor.length(one), limit) for one in samples]

    return lengths, plan_lengths(run, sources).to_text()
