"""Text for a terminal: everything printed from data, answers, recipes and servers passes through here.

A terminal executes control sequences: an escape sequence in a file name or in an answer sets the title, clears the screen,
overwrites other lines, or does worse. So control characters are shown and not sent.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_HIDDEN = re.compile(
    "\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and line ends, line separators, marks that change the writing direction, and unpaired
surrogates, which cannot be sent to a terminal."""


def visible(text: object) -> str:
    r"""A text that is safe for a terminal: control characters become escapes such as ``\x1b``; line ends and tabs stay."""
    return _HIDDEN.sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def in_short(text: object, most: int = 1000) -> str:
    """A foreign value as a shell shows it: `visible`, and of limited length."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[:most]} ..."


def markup(text: object) -> str:
    """A text escaped for Rich: made `visible`, with nothing in it interpreted as a style or a link."""
    from rich.markup import escape

    return escape(visible(text))


def notebook() -> Any:
    """IPython's shell if this process is the kernel of a notebook (Jupyter, VS Code, Colab), else None.

    IPython is never imported here: in a kernel it already is.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # IPython in a terminal has a shell too, but no kernel.
    return shell if getattr(shell, "kernel", None) is not None else None


def is_tty(stream: Any) -> bool:
    """Whether a stream is a terminal. Variables such as FORCE_COLOR do not make a pipe one."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is no stream, or it is closed
        return False


def is_notebooks(console: Console) -> bool:
    """Whether the output of a console appears below a cell of a notebook."""
    return console.is_jupyter or getattr(console, "is_below_a_cell", False)


def console(*, stderr: bool = False) -> Console:
    """A console for tables and progress, whose output passes through `visible`.

    In a notebook that is the output of the cell: standard output, since standard error is shown there as an error.

    Args:
        stderr: Whether it writes to standard error, as progress does.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        is_below_a_cell = notebook() is not None

        def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
            for segment in super().render(*args, **options):
                # Rich's own control codes, such as those that move the cursor of a progress bar, are marked as such.
                is_ours = bool(segment.control)
                yield segment if is_ours else Segment(visible(segment.text), segment.style)

    stderr = stderr and not Visible.is_below_a_cell
    # With FORCE_COLOR, Rich takes a pipe for a terminal, and would move the cursor in a log.
    is_fixed = not is_tty(sys.stderr if stderr else sys.stdout)
    return Visible(stderr=stderr, force_jupyter=False, force_interactive=False if is_fixed else None)


class LogFormatter(logging.Formatter):
    """Log lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The message and any traceback, with control characters made visible."""
        return visible(super().format(record))
