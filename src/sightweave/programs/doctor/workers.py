"""Checks images in separate processes: this uses every core, and a file that crashes a decoder does not end the check.

Each worker runs this module as a program. It reads requests, each a line with a JSON list of images, and answers each
with a line of facts. Nothing is pickled, and the caller's main module is not run again, as it would be by Python's own
pools.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from sightweave.core.types import Medium
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.doctor.pictures import Finding, PictureFacts, inspect, inspect_all

Place = str | list[Any]


class Workers:
    """A pool of worker processes, used as a context manager.

    Args:
        count: Number of processes.
        program: Module that each process runs.
    """

    def __init__(self, count: int, *, program: str = "sightweave.programs.doctor.workers") -> None:
        self.count, self.program = count, program
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)  # None stands for a worker that is started when it is first needed
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="check")

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()

    def submit(self, media: Sequence[Medium]) -> Future[list[PictureFacts]]:
        """Starts checking some images; the future returns their facts in order."""
        return self._threads.submit(self._facts, list(media))

    def _facts(self, media: list[Medium]) -> list[PictureFacts]:
        places = [_place(medium) for medium in media]
        remote = [number for number, place in enumerate(places) if place is not None]
        facts = self._asked([media[number] for number in remote])
        found = dict(zip(remote, facts, strict=True))

        # An image inside a row can be read only by this process.
        return [found[number] if number in found else inspect(one) for number, one in enumerate(media)]

    def _asked(self, media: list[Medium], *, is_second: bool = False) -> list[PictureFacts]:
        """Gets facts from a worker.

        If the worker crashes, each image is sent in a request of its own. An image that crashes a worker alone is tried
        once more before it is reported.
        """
        if not media:
            return []

        worker = self._idle.get() or _Worker(self.program)
        try:
            answer = worker.ask([(_place(medium), medium.key) for medium in media])
        finally:
            self._idle.put(worker if worker.is_alive else None)

        if answer is not None:
            return answer

        if len(media) > 1:
            found = []
            for medium in media:
                found += self._asked([medium])
            return found
        if not is_second:  # the process may have been killed for another reason, so try again
            return self._asked(media, is_second=True)
        message = f"image {media[0].key!r}: it crashed the decoder."
        return [PictureFacts(0, 0, "", "", 0, 0, "", "", (Finding("image_corrupt", "error", message),))]


class _Worker:
    """One worker process."""

    def __init__(self, program: str) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        self.is_alive = True

    def ask(self, places: Sequence[tuple[Place | None, str]]) -> list[PictureFacts] | None:
        """Facts about some images; None if the process crashed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None

        try:
            self._process.stdin.write(json.dumps(places).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = b""

        if not line.endswith(b"\n"):
            self.close()
            return None
        return [facts_of(values) for values in json.loads(line)]

    def close(self) -> None:
        """Ends the process."""
        self.is_alive = False
        assert self._process.stdin is not None
        assert self._process.stdout is not None

        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def facts_of(values: Sequence[Any]) -> PictureFacts:
    """Converts JSON values to facts."""
    *others, findings = values
    return PictureFacts._make([*others, tuple(Finding._make(one) for one in findings)])


def _place(medium: Medium) -> Place | None:
    """The location of an image for another process; None if the image exists only in this process."""
    if isinstance(medium.source, Path):
        return str(medium.source)
    if isinstance(medium.source, Slice):
        return [str(medium.source.path), medium.source.offset, medium.source.size]
    return None


def _medium(place: Place, key: str) -> Medium:
    if isinstance(place, str):
        return Medium(Path(place), key)
    return Medium(Slice(Path(place[0]), place[1], place[2], key), key)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until the input ends."""
    for line in requests:
        facts = inspect_all([_medium(place, key) for place, key in json.loads(line)])
        answers.write(json.dumps(facts).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
