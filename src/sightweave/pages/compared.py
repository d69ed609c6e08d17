"""The page of a comparison of recipes: tables, drawings, and notes on how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sightweave.pages.costs import Panel
from sightweave.pages.page import environment, style_and_policy, write

_NUMBERS = 6
"""Maximum number of numeric columns in one table of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of formatted cells."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    """Number of text columns at the left; all others are numbers."""
    note: str = ""

    def narrow(self) -> list[Table]:
        """Splits the table into narrower ones that fit on a screen, each with all text columns and some numeric ones."""
        narrow = []
        for start in range(self.words, max(len(self.heads), self.words + 1), _NUMBERS):
            heads = _part(self.heads, self.words, start)
            rows = [_part(row, self.words, start) for row in self.rows]
            narrow.append(replace(self, heads=heads, rows=rows))
        return narrow

    def to_markdown(self) -> str:
        """The table as Markdown, followed by its note."""
        lines = [_line(self.heads), f"|{'---|' * len(self.heads)}", *map(_line, self.rows)]
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPage:
    """The content of a page that compares recipes."""

    title: str
    lead: str
    tables: Sequence[Table]
    panels: Sequence[Panel] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def write_compared(path: Path, page: ComparedPage) -> None:
    """Writes the page as a self-contained file in which all texts are escaped."""
    from markupsafe import Markup

    style, policy = style_and_policy()
    # Markup is safe here, because the drawing functions escape names.
    panels = [{"title": one.title, "svg": Markup(one.svg)} for one in page.panels]
    template = environment().get_template("compared.html.jinja")
    write(path, template.render(page=page, panels=panels, style=style, policy=policy))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _part(cells: Sequence[str], words: int, start: int) -> list[str]:
    return [*cells[:words], *cells[start : start + _NUMBERS]]
