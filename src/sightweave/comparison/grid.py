"""The grid of a comparison: every combination of the settings' values, each named after its values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightweave.core.errors import RecipeError

_SEED = "seed"


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    name: str
    """Name of the run's folder."""
    labels: Mapping[str, str]
    """A short label for the value of each varied path except the seed, by path."""
    settings: tuple[str, ...]
    """All settings of its recipe, as ``path=value``."""

    @property
    def composition(self) -> str:
        """Name of the composition: the labels joined by ``-``, without the seed."""
        return "-".join(self.labels.values()) or "run"


def split_values(setting: str) -> tuple[str, list[str]]:
    """Splits ``model.fusion=concat,addition`` into the path and its values; commas in brackets do not separate values.

    Raises:
        RecipeError: there is no ``=``, or a value is empty.
    """
    path, sign, text = setting.partition("=")
    if not sign or not path.strip():
        raise RecipeError(f"setting {setting!r} needs the form path=value or path=value,value.")

    values, depth = [""], 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and not depth:
            values.append("")
        else:
            values[-1] += letter

    values = [value.strip() for value in values]
    if not all(values):
        raise RecipeError(f"setting {setting!r} has an empty value; write path=value,value without spaces.")
    return path.strip(), values


def grid(settings: Sequence[str]) -> list[Cell]:
    """Every combination of the values of all settings, as cells.

    Raises:
        RecipeError: there is a mistake in a setting, or two cells have the same name.
    """
    paths: list[str] = []
    axes: list[list[str]] = []
    varied: list[str] = []
    for setting in settings:
        path, values = split_values(setting)
        paths.append(path)
        axes.append(values)
        if len(values) > 1 and path not in varied:
            varied.append(path)

    cells: dict[str, Cell] = {}
    for combination in itertools.product(*axes):
        chosen = dict(zip(paths, combination, strict=True))
        cell = _cell(chosen, varied)
        if cell.name in cells:
            raise RecipeError(
                f"two runs would have the same name {cell.name!r}: {cells[cell.name].settings} and "
                f"{list(cell.settings)}. List each value of a setting once."
            )
        cells[cell.name] = cell
    return list(cells.values())


def _cell(chosen: Mapping[str, str], varied: Sequence[str]) -> Cell:
    """The cell with one chosen value for each path; its name consists of the values of the varied paths."""
    words, labels = [], {}
    for path in varied:
        word = _word(chosen[path])
        if path == _SEED:
            words.append(f"seed{word}")
        else:
            words.append(word)
            labels[path] = word

    settings = tuple(f"{path}={value}" for path, value in chosen.items())
    return Cell("-".join(words) or "run", labels, settings)


def _word(value: str) -> str:
    """Shortens a value to a word that can be part of a folder's name; for a mapping with a ``kind``, that kind."""
    found = re.search(r"\bkind:\s*([\w.]+)", value)
    word = found.group(1) if found and value.startswith("{") else value
    return re.sub(r"[^\w.]+", "_", word).strip("_") or "_"
