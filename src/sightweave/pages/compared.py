"""Many recipes beside one another on one page: tables, drawings and what one must know to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sightweave.pages.costs import Panel
from sightweave.pages.page import environment, style_and_policy, write

_NUMBERS = 6
"""Columns of numbers beside one another on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as they are read."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """This many columns at the left are words; the others are numbers."""
    note: str = ""

    def narrow(self) -> list[Table]:
        """The same in tables that fit on a screen, each with all columns of words and some of the numbers."""
        starts = range(self.words, max(len(self.heads), self.words + 1), _NUMBERS)
        return [
            replace(
                self,
                heads=_part(self.heads, self.words, start),
                rows=[_part(row, self.words, start) for row in self.rows],
            )
            for start in starts
        ]

    def to_markdown(self) -> str:
        """The same for a text file."""
        lines = [f"| {' | '.join(map(_cell, self.heads))} |", f"|{'---|' * len(self.heads)}"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPage:
    """What the page is made of."""

    title: str
    lead: str
    tables: Sequence[Table]
    panels: Sequence[Panel] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def write_compared(path: Path, page: ComparedPage) -> None:
    """Writes the page; it asks for nothing from elsewhere, and every text in it is escaped."""
    from markupsafe import Markup

    style, policy = style_and_policy()
    # Names in a drawing were escaped when it was drawn.
    panels = [{"title": one.title, "svg": Markup(one.svg)} for one in page.panels]
    template = environment().get_template("compared.html.jinja")
    write(path, template.render(page=page, panels=panels, style=style, policy=policy))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _part(cells: Sequence[str], words: int, start: int) -> list[str]:
    return [*cells[:words], *cells[start : start + _NUMBERS]]
