"""Draws of whole pictures for a test of two models: python -m benchmarks.resample [--quick].

50,000 questions on 10,000 pictures, of five types, scored by a metric of ten numbers: 10,000 draws of each model's sums
for each type. The plain way counts a draw's pictures and multiplies the counts by the rows, some draws at a time.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from sightweave.programs.evaluation.statistics import resampled_sums

ROWS, GROUPS, NUMBERS = 50_000, 10_000, 100
DRAWS = 10_000
MARK = 5.0
"""Seconds for all draws on two cores."""


def plain(rows: np.ndarray, group: np.ndarray, draws: int) -> np.ndarray:
    num_groups = int(group.max()) + 1
    sums = np.zeros((num_groups, rows.shape[1]))
    np.add.at(sums, group, rows)
    rng = np.random.default_rng(0)
    chunk = max(1, min(draws, 250_000 // num_groups))
    drawn = []
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picks = rng.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * num_groups).reshape(size, num_groups)
        drawn.append(counts.astype(np.float64) @ sums)
    return np.concatenate(drawn)


def ours(rows: np.ndarray, group: np.ndarray, draws: int) -> np.ndarray:
    return resampled_sums(rows, group, resamples=draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, once")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    draws, rounds = (DRAWS // 10, 1) if options.quick else (DRAWS, options.rounds)
    group = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    rng = np.random.default_rng(0)
    kinds = {
        "counts": rng.integers(0, 20, (ROWS, NUMBERS)).astype(float),
        "fractions": rng.random((ROWS, NUMBERS)),
    }

    who: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {"plain": plain, "sightweave": ours}
    print(
        f"{draws} draws of {GROUPS} pictures, {ROWS} rows of {NUMBERS} numbers; seconds (CPU seconds), in turns"
    )
    for kind, rows in kinds.items():
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in who}
        for _ in range(rounds):
            for name, draw in who.items():
                wall, cpu = time.perf_counter(), time.process_time()
                draw(rows, group, draws)
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        medians = {
            name: [statistics.median(one) for one in zip(*all_, strict=True)]
            for name, all_ in seconds.items()
        }
        told = ", ".join(f"{name} {wall:.2f} ({cpu:.2f})" for name, (wall, cpu) in medians.items())
        ratio = medians["plain"][0] / medians["sightweave"][0]
        print(f"{kind}: {told}; {ratio:.1f} times as fast (aim: under {MARK:g} s for {DRAWS} draws)")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory of this process: {memory:.0f} MB, rows included")


if __name__ == "__main__":
    main()
