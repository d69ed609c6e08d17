"""Training steps and forward passes: python -m benchmarks.train [--nanovlm PATH] [--quick]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks._harness import Entry, parse, race, report, show, weights
from benchmarks._shapes import SHAPES, Shape, Work

WORKS = {
    "95M": (Work("train", 4, 256, 64), Work("forward", 4, 256, 64)),
    "4M": (Work("train", 32, 96, 32), Work("forward", 32, 96, 32)),
}
MARKS = {("95M", "train"): 1.4, ("95M", "forward"): 1.5, ("4M", "train"): 1.4}
"""Speed beside Transformers that is aimed at."""


def rows(who: Sequence[Entry], shape: Shape, folder: Path, *, rounds: int, core: int) -> list[list[str]]:
    found = []
    for work in WORKS[shape.name]:
        results = race(who, shape, work, folder, rounds=rounds, core=core)
        name = "training step" if work.kind == "train" else "forward with loss"
        found += report(
            f"{name}, {shape.name}, {work.batch} x {work.length} tokens", results, _flops(shape, work)
        )
        found[-1][-1] = f"{MARKS.get((shape.name, work.kind), '')}"
    return found


def _flops(shape: Shape, work: Work) -> float:
    count = shape.training_flops if work.kind == "train" else shape.forward_flops
    return count(work.batch, work.length, work.batch * work.new)


def main() -> list[list[str]]:
    options = parse(__doc__)
    found = []
    for name in options.shapes:
        with weights(SHAPES[name]) as folder:
            found += rows(options.who, SHAPES[name], folder, rounds=options.rounds, core=options.core)
    return found


if __name__ == "__main__":
    show(main())
