"""Greedy generation and several questions on one image: python -m benchmarks.generate [--nanovlm PATH] [--quick]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks._harness import Entry, parse, race, report, show, weights
from benchmarks._shapes import SHAPES, Shape, Work

WORKS = {
    "95M": (
        (Work("generate", 1, 96, 64), "64 tokens after 96, batch 1", 1.5),
        (Work("generate", 8, 96, 64), "64 tokens after 96, batch 8", 1.4),
        (Work("questions", 8, 64, 8), "8 questions on one image, 8 tokens each", 4.0),
    ),
    "4M": (
        (Work("generate", 1, 48, 32), "32 tokens after 48, batch 1", 2.4),
        (Work("generate", 32, 48, 32), "32 tokens after 48, batch 32", None),
    ),
}


def rows(who: Sequence[Entry], shape: Shape, folder: Path, *, rounds: int, core: int) -> list[list[str]]:
    found = []
    for work, name, mark in WORKS[shape.name]:
        results = race(who, shape, work, folder, rounds=rounds, core=core)
        found += report(f"{name}, {shape.name}", results, None)
        found[-1][-1] = f"{mark or ''}"
    return found


def main() -> list[list[str]]:
    options = parse(__doc__)
    found = []
    for name in options.shapes:
        with weights(SHAPES[name]) as folder:
            found += rows(options.who, SHAPES[name], folder, rounds=options.rounds, core=options.core)
    return found


if __name__ == "__main__":
    show(main())
