"""Looking a folder of JPEG files over: a plain loop beside the data doctor: python -m benchmarks.check_data [--quick].

The plain loop reads each row, decodes its picture in full and hashes its file. Ours does the same, finds the same damaged
files, and besides makes a fingerprint for near-duplicates and looks for metadata and blank pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from benchmarks._harness import parse, show
from benchmarks.load_images import photographs
from sightweave.core.types import Medium
from sightweave.data.inputs import turbo
from sightweave.programs.doctor.pictures import inspect_all

ROWS = {(640, 480): 240, (1600, 1200): 80}
DAMAGED = 8  # every so many rows one file is cut
BATCH = 20
WORKERS = 2
MARK = 3.0
"""Speed of two workers beside the plain loop."""
Seen = dict[str, str]
"""Row -> digest, or empty where the file is damaged."""
Contestant = Callable[[Sequence[str]], tuple[Seen, float]]
"""Gives what it found, and the CPU seconds that its workers spent."""


def write_rows(folder: Path, width: int, height: int, count: int) -> Path:
    """Files on disk, each with bytes of its own, and the rows that name them."""
    sources = photographs(width, height)
    lines = []
    for index in range(count):
        data = sources[index % len(sources)] + index.to_bytes(4, "big")  # behind the end of the picture
        if index % DAMAGED == DAMAGED - 1:
            data = data[: len(data) // 2]
        path = folder / f"{index}.jpg"
        path.write_bytes(data)
        lines.append(
            json.dumps({"id": str(index), "image": str(path), "question": "What is it?", "answer": "a"})
        )
    rows = folder / "rows.jsonl"
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


def plain(lines: Sequence[str]) -> Seen:
    seen = {}
    for line in lines:
        row = json.loads(line)
        try:
            Image.open(row["image"]).load()
        except OSError:
            seen[row["id"]] = ""
            continue
        with open(row["image"], "rb") as file:
            seen[row["id"]] = hashlib.sha256(file.read()).hexdigest()
    return seen


def ours(lines: Sequence[str], with_turbo: bool = True) -> Seen:
    seen = {}
    with decoder(with_turbo):
        for start in range(0, len(lines), BATCH):
            rows = [json.loads(line) for line in lines[start : start + BATCH]]
            found = inspect_all([Medium(Path(row["image"]), key=row["image"]) for row in rows])
            for row, facts in zip(rows, found, strict=True):
                is_damaged = any(finding.severity == "error" for finding in facts.findings)
                seen[row["id"]] = "" if is_damaged else facts.digest
    return seen


@contextmanager
def decoder(with_turbo: bool) -> Iterator[None]:
    """Decodes JPEG files by Pillow alone, if so wished."""
    kept = turbo.decode
    if not with_turbo:
        turbo.decode = lambda *_: None  # type: ignore[assignment]
    try:
        yield
    finally:
        turbo.decode = kept


def timed(lines: Sequence[str], with_turbo: bool) -> tuple[Seen, float]:
    """What a worker found, and its CPU seconds."""
    start = time.process_time()
    return ours(lines, with_turbo), time.process_time() - start


def main() -> list[list[str]]:
    options = parse(__doc__)
    print(f"# simplejpeg: {turbo.version() or 'not installed, or not used here'}", file=sys.stderr)
    results = []
    # Workers start before this process is bound to one core, and are warm before anything is timed.
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        with tempfile.TemporaryDirectory() as folder:
            warm = write_rows(Path(folder), 64, 64, 16).read_text(encoding="utf-8").splitlines()
            list(pool.map(ours, [warm] * 8))

        def by_workers(lines: Sequence[str], with_turbo: bool) -> tuple[Seen, float]:
            parts = [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]
            found = list(pool.map(partial(timed, with_turbo=with_turbo), parts))
            seen = {key: value for one, _ in found for key, value in one.items()}
            return seen, sum(seconds for _, seconds in found)

        if options.core >= 0:
            os.sched_setaffinity(0, {options.core})
        who: dict[str, Contestant] = {
            "plain loop": lambda lines: (plain(lines), 0.0),
            "sightweave, Pillow": lambda lines: (ours(lines, False), 0.0),
            "sightweave": lambda lines: (ours(lines), 0.0),
            f"sightweave, {WORKERS} workers, Pillow": partial(by_workers, with_turbo=False),
            f"sightweave, {WORKERS} workers": partial(by_workers, with_turbo=True),
        }
        for size, count in ROWS.items():
            results += _race(who, size, count, options.rounds)
    return results


def _race(who: dict[str, Contestant], size: tuple[int, int], count: int, rounds: int) -> list[list[str]]:
    """By wall time, and by the CPU time of each process, which other work on the machine changes less."""
    wall: dict[str, list[float]] = {name: [] for name in who}
    cpu: dict[str, list[float]] = {name: [] for name in who}
    with tempfile.TemporaryDirectory() as folder:
        lines = write_rows(Path(folder), *size, count).read_text(encoding="utf-8").splitlines()
        first, *others = [check(lines)[0] for check in who.values()]
        if any(other != first for other in others) or list(first.values()).count("") != count // DAMAGED:
            raise SystemExit("the contestants do not find the same digests and damaged files")
        for _ in range(rounds):
            for name, check in who.items():
                start, used = time.perf_counter(), time.process_time()
                _, elsewhere = check(lines)
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - used + elsewhere / WORKERS)

    seconds = {name: statistics.median(times) for name, times in wall.items()}
    spent = {name: statistics.median(times) for name, times in cpu.items()}
    label, rows = f"check JPEG {size[0]} x {size[1]}", []
    for name, value in seconds.items():
        speed, by_cpu = seconds["plain loop"] / value, spent["plain loop"] / spent[name]
        aim = f"{MARK}; " if "workers" in name else ""
        rows.append(
            [
                label,
                name,
                f"{count / value:.0f} images/s",
                f"{speed:.2f}",
                "",
                "",
                f"{aim}by CPU {by_cpu:.2f}",
            ]
        )
    return rows


if __name__ == "__main__":
    show(main())
