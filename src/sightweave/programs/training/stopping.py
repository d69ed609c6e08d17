"""Stop requests: the first one finishes the current step and saves, the second one ends the process immediately."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yields a list that gets the number of the first stop signal; a second signal ends the process.

    The signals are SIGINT (Ctrl-C), SIGTERM, SIGHUP (a closed terminal or a lost connection) and SIGUSR1 (which Slurm can
    send before it ends a job). SIGHUP stays ignored under ``nohup``.
    """
    asked: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked.append(number)
        logger.warning("stop requested: finishing this step, then saving")

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # Windows lacks the last two
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN:
        numbers.remove(hangup)

    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not in the main thread, which alone can handle signals
        yield asked
        return

    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
