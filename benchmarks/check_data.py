"""Looking a folder of JPEG files over: a plain loop beside the data doctor: python -m benchmarks.check_data [--quick].

The plain loop reads each row, decodes its picture in full and hashes its file. Ours does the same, finds the same damaged
files, and besides makes a fingerprint for near-duplicates and looks for metadata and blank pictures.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from benchmarks._harness import parse, show
from benchmarks.load_images import photographs
from sightweave.core.types import Medium
from sightweave.programs.doctor.pictures import inspect

ROWS = {(640, 480): 240, (1600, 1200): 80}
DAMAGED = 8  # every so many rows one file is cut
MARK = 3.0
Seen = dict[str, str]
"""Row -> digest, or empty where the file is damaged."""


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


def ours(lines: Sequence[str]) -> Seen:
    seen = {}
    for line in lines:
        row = json.loads(line)
        facts = inspect(Medium(Path(row["image"]), key=row["image"]))
        seen[row["id"]] = (
            "" if any(finding.severity == "error" for finding in facts.findings) else facts.digest
        )
    return seen


def main() -> list[list[str]]:
    options = parse(__doc__)
    results = []
    # Workers start before this process is bound to one core, and are warm before anything is timed.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        with tempfile.TemporaryDirectory() as folder:
            warm = write_rows(Path(folder), 64, 64, 16).read_text(encoding="utf-8").splitlines()
            list(pool.map(ours, [warm] * 8))

        def by_workers(lines: Sequence[str]) -> Seen:
            parts = [lines[start : start + 20] for start in range(0, len(lines), 20)]
            return {key: value for part in pool.map(ours, parts) for key, value in part.items()}

        if options.core >= 0:
            os.sched_setaffinity(0, {options.core})
        who = {"plain loop": plain, "sightweave": ours, "sightweave, 2 workers": by_workers}
        for size, count in ROWS.items():
            results += _race(who, size, count, options.rounds)
    return results


def _race(
    who: dict[str, Callable[[Sequence[str]], Seen]], size: tuple[int, int], count: int, rounds: int
) -> list[list[str]]:
    """By wall time, since workers spend their CPU time elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        lines = write_rows(Path(folder), *size, count).read_text(encoding="utf-8").splitlines()
        first, *others = [check(lines) for check in who.values()]
        if any(other != first for other in others) or list(first.values()).count("") != count // DAMAGED:
            raise SystemExit("the contestants do not find the same digests and damaged files")
        seconds: dict[str, list[float]] = {name: [] for name in who}
        for _ in range(rounds):
            for name, check in who.items():
                start = time.perf_counter()
                check(lines)
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    label, rows = f"check JPEG {size[0]} x {size[1]}", []
    for name, value in medians.items():
        speed, aim = medians["plain loop"] / value, "" if name == "plain loop" else f"{MARK}"
        rows.append([label, name, f"{count / value:.0f} images/s", f"{speed:.2f}", "", "", aim])
    return rows


if __name__ == "__main__":
    show(main())
