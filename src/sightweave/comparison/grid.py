"""The grid of a comparison: every combination of the settings' values, each with a name for its folder."""

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
    """Of its folder."""
    labels: Mapping[str, str]
    """What sets it apart: a word for each varied path, the seed not included."""
    settings: tuple[str, ...]
    """All settings of its recipe."""

    @property
    def composition(self) -> str:
        """What it is called without its seed."""
        return "-".join(self.labels.values()) or "run"


def split_values(setting: str) -> tuple[str, list[str]]:
    """A path and its values: ``model.fusion=concat,addition`` has two; commas inside brackets divide nothing.

    Raises:
        RecipeError: no ``=``, or an empty value.
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
    """Every combination of the values of the settings that have several, with the others in each.

    Raises:
        RecipeError: a mistake in a setting, or two cells of one name.
    """
    axes = [(path, values) for path, values in map(split_values, settings)]
    varied = [path for path, values in axes if len(values) > 1]
    cells: dict[str, Cell] = {}
    for values in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip((path for path, _ in axes), values, strict=True))
        words = {path: _word(chosen[path]) for path in varied}
        name = "-".join(f"seed{word}" if path == _SEED else word for path, word in words.items()) or "run"
        if name in cells:
            raise RecipeError(
                f"two runs would have the same name {name!r}: {cells[name].settings} and "
                f"{[f'{path}={value}' for path, value in chosen.items()]}. List each value of a setting once."
            )
        labels = {path: word for path, word in words.items() if path != _SEED}
        cells[name] = Cell(name, labels, tuple(f"{path}={value}" for path, value in chosen.items()))
    return list(cells.values())


def _word(value: str) -> str:
    """A short word for a value, fit for a folder's name: the kind, where it is a mapping with one."""
    found = re.search(r"\bkind:\s*([\w.]+)", value)
    word = found.group(1) if found and value.startswith("{") else value
    return re.sub(r"[^\w.]+", "_", word).strip("_") or "_"
