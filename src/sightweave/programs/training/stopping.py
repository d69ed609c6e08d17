"""Requests to stop a training: the step at hand is finished and saved, and only a second request ends it at once."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that gets the number of the signal on Ctrl-C or a request to end; a second signal ends the process.

    Besides SIGTERM these are SIGHUP (a closed terminal, a lost connection) and SIGUSR1 (which Slurm can send some time
    before it ends a job). Where ``nohup`` had SIGHUP ignored, it stays so.
    """
    asked: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        asked.append(number)
        logger.warning("asked to stop: finishing this step, then saving")

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # the last two are unknown to Windows
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN:
        numbers.remove(hangup)

    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not in the main thread: signals are somebody else's
        yield asked
        return

    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
