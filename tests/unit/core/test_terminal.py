"""What reaches a terminal: control characters are shown, everything else is as it was."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table

from sightweave.core import terminal
from sightweave.core.terminal import visible

TITLE, CLEAR = "\x1b]0;PWNED\x07", "\x1b[2J"
HOSTILE = f"a{TITLE}b{CLEAR}c\x9b2Jd\re"
SHOWN = r"a\x1b]0;PWNED\x07b\x1b[2Jc\x9b2Jd\re"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("two\nlines\r\n\tand a tab", "two\nlines\r\n\tand a tab"),
        (
            "\u72d7 caf\xe9 \U0001f415\u200d\U0001f9ba \u05d0\u200f",
            "\u72d7 caf\xe9 \U0001f415\u200d\U0001f9ba \u05d0\u200f",
        ),
        ("\x00\x08\x0b\x7f\x85", r"\x00\x08\x0b\x7f\x85"),
        ("pay \u202eevil\u202c \u2066x\u2069\u2028", r"pay \u202eevil\u202c \u2066x\u2069\u2028"),
        ("\ud800", r"\ud800"),
        (Path("a\x1bb"), r"a\x1bb"),
    ],
)
def test_controls_are_shown(text: object, shown: str) -> None:
    assert visible(text) == shown


def test_markup_is_text_to_rich(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.console().print(terminal.markup("[red]x[/red] [link=http://a]y[/link]\x1b"))
    assert capsys.readouterr().out == "[red]x[/red] [link=http://a]y[/link]\\x1b\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_whatever_a_console_prints_is_visible(is_terminal: bool) -> None:
    out = terminal.console()
    out.file, out._force_terminal = io.StringIO(), is_terminal
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    out.print(HOSTILE, markup=False)
    out.print(table)
    out.log(HOSTILE)
    with Progress(console=out) as bar:
        bar.add_task(HOSTILE, total=1)
    text = out.file.getvalue()
    for code in (TITLE, CLEAR, "\x9b", "\x07", "\x1b]"):
        assert code not in text
    assert text.count("PWNED") >= 4
    assert ("\x1b[" in text) is is_terminal  # Rich's own colours and movements stay


def test_the_log_is_visible_too() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "left out: %s", (HOSTILE,), None)
    assert terminal.LogFormatter().format(record) == f"left out: {SHOWN}"
