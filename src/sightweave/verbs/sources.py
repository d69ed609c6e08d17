"""Reads recipes with settings, and opens the data they name."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from rich.console import Console

from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core import places
from sightweave.core.config import config
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.terminal import visible
from sightweave.core.types import Sample
from sightweave.data.datasets import own
from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset, SourceConfig, task_of
from sightweave.data.reading.detect import detect
from sightweave.data.reading.row_files import shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import SPLITS, common_split, is_for_choosing, split_among
from sightweave.data.reading.subset import all_or_drawn
from sightweave.data.reading.table import Table
from sightweave.programs.training import durations
from sightweave.recipe import Recipe
from sightweave.run import Run

logger = logging.getLogger(__name__)

Records = Iterable[Any]
_PLACES = ("path", "image_root")
"""Fields of a source that name a file or a folder to read."""


def read_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str] = ()) -> Recipe:
    """A recipe from a YAML file, a mapping or a `Recipe`, with ``path=value`` settings applied.

    Raises:
        RecipeError: all mistakes in it, in one message.
    """
    return recipes.read(recipe.to_plain() if isinstance(recipe, Recipe) else recipe, settings)


def read_data(data: Any) -> tuple[tuple[Any, ...], list[Any] | None]:
    """Reads a `data` argument: returns the ``Config`` of each source and None, or no sources and the rows.

    Args:
        data: A path, a kind, a mapping as in a recipe, a list of these, or rows: dicts as in a ``data.jsonl``, or records.

    Raises:
        RecipeError: a mistake in a source.
        DataError: an object that is not data, or several formats at one path.
    """
    if _is_source(data):
        return (source(data),), None
    if isinstance(data, bytes | Mapping) or not isinstance(data, Iterable):
        raise DataError(
            f"data: expected a path, a source such as {{kind: scenes}}, a list of these, or a list of rows (got "
            f"{shown(data)})."
        )

    every = list(data)
    are_sources = list(map(_is_source, every))
    if not any(are_sources):
        return (), every
    if not all(are_sources):
        odd = every[are_sources.index(False)]
        raise DataError(
            f"data: a list must contain either sources or rows, not both (got {shown(odd)} among sources)."
        )
    return tuple(map(source, every)), None


_ROW_COLUMNS = {"image", "images", "caption", "captions", "question", "source", "turns"}


def _is_source(value: Any) -> bool:
    """Whether a value names a source; a mapping that has a row's columns is a row."""
    if isinstance(value, Mapping):
        return not _ROW_COLUMNS & value.keys() and bool({"kind", "path"} & value.keys())
    return isinstance(value, str | Path | SourceConfig)


def with_data(
    recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str], data: Any
) -> tuple[str | Path | Mapping[str, Any] | Recipe, tuple[str, ...], list[Any] | None]:
    """Replaces a recipe's data; returns recipe, settings, and the rows if `data` is a list of rows.

    Raises:
        RecipeError, DataError: as `read_data`.
    """
    if data is None:
        return recipe, tuple(settings), None

    sources, records = read_data(data)
    plain = list(map(configs.to_plain, sources))
    if not isinstance(recipe, Recipe | Mapping):
        # Settings of single fields, such as data.0.limit=50, must follow the sources they change.
        return recipe, (f"data={json.dumps(plain)}", *settings), records
    values = recipe.to_plain() if isinstance(recipe, Recipe) else dict(recipe)
    return values | {"data": plain}, tuple(settings), records


def say(console: Console | None, text: str) -> None:
    """Logs a text, and prints it if there is a console."""
    logger.info(text)
    if console is not None:
        console.print(visible(text), markup=False, highlight=False, soft_wrap=True)


def build_sources(
    recipe: recipes.Measured,
    records: list[Any] | None,
    split: str,
    folder: Path | None = None,
    validation: float | None = None,
) -> list[Dataset]:
    """Opens the sources of a split; if there is a run folder, skipped rows are written there.

    Args:
        recipe: Names the sources; not used if there are records.
        records: Rows as Python objects.
        split: ``train``, ``validation``, ``test`` or another split of the sources.
        folder: The run's folder.
        validation: Share of the records' images held out for validation; None uses the splits that the rows name.

    Raises:
        RecipeError: the recipe names no source, and there are no records.
        DataError: a source cannot be read.
    """
    if records is not None:
        path = folder / "rows-left-out.jsonl" if folder is not None and split == "train" else None
        return [own.from_records(records, split=split, quarantine_path=path, validation=validation)]
    if not recipe.data:
        raise RecipeError("data: the recipe has no source; set data=scenes or data=FOLDER, or pass records.")

    found: list[Dataset] = []
    for source in recipe.data:
        name = split_among(split, source.splits)
        if name is not None:
            chosen = source if folder is None else _with_quarantine(source, folder, len(found))
            found.append(chosen.build(split=name))
    return told_apart(found)


