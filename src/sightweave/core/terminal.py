"""Makes text safe to print on a terminal, whether it comes from data, answers, recipes or servers.

Terminals execute escape sequences: one in a file name or in an answer could set the window title, clear the screen or
overwrite other lines. So control characters are printed as visible escapes.
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
"""Characters to escape: control characters except tabs and line ends, Unicode line separators, marks that change the writing
direction, and unpaired surrogates, which cannot be encoded."""


def visible(text: object) -> str:
    r"""Replaces control characters in a text by escapes such as ``\x1b``; line ends and tabs are kept."""
    return _HIDDEN.sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def in_short(text: object, most: int = 1000) -> str:
    """A value's text as `visible` returns it, cut after `most` characters."""
    shown = visible(text)
    return shown if len(shown) <= most else f"{shown[:most]} ..."


def markup(text: object) -> str:
    """A text for Rich: control characters are replaced as in `visible`, and square brackets are escaped."""
    from rich.markup import escape

    return escape(visible(text))


def notebook() -> Any:
    """IPython's shell if this process is a notebook kernel (Jupyter, VS Code, Colab), else None.

    IPython is not imported here; in a kernel, it has been imported already.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # IPython's shell in a terminal has no kernel.
    return shell if getattr(shell, "kernel", None) is not None else None


def is_tty(stream: Any) -> bool:
    """Whether a stream is a terminal, regardless of environment variables such as FORCE_COLOR."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is no stream, or it is closed
        return False


def is_notebooks(console: Console) -> bool:
    """Whether a console's output appears below a notebook cell."""
    return console.is_jupyter or getattr(console, "is_below_a_cell", False)


def console(*, stderr: bool = False) -> Console:
    """Creates a Rich console for tables and progress, whose output passes through `visible`.

    Args:
        stderr: Whether to write to standard error, as is usual for progress. In a notebook, standard output is always used,
            since standard error would look like an error there.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Visible(Console):
        is_below_a_cell = notebook() is not None

        def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
            for segment in super().render(*args, **options):
                # Rich marks its own control codes, such as the cursor movements of a progress bar; keep those.
                is_ours = bool(segment.control)
                yield segment if is_ours else Segment(visible(segment.text), segment.style)

    stderr = stderr and not Visible.is_below_a_cell
    # With FORCE_COLOR, Rich would treat a pipe as a terminal and write cursor movements into a log.
    is_fixed = not is_tty(sys.stderr if stderr else sys.stdout)
    return Visible(stderr=stderr, force_jupyter=False, force_interactive=False if is_fixed else None)


class LogFormatter(logging.Formatter):
    """Formats log records for a terminal, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The formatted record with any traceback, passed through `visible`."""
        return visible(super().format(record))
