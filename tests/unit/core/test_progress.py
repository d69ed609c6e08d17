"""Progress: a live line where somebody looks, plain lines in a log, nothing where nobody asked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sightweave.core import terminal
from sightweave.core.progress import LiveLine, Rate, clock, wanted

SHOW = """
import sys
from sightweave.core import terminal
from sightweave.core.progress import LiveLine, wanted
console = wanted(None, {progress})
with LiveLine(console) as line:
    line.start("work", 3)
    for done in (1, 2, 3):
        line.update(done, note="steps", now=done == 3)
        print("said", done)
"""


def piped(progress: bool | None, **environment: str) -> tuple[str, str]:
    """What a script leaves in its two pipes."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(progress=progress)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout, done.stderr


def on_a_terminal(progress: bool | None, out: Path) -> str:
    """What a script shows on a terminal of 100 columns, with its standard output in a file."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    main, other = pty.openpty()
    with out.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", SHOW.format(progress=progress)],
            stdout=stream,
            stderr=other,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(other)
        shown = b""
        while True:
            try:
                some = os.read(main, 4096)
            except OSError:  # the other end is closed
                break
            if not some:
                break
            shown += some
    os.close(main)
    assert child.wait() == 0
    return shown.decode()


def test_a_pipe_is_shown_nothing_unless_asked() -> None:
    assert piped(None) == ("said 1\nsaid 2\nsaid 3\n", "")
    assert piped(False)[1] == ""


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_log_holds_plain_lines(environment: dict[str, str]) -> None:
    assert piped(True, **environment) == ("said 1\nsaid 2\nsaid 3\n", "work 3/3 steps\n")


def test_a_terminal_has_a_live_line_and_files_keep_what_is_theirs(tmp_path: Path) -> None:
    shown = on_a_terminal(None, tmp_path / "out")
    assert "3/3" in shown
    assert "\x1b[" in shown
    # What the script prints goes where it sends it, not beside the line.
    assert (tmp_path / "out").read_text(encoding="utf-8") == "said 1\nsaid 2\nsaid 3\n"
    assert "said" not in shown
    assert on_a_terminal(False, tmp_path / "out") == ""


def test_the_caller_chooses_the_console() -> None:
    mine = Console(file=io.StringIO())
    assert wanted(mine, None) is mine
    assert wanted(mine, True) is mine
    assert wanted(mine, False) is None
    assert terminal.notebook() is None


def test_a_line_that_is_left_is_printed_once() -> None:
    out = io.StringIO()
    with LiveLine(Console(file=out, width=80)) as line:
        line.start("first", 2)
        line.leave()
        line.update(1, note="\x1b[2J")
        line.leave()
        line.leave()
        line.start("second", None)
        line.advance(4, "rows")
        line.leave()
    first, second = out.getvalue().splitlines()
    assert first == r"first 1/2 \x1b[2J"
    assert second.startswith("second 4 rows")


def test_no_console_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveLine(None) as line:
        line.start("work", 2)
        line.update(2, now=True)
        line.leave()
    assert capsys.readouterr() == ("", "")


def test_a_rate_follows_the_newest_work() -> None:
    rate = Rate()
    assert rate.value is None
    rate.update(0)
    assert rate.value is None
    rate.update(5)
    assert rate.value is not None
    assert rate.value > 0


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "0:00"), (61, "1:01"), (3600, "60:00")])
def test_times_are_minutes_and_seconds(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