def samples_of(sources: Iterable[Dataset], tasks: Mapping[str, Any]) -> Iterator[Sample]:
    """All samples of the sources, made by these tasks."""
    for source in sources:
        for index in range(len(source)):
            for record in source[index]:
                yield tasks[task_of(record)].sample(record)


def told_apart(sources: Sequence[Dataset]) -> list[Dataset]:
    """Makes image names unique across sources, since two folders may each hold a 1.png.

    Sources that read the same folder keep the same names, because their images are the same.
    """
    homes: dict[str, int] = {}
    found: list[Dataset] = []
    for source in sources:
        number = homes.setdefault(source.home, len(homes)) if isinstance(source, Table) else 0
        found.append(source.renamed(f"{number + 1}:") if isinstance(source, Table) and number else source)
    return found


def mixing(recipe: Recipe, records: list[Any] | None) -> list[order.Mixing]:
    """The share of each source in the training mix, in the order of `build_sources`."""
    if records is not None:
        return []

    found = []
    for source in recipe.data:
        if "train" in source.splits:
            epochs, weight = getattr(source, "epochs", 1.0), getattr(source, "weight", None)
            found.append(order.Mixing(epochs=epochs, weight=weight))
    return found


_MAX_SHOWN = 50_000
"""Maximum generated images that represent those shown in training, if the number of steps is known."""
_MAX_SAMPLED = 2_000
"""Maximum generated images if it is not known."""


def seen_in_training(recipe: Recipe | None, sources: Sequence[Dataset]) -> list[Sequence[int]]:
    """Indices of each source's images that represent the images shown in training.

    For a source read from files, all of its images. For a source that generates images on demand, those shown in the
    run's training steps, at most 50,000; without a recipe, a random sample of 2,000.
    """
    lengths = list(map(len, sources))
    if all(isinstance(one, Table) for one in sources):
        return list(map(range, lengths))
    rules = [] if recipe is None else mixing(recipe, None)
    if recipe is None or len(rules) != len(sources):
        return [all_or_drawn(one, _MAX_SAMPLED) for one in sources]

    # A stage given in epochs or minutes that never ended does not record its number of steps.
    count = 0
    for stage in recipe.train.stages:
        count += (stage.steps or _MAX_SHOWN) * durations.per_step(stage)

    # Training reads a prefix of this shuffled order, so the same prefix is exactly what was shown.
    mix = order.Mix(lengths, rules, seed=recipe.seed)
    places: list[set[int]] = [set() for _ in sources]
    for position in range(min(count, _MAX_SHOWN)):
        number, place = mix.at(position)
        places[number].add(place)

    found: list[Sequence[int]] = []
    for one, of_one in zip(sources, places, strict=True):
        found.append(range(len(one)) if isinstance(one, Table) else sorted(of_one))
    return found


def _with_quarantine(source: Any, folder: Path, number: int) -> Any:
    """The source, set to write skipped rows into the run's folder unless the recipe names another place."""
    if not isinstance(source, FilesConfig) or source.quarantine_path is not None:
        return source
    name = f"rows-left-out-{number + 1}.jsonl" if number else "rows-left-out.jsonl"
    return dataclasses.replace(source, quarantine_path=str(folder / name))


def check_places(run: Run) -> None:
    """Raises `RecipeError` if an untrusted run names data outside the working folder and the run's folder.

    Anywhere else, the caller has to name the data explicitly.
    """
    if run.is_trusted:
        return

    for place in _places(run.recipe.data):
        if not _is_near(place, run.folder):
            raise RecipeError(
                f"{run.folder}: its recipe uses data at {place!r}, which is neither inside the working folder nor in the "
                f"run folder. Pass the data yourself (--data {place}, or data={place!r} in Python), or trust the "
                "run (--trust-run, or trust_run=True)."
            )


def has_near_places(run: Run) -> bool:
    """Whether the data named by a run's recipe may be read without the caller's consent; see `check_places`."""
    return run.is_trusted or all(_is_near(place, run.folder) for place in _places(run.recipe.data))


