"""Shows, checks and caches data before training."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from sightweave import recipe as recipes
from sightweave.core import answer_files, files, json_lines, outputs
from sightweave.core import config as configs
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.progress import LiveLine, wanted
from sightweave.core.types import Sample
from sightweave.data.datasets import own
from sightweave.data.inputs import cache, image_files, order
from sightweave.data.inputs.cache import Written
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import split_among
from sightweave.data.scenes.sheet import contact_sheet
from sightweave.programs.doctor import check as doctor_check
from sightweave.programs.doctor import program as doctor_program
from sightweave.programs.doctor.report import Report
from sightweave.programs.training.world import World, all_of
from sightweave.recipe import Recipe
from sightweave.verbs.building import composed, plan_lengths
from sightweave.verbs.sources import (
    build_sources,
    read_data,
    read_recipe,
    samples_of,
    say,
    splits_of,
    with_data,
)

CHECKED = "data-check"
"""Default folder of a report."""


def sample_data(
    data: Any,
    out: str | Path,
    *,
    split: str = "train",
    count: int = 24,
    columns: int = 6,
    seed: int = 0,
) -> Path:
    """Draws a contact sheet of a source's images with their texts, and returns its path.

    Args:
        data: ``scenes``, a path to any format, a source as in a recipe, a list of these, or rows.
        out: A PNG file.
        split: Name of the split.
        count: Number of images.
        columns: Images per row of the sheet.
        seed: Random seed of the ``scenes`` dataset, and for the sample of images.

    Raises:
        DataError: no such split, or an empty one.
        FolderError: `out` is a file that Sightweave did not write.
    """
    path = Path(out)
    outputs.check_sheet(path)
    sources, rows = read_data({"kind": "scenes", "seed": seed} if data == "scenes" else data)
    about = "the rows" if rows is not None else data
    known = splits_of(sources)
    if rows is None and split_among(split, known) is None:
        raise DataError(f"{about}: no split {split!r}. {did_you_mean(split, known)}")
    datasets = build_sources(recipes.Measured(data=sources), rows, split)
    if not any(map(len, datasets)):
        raise DataError(f"{about}: the split {split!r} is empty.")

    # Images that no sample uses are left out.
    pictures, texts = [], []
    tasks = recipes.Measured().build_tasks()
    for records in _drawn_records(datasets, count, seed):
        samples = [tasks[task_of(record)].sample(record) for record in records]
        shown = [sample for sample in samples if sample.media]
        images = [medium for sample in shown for medium in sample.media if medium.modality == "image"]
        if images:
            pictures.append(image_files.load(images[0]))
            texts.append("\n".join(f"{sample.prompt} > {sample.target}" for sample in shown))

    # The mark in the PNG file lets a later call replace it.
    mark = PngInfo()
    mark.add_text(*outputs.SHEET)
    with files.making(path.parent), files.replacing(path) as stream:
        contact_sheet(pictures, texts, columns).save(stream, format="PNG", pnginfo=mark)
    return path


def _drawn_records(datasets: Sequence[Dataset], count: int, seed: int) -> Iterator[Sequence[Any]]:
    """The records of images sampled from all datasets together."""
    ends = list(itertools.accumulate(map(len, datasets)))
    for place in order.drawn(seed, ends[-1], count):
        number = bisect.bisect_right(ends, place)
        dataset = datasets[number]
        start = ends[number] - len(dataset)
        yield dataset[place - start]


def check_data(
    data: Any,
    *settings: str,
    against: Any = None,
    fix: str | Path | None = None,
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    out: str | Path = CHECKED,
    workers: int | None = None,
    progress: bool | None = None,
    console: Console | None = None,
) -> Report:
    """Checks a dataset before training: every row and every image.

    The same call resumes where it was stopped: unchanged images are not decoded again.

    Args:
        data: A path to any format, a source as in a recipe, or rows as in a ``data.jsonl``, whose image paths are inside
            the working folder.
        settings: ``path=value`` settings of `recipe`.
        against: A test set whose images must not be in the training data.
        fix: A new folder for a copy without bad or duplicate rows and without GPS locations in image files.
        recipe: If given, rows longer than its ``inputs.max_length``, images included, are counted.
        out: A folder for ``report.json``, ``report.html`` and the cached facts about each image; or a name that ends in
            ``.csv``, for a table of the findings with examples in addition to the folder ``data-check``.
        workers: Number of decoding processes; None means one per core.
        progress: True shows progress in a log too, False never; None shows it in a terminal or a notebook.
        console: Where progress is shown; by default standard error, or the cell's output in a notebook.

    Returns:
        The findings; ``may_train`` says whether training may start.

    Raises:
        DataError: the data cannot be read as a whole.
    """
    table = Path(out) if answer_files.is_table(out) else None
    if table is not None:
        answer_files.check(table)

    with contextlib.ExitStack() as stack:
        chosen = stack.enter_context(_of_files(data))
        other = None if against is None else stack.enter_context(_of_files(against))
        lengths, plan = (None, "") if recipe is None else _lengths(recipe, settings, chosen)
        report = doctor_program.run(
            chosen,
            against=other,
            fix_to=None if fix is None else Path(fix),
            lengths=lengths,
            plan=plan,
            out=Path(CHECKED if table is not None else out),
            workers=workers,
            console=wanted(console, progress),
        )

    if table is not None:
        files.write_text(table, report.to_csv())
    return report


def cache_data(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    out: str | Path,
    data: Any = None,
    processes: int = 1,
    progress: bool | None = None,
    console: Console | None = None,
) -> Written:
    """Decodes and resizes all images of a recipe once, for training with ``inputs.cache=OUT``.

    Training gives the same results with and without the cache. Images that a stage augments are still decoded each time.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        out: Folder of the cache; an older cache there is replaced.
        data: Used instead of the recipe's sources: a path, a source as in a recipe, or a list of these.
        processes: Number of processes that torchrun started, each of which calls this: they share the images. All return
            what was written in total.
        progress: As for `check_data`.
        console: As for `check_data`.

    Raises:
        DataError: `out` holds something other than a cache.
        BackendError: Another process stopped or cannot be reached.
    """
    recipe, settings, rows = with_data(recipe, settings, data)
    resolved = read_recipe(recipe, (*settings, "inputs.cache=''"))
    if rows is not None:
        raise RecipeError("data: only images in files can be cached; write the rows to a data.jsonl.")
    if any(not isinstance(one, FilesConfig) for one in resolved.data):
        raise RecipeError("data: generated images cannot be cached; a cache is for images in files.")

    sources: list[Dataset] = []
    for split in splits_of(resolved.data):
        sources += build_sources(resolved, None, split)
    samples = samples_of(sources, resolved.build_tasks())
    processor = resolved.build_picture_processor()

    with all_of(processes, os.environ, "data cache") as world:
        console = wanted(console, progress) if world.is_first else None
        with LiveLine(console, transient=True) as line:
            line.start("decoding", None)  # the number of tiles is not known in advance
            written = _cached(
                processor, samples, Path(out), world, lambda count: line.advance(count, "images")
            )
    if world.is_first:
        for key, reason in list(written.left_out.items())[:5]:
            say(console, f"skipped {key}: {reason}")
    return written


def _cached(
    processor: Processor,
    samples: Iterator[Sample],
    out: Path,
    world: World,
    progress: Callable[[int], None],
) -> Written:
    """Writes a cache; each of several processes writes its share, and the first one joins the shares."""
    if world.size == 1:
        return processor.write_cache(samples, out, progress)

    failure, written = "", Written(0, {})
    parts = [out.with_name(f".{out.name}.share-{rank}") for rank in range(world.size)]
    try:
        written = processor.write_cache(samples, parts[world.rank], progress, share=(world.rank, world.size))
    except DataError as error:
        failure = str(error)

    # A process that has no share leaves the message to the others.
    world.barrier()
    found = world.gather([failure, written.pictures, dict(written.left_out)])
    for message, _, _ in found:
        if message:
            failed = DataError(message)
            failed.is_reported = not world.is_first
            raise failed

    if world.is_first:
        cache.join(parts, out)
    world.wait_for_first()
    left_out: dict[str, str] = {}
    for _, _, some in found:
        left_out |= some
    return Written(sum(count for _, count, _ in found), left_out)


@contextlib.contextmanager
def _of_files(data: Any) -> Iterator[FilesConfig]:
    """The single source to check; rows are written to a temporary file."""
    sources, rows = read_data(data)
    if rows is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.jsonl"
            lines = itertools.starmap(_line, enumerate(rows))
            path.write_text("".join(lines), encoding="utf-8")
            yield own.Config(path=str(path), image_root=str(Path.cwd())).to_check()
        return

    if len(sources) != 1:
        raise DataError(
            f"data: only one dataset can be checked at a time (got {len(sources)}); check each separately."
        )
    (found,) = sources
    if not isinstance(found, FilesConfig):
        raise DataError(f"{data}: generated by Sightweave; there are no files to check.")
    yield found.to_check()


def _line(number: int, row: Any) -> str:
    try:
        return json_lines.dumps(row) + "\n"
    except TypeError as error:
        raise DataError(
            f"row {number}: {error}; rows to check must be plain values as in a data.jsonl, with image paths."
        ) from None


def _lengths(recipe: Any, settings: Sequence[str], data: FilesConfig) -> tuple[doctor_check.Lengths, str]:
    """A function that counts the tokens of records under a recipe, and the recipe's plan for the training data."""
    resolved = read_recipe(recipe, [*settings, f"data={json.dumps(configs.to_plain(data))}"])
    sources = build_sources(resolved, None, "train")
    run = composed(resolved, sources, torch.device("cpu"))
    tasks = resolved.build_tasks()
    limit = run.processor.max_length

    def lengths(records: Sequence[Any]) -> list[tuple[int, int]]:
        samples = [tasks[task_of(record)].sample(record) for record in records]
        return [(run.processor.length(one), limit) for one in samples]

    return lengths, plan_lengths(run, sources).to_text()
