"""Shows an explanation in a terminal: a small map of each medium, and the prompt with a number behind each token.

The numbers are tenths of the largest value, so the map can be read without colours too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.style import Style
from rich.text import Text

from sightweave.core.explanation import Explanation, MediumValues
from sightweave.core.terminal import visible

_WIDTH = 3
"""Characters per place of a map."""
_MOST_COLUMNS = 64
"""Maximum number of places per line; a longer series continues on the next line."""


def lines(explanation: Explanation) -> Iterator[Text]:
    """The lines to print, with colours for terminals that have them."""
    yield Text(_title(explanation))
    yield from _maps(explanation)
    if explanation.token_values is not None and len(explanation.tokens):
        largest = float(np.abs(explanation.token_values).max())
        yield Text()
        yield _prompt(explanation, largest)
        yield Text(f"9 is {largest:.3g} {explanation.unit}", style="dim")
    yield Text()
    yield Text("; ".join(_facts(explanation)), style="dim")


def _title(explanation: Explanation) -> str:
    word = "" if explanation.word is None else f", word {explanation.word!r}"
    against = "" if explanation.against is None else f" rather than {explanation.against!r}"
    return visible(f"{explanation.answer}  ({explanation.method}{word}{against})")


def _maps(explanation: Explanation) -> Iterator[Text]:
    largest = max([float(np.abs(one.values).max()) for one in explanation.media], default=0.0)
    for one in explanation.media:
        yield Text()
        if len(explanation.media) > 1:
            yield Text(visible(one.name))
        yield from _map(one, largest)
        yield Text(_best(one, explanation.unit), style="dim")


def _map(medium: MediumValues, largest: float) -> Iterator[Text]:
    """A line for each row of places; a series has rows of limited length, and a video a block for each time."""
    values = medium.values
    blocks: Sequence[np.ndarray] = list(values[None] if values.ndim == 2 else values)
    if values.ndim == 1:
        starts = range(0, len(values), _MOST_COLUMNS)
        blocks = [values[None, start : start + _MOST_COLUMNS] for start in starts]

    for number, block in enumerate(blocks):
        if number and values.ndim == 3:
            yield Text()
        for row in block:
            line = Text()
            for value in row:
                line.append(f"{_tenths(value, largest):>{_WIDTH}}", style=_style(float(value), largest))
            yield line


def _tenths(value: float, largest: float) -> int:
    """A value as a whole number from -9 to 9; 0 if all values are zero."""
    return 0 if largest == 0 else round(9 * float(value) / largest)


def _style(value: float, largest: float) -> Style:
    """Background from black to orange for values above zero, and to blue for those below."""
    strength = 0.0 if largest == 0 else min(1.0, abs(value) / largest)
    red, green, blue = (255, 140, 0) if value >= 0 else (30, 110, 255)
    shade = "#{:02x}{:02x}{:02x}".format(*(round(strength * one) for one in (red, green, blue)))
    return Style(color="black" if strength > 0.5 else "white", bgcolor=shade)


def _best(medium: MediumValues, unit: str) -> str:
    """The largest value of a medium and its place, counted from 1."""
    best = medium.values[medium.best]
    if not best:
        return "no place of this medium has any effect"
    at = [str(index + 1) for index in medium.best]
    names = {1: ("place",), 2: ("row", "column"), 3: ("time", "row", "column")}[len(at)]
    where = ", ".join(f"{name} {index}" for name, index in zip(names, at, strict=True))
    return f"largest: {best:.3g} {unit} at {where}"


def _prompt(explanation: Explanation, largest: float) -> Text:
    """The tokens of the prompt, each with its value in tenths of the largest one."""
    assert explanation.token_values is not None
    line = Text()
    for token, value in zip(explanation.tokens, explanation.token_values, strict=True):
        shown = visible(token.strip()) or "_"
        line.append(shown, style=_style(float(value), largest))
        tenths = _tenths(float(value), largest)
        line.append(f" {tenths}  " if tenths else "  ", style="dim")
    return line


def _facts(explanation: Explanation) -> list[str]:
    facts = [f"score {explanation.score:.3g}"]
    share = explanation.medium_share
    if explanation.media and explanation.token_values is not None and share == share:
        facts.append(f"{100 * share:.0f} % of the values on media")
    if explanation.baseline:
        facts.append(f"absent: {explanation.baseline}")
    if explanation.completeness_error is not None:
        facts.append(f"completeness error {100 * explanation.completeness_error:.2g} %")
    return facts