def _places(sources: Sequence[Any]) -> Iterator[str]:
    """All paths that the sources name."""
    for one in sources:
        for name in _PLACES:
            value = getattr(one, name, None)
            if value not in (None, ""):
                yield str(value)


def _is_near(place: str, folder: Path | None) -> bool:
    """Whether a path is in the working folder without resolving links, or in the run's folder after resolving them."""
    windows = PureWindowsPath(place)  # splits at both kinds of slash, and recognises drives and shares
    if place.startswith(("~", "//", "\\\\")) or "://" in place or "\0" in place:
        return False
    if not (Path(place).is_absolute() or windows.drive or place.startswith(("/", "\\"))):
        return ".." not in windows.parts

    written = Path(os.path.normpath(place))
    if written.is_relative_to(os.path.abspath(".")) or written.is_relative_to(Path.cwd()):
        return True
    return folder is not None and Path(place).resolve().is_relative_to(folder.resolve())


def splits_of(sources: Sequence[Any]) -> list[str]:
    """Names of all splits of the sources, each once, in order of first appearance."""
    found: dict[str, None] = {}
    for source in sources:
        found |= dict.fromkeys(source.splits)
    return list(found)


def check_splits(recipe: recipes.Measured) -> None:
    """Raises `RecipeError` if a split to score is in no source."""
    known = splits_of(recipe.data)
    for name in recipe.evaluate.splits:
        if known and split_among(name, known) is None:
            raise RecipeError(f"evaluate.splits: no split {name!r}. {did_you_mean(name, known)}")


def held_out_of(
    recipe: recipes.Measured, records: list[Any] | None, validation: float | None = None
) -> dict[str, list[Dataset]]:
    """The non-empty splits to score: those in ``evaluate.splits``, or else all test splits.

    If all test splits are empty, as in datasets whose test answers are secret, the validation splits are scored instead,
    under their own names.
    """
    if recipe.evaluate.splits:
        return _filled(recipe, records, list(map(common_split, recipe.evaluate.splits)), validation)

    names: list[str] = []
    if records is not None or not recipe.data:
        names += SPLITS[1:]
    else:
        for source in recipe.data:
            names += map(common_split, source.splits[1:])

    tests = [name for name in names if not is_for_choosing(name)]
    found = _filled(recipe, records, tests, validation)
    return found or _filled(recipe, records, list(filter(is_for_choosing, names)), validation)


SHARE = 0.1
"""Share of the images to hold out if the data itself holds out none."""
FEWEST = 4
"""Minimum number of images for that; with fewer, too little would be left to train on."""


def holding_out(recipe: Recipe) -> Recipe:
    """The recipe with a share of its training images held out for validation, at least one.

    A source keeps all of its images if the recipe asks for it: ``held_out: 0``, ``validation: 0``, or one ``split`` for
    all of its rows.
    """
    return dataclasses.replace(recipe, data=tuple(map(_holding_out, recipe.data)))


def _holding_out(source: Any) -> Any:
    is_free = isinstance(source, FilesConfig) and source.validation is None
    if not is_free or not source.held_out or source.split:
        return source
    return dataclasses.replace(source, validation=min(SHARE, (1 - source.held_out) / 2))


def _filled(
    recipe: recipes.Measured, records: list[Any] | None, names: Sequence[str], validation: float | None
) -> dict[str, list[Dataset]]:
    """The sources of each split that is not empty."""
    found = {}
    for name in dict.fromkeys(names):
        sources = build_sources(recipe, records, name, validation=validation)
        if any(map(len, sources)):
            found[name] = sources
    return found


def detect_data(data: str | Path) -> dict[str, str]:
    """Detects the dataset format at a path: each format that recognises it, and what it found; may be empty.

    Raises:
        DataError: nothing exists at the path.
    """
    return detect(data)


def source(data: str | Path | Mapping[str, Any] | SourceConfig) -> Any:
    """The ``Config`` of one source, given as in a recipe: a path, a kind or a mapping.

    Raises:
        RecipeError: a mistake in it.
        DataError: the path matches several formats.
    """
    if isinstance(data, SourceConfig):
        return data
    given = data if isinstance(data, Mapping) else places.value_of(str(data))
    if isinstance(given, list):
        raise RecipeError(f"data: expected a single source (got a list of {len(given)}).")
    (found,) = configs.build(_SourceOnly, {"data": given}, where="data").data
    return found


@config
class _SourceOnly:
    data: recipes.Sources
