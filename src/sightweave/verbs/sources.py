"""Recipes with settings, and the data that they name."""

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
from sightweave.data.datasets import own
from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset, SourceConfig
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
"""Fields of sources that name a file or a folder to read."""


def read_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str] = ()) -> Recipe:
    """A recipe from a YAML file, a mapping or a `Recipe`, with ``path=value`` settings applied.

    Raises:
        RecipeError: every mistake in it at once.
    """
    return recipes.read(recipe.to_plain() if isinstance(recipe, Recipe) else recipe, settings)


def read_data(data: Any) -> tuple[tuple[Any, ...], list[Any] | None]:
    """What was given as `data`: the ``Config`` of each source, or rows and None of these.

    Args:
        data: A path, a kind, a mapping as in a recipe, a list of these, or rows: dicts as in a ``data.jsonl``, or records.

    Raises:
        RecipeError: a mistake in a source.
        DataError: nothing that could be data, or several formats at one path.
    """
    if _is_source(data):
        return (source(data),), None
    if isinstance(data, bytes | Mapping) or not isinstance(data, Iterable):
        raise DataError(
            f"data: expected a path, a source such as {{kind: scenes}}, a list of these, or a list of rows (got "
            f"{shown(data)})."
        )
    every = list(data)
    are_sources = [_is_source(one) for one in every]
    if not any(are_sources):
        return (), every
    if not all(are_sources):
        odd = every[are_sources.index(False)]
        raise DataError(
            f"data: a list must contain either sources or rows, not both (got {shown(odd)} among sources)."
        )
    return tuple(source(one) for one in every), None


def _is_source(value: Any) -> bool:
    """Whether a value names where data are; a mapping with a row's columns is a row."""
    if isinstance(value, Mapping):
        is_row = bool(
            {"image", "images", "caption", "captions", "question", "source", "turns"} & value.keys()
        )
        return not is_row and bool({"kind", "path"} & value.keys())
    return isinstance(value, str | Path | SourceConfig)


def with_data(
    recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str], data: Any
) -> tuple[str | Path | Mapping[str, Any] | Recipe, tuple[str, ...], list[Any] | None]:
    """A recipe and its settings with other data in the place of its own, and the rows where data are rows.

    Raises:
        RecipeError, DataError: as `read_data`.
    """
    if data is None:
        return recipe, tuple(settings), None
    sources, records = read_data(data)
    plain = [configs.to_plain(one) for one in sources]
    if not isinstance(recipe, Recipe | Mapping):
        # Settings of single fields, such as data.0.limit=50, come after the sources that they are of.
        return recipe, (f"data={json.dumps(plain)}", *settings), records
    values = recipe.to_plain() if isinstance(recipe, Recipe) else dict(recipe)
    return values | {"data": plain}, tuple(settings), records


def say(console: Console | None, text: str) -> None:
    """Tells the log, and who watches."""
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
    """The sources of a split; with a folder, rows that are left out are written there.

    Args:
        recipe: Its sources are read where there are no records.
        records: Rows as Python objects.
        split: ``train``, ``validation``, ``test`` or another split of the sources.
        folder: Of the run.
        validation: Share of the records' images held out for validation; None leaves it to the rows.

    Raises:
        RecipeError: the recipe names no source, and there are no records.
        DataError: a source cannot be read.
    """
    if records is not None:
        path = folder / "rows-left-out.jsonl" if folder is not None and split == "train" else None
        return [own.from_records(records, split=split, quarantine_path=path, validation=validation)]
    if not recipe.data:
        raise RecipeError("data: the recipe has no source; set data=scenes or data=FOLDER, or pass records.")
    named = [(source, split_among(split, source.splits)) for source in recipe.data]
    chosen = [(source, name) for source, name in named if name is not None]
    if folder is not None:
        chosen = [(_with_quarantine(one, folder, number), name) for number, (one, name) in enumerate(chosen)]
    return told_apart([source.build(split=name) for source, name in chosen])


def told_apart(sources: Sequence[Dataset]) -> list[Dataset]:
    """The sources with names of pictures that are equal only where the pictures are: two folders may each hold a 1.png."""
    homes: dict[str, int] = {}
    found: list[Dataset] = []
    for source in sources:
        number = homes.setdefault(source.home, len(homes)) if isinstance(source, Table) else 0
        found.append(source.renamed(f"{number + 1}:") if isinstance(source, Table) and number else source)
    return found


def mixing(recipe: Recipe, records: list[Any] | None) -> list[order.Mixing]:
    """How much of the mix each source of `build_sources` is, in training."""
    if records is not None:
        return []
    chosen = [source for source in recipe.data if "train" in source.splits]
    return [
        order.Mixing(epochs=getattr(one, "epochs", 1.0), weight=getattr(one, "weight", None))
        for one in chosen
    ]


_MOST_SEEN, _MOST_UNSEEN = 50_000, 2_000
"""Pictures of drawn worlds that are looked at for what training shows: where the run's steps are known, and where not."""


def seen_in_training(recipe: Recipe | None, sources: Sequence[Dataset]) -> list[Sequence[int]]:
    """Numbers of the pictures of each source that stand for what a run was shown.

    Of sources whose rows were read, all of them. Where each picture is made when asked, those that the run's steps came
    to, up to 50,000; without a recipe, 2,000 drawn ones.
    """
    if all(isinstance(one, Table) for one in sources):
        return [range(len(one)) for one in sources]
    rules = [] if recipe is None else mixing(recipe, None)
    if recipe is None or len(rules) != len(sources):
        return [all_or_drawn(one, _MOST_UNSEEN) for one in sources]

    # The run's own order: a prefix of it is a draw over the whole, and just what the steps came to.
    mix = order.Mix([len(one) for one in sources], rules, seed=recipe.seed)
    # A stage of epochs or minutes that never ended does not say how far it came.
    shown = sum((stage.steps or _MOST_SEEN) * durations.per_step(stage) for stage in recipe.train.stages)
    found: list[set[int]] = [set() for _ in sources]
    for position in range(min(shown, _MOST_SEEN)):
        number, place = mix.at(position)
        found[number].add(place)
    return [
        range(len(one)) if isinstance(one, Table) else sorted(places)
        for one, places in zip(sources, found, strict=True)
    ]


