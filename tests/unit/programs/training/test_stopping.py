"""The first request to stop is noted, the second ends the process, and handlers are put back."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from sightweave.programs.training.stopping import stop_signals


@pytest.mark.parametrize(
    ("number", "ends_with"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_first_is_noted_and_the_second_ends(
    number: signal.Signals, ends_with: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop == [number]
        with pytest.raises(ends_with):
            signal.raise_signal(number)
    assert signal.getsignal(number) == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def inside() -> object:
        with stop_signals() as stop:
            assert stop == []
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == before
