"""Sends concurrent requests in threads that do not delay Ctrl-C or the first error."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sightweave.core.types import Prediction, Sample
from sightweave.programs.predictors._base import Each
from sightweave.programs.predictors._endpoint.server import Line


@dataclass(frozen=True, slots=True)
class _Job:
    number: int
    prediction: Prediction | None = None
    error: BaseException | None = None


def side_by_side(
    ask: Callable[[Sample], Prediction],
    samples: Sequence[Sample],
    num_concurrent: int,
    line: Line,
    tell: Each,
) -> list[Prediction]:
    """Asks for all predictions, several at a time, and returns them in order; the connections are closed at the end.

    Ctrl-C or the first error ends the function at once. An executor would keep the program from ending until its
    slowest request has ended; these threads do not.
    """
    done: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(samples)):
        numbers.put(number)

    def work() -> None:
        while not line.stop.is_set():
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(_Job(number, ask(samples[number])))
            except BaseException as error:  # raised again by the caller's thread
                done.put(_Job(number, error=error))
                return

    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(num_concurrent, len(samples)))]

    def close() -> None:
        for worker in workers:
            worker.join()
        line.close()

    for worker in workers:
        worker.start()

    found: list[Prediction | None] = [None] * len(samples)
    try:
        for _ in samples:
            job = done.get()
            if job.error is not None:
                raise job.error
            if job.prediction is not None:
                found[job.number] = job.prediction
                tell(job.number, job.prediction)
    except BaseException:
        line.stop.set()
        # Open requests end some time later, so close in the background: a connection that was just made would otherwise
        # stay open forever.
        threading.Thread(target=close, daemon=True).start()
        raise

    close()
    return [one for one in found if one is not None]