def _with_quarantine(source: Any, folder: Path, number: int) -> Any:
    """Rows that are left out are written into the run's folder, unless the recipe names a place."""
    if not isinstance(source, FilesConfig) or source.quarantine_path is not None:
        return source
    name = f"rows-left-out-{number + 1}.jsonl" if number else "rows-left-out.jsonl"
    return dataclasses.replace(source, quarantine_path=str(folder / name))


def check_places(run: Run) -> None:
    """Raises `RecipeError` where a run that nobody vouched for names data in a place that is not plainly the caller's.

    Data below the working folder or in the run's folder may be read; a place elsewhere is for the caller to name.
    """
    for place in [] if run.is_trusted else _places(run.recipe.data):
        if not _is_near(place, run.folder):
            raise RecipeError(
                f"{run.folder}: its recipe uses data at {place!r}, which is neither inside the working folder nor in the "
                f"run folder. Pass the data yourself (--data {place}, or data={place!r} in Python), or trust the "
                "run (--trust-run, or trust_run=True)."
            )


def has_near_places(run: Run) -> bool:
    """Whether the data that a run's recipe names may be read without a word of the caller: see `check_places`."""
    return run.is_trusted or all(_is_near(place, run.folder) for place in _places(run.recipe.data))


def _places(sources: Sequence[Any]) -> Iterator[str]:
    """All that sources name as places."""
    for one in sources:
        yield from (str(value) for name in _PLACES if (value := getattr(one, name, None)) not in (None, ""))


def _is_near(place: str, folder: Path | None) -> bool:
    """Whether a path stays below the working folder as it is written, or, links followed, in a run's folder."""
    windows = PureWindowsPath(place)  # splits at both kinds of slash, and knows drives and shares
    if place.startswith(("~", "//", "\\\\")) or "://" in place or "\0" in place:
        return False
    if not (Path(place).is_absolute() or windows.drive or place.startswith(("/", "\\"))):
        return ".." not in windows.parts
    written = Path(os.path.normpath(place))
    if any(written.is_relative_to(here) for here in (Path(os.path.abspath(".")), Path.cwd())):
        return True
    return folder is not None and Path(place).resolve().is_relative_to(folder.resolve())


def check_splits(recipe: recipes.Measured) -> None:
    """Raises `RecipeError` where a split is to be scored that no source has."""
    known = list(dict.fromkeys(name for source in recipe.data for name in source.splits))
    for name in recipe.evaluate.splits:
        if known and split_among(name, known) is None:
            raise RecipeError(f"evaluate.splits: no split {name!r}. {did_you_mean(name, known)}")


def held_out_of(
    recipe: recipes.Measured, records: list[Any] | None, validation: float | None = None
) -> dict[str, list[Dataset]]:
    """The splits to score that have anything in them: those that are asked for, or else all test splits.

    Where there is no test split with anything in it, as in data sets whose test answers are kept secret, the validation
    splits stand in, under their own names.
    """
    if recipe.evaluate.splits:
        return _filled(recipe, records, [common_split(name) for name in recipe.evaluate.splits], validation)
    if records is not None or not recipe.data:
        names = list(SPLITS[1:])
    else:
        names = [common_split(name) for source in recipe.data for name in source.splits[1:]]
    tests = _filled(recipe, records, [name for name in names if not is_for_choosing(name)], validation)
    return tests or _filled(recipe, records, [name for name in names if is_for_choosing(name)], validation)


SHARE = 0.1
"""Share of the images that is held out where the data holds out none."""
FEWEST = 4
"""Images of which one may be taken for that; of fewer, it would take too much of what is to be learnt."""


def holding_out(recipe: Recipe) -> Recipe:
    """The recipe with a share of its training images held out for validation, at least one.

    A source keeps all of its images where the recipe says so: ``held_out: 0``, ``validation: 0``, or a ``split`` for all of
    its rows.
    """
    return dataclasses.replace(recipe, data=tuple(_holding_out(source) for source in recipe.data))


def _holding_out(source: Any) -> Any:
    is_free = isinstance(source, FilesConfig) and source.validation is None
    if not is_free or not source.held_out or source.split:
        return source
    return dataclasses.replace(source, validation=min(SHARE, (1 - source.held_out) / 2))


def _filled(
    recipe: recipes.Measured, records: list[Any] | None, names: Sequence[str], validation: float | None
) -> dict[str, list[Dataset]]:
    """The sources of each split that has anything in it."""
    found = {
        name: build_sources(recipe, records, name, validation=validation) for name in dict.fromkeys(names)
    }
    return {name: sources for name, sources in found.items() if any(len(source) for source in sources)}


def detect_data(data: str | Path) -> dict[str, str]:
    """What a path holds: the formats that know it, each with what was found; empty where none does.

    Raises:
        DataError: nothing is there.
    """
    return detect(data)


def source(data: str | Path | Mapping[str, Any] | SourceConfig) -> Any:
    """The ``Config`` of one source, as a recipe names it: a path, a kind or a mapping.

    Raises:
        RecipeError: a mistake in it.
        DataError: several formats lie at the path.
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
