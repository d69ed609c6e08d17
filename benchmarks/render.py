"""Words in images, replaced: python -m benchmarks.render [--quick].

CPU time on one core, as the median over rounds, for photographs of several sizes with one region and with three. The ratio
compares them with decoding the same photograph from a PNG file by Pillow.
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable

from PIL import Image

from benchmarks._harness import parse
from sightweave.core.device import processor_name
from sightweave.core.text_regions import TextRegion
from sightweave.rendering.render import render

SIZES = ((96, 96), (256, 256), (640, 480), (1600, 1200))
MOST_MS = 30.0
"""The target for a scene with three regions, and for a photograph of 640 x 480 with one."""
REGIONS = (
    TextRegion("Ausgang", (0.1, 0.1, 0.6, 0.22)),
    TextRegion("Zum Hafen", (0.3, 0.4, 0.9, 0.55), angle=6),
    TextRegion("Bitte nicht auf den Rasen treten", (0.1, 0.7, 0.9, 0.95)),
)


def photograph(size: tuple[int, int]) -> Image.Image:
    from skimage import data

    return Image.fromarray(data.coffee()).resize(size, Image.Resampling.BICUBIC)


def cpu_ms(work: Callable[[], object], rounds: int) -> float:
    """Median CPU time of a call in milliseconds; the first call, which loads fonts, does not count."""
    work()
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(1000 * (time.process_time() - start))
    return statistics.median(found)


def main() -> bool:
    """Prints the table; returns whether the target is met."""
    options = parse(__doc__)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    rounds = 5 * options.rounds
    print(f"{processor_name()}, one core, median CPU time of {rounds} rounds\n")
    print("| size | one region, ms | three regions, ms | three regions / decoding the PNG |")
    print("|---|---|---|---|")

    is_met = True
    for size in SIZES:
        picture = photograph(size)
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        decoding = cpu_ms(lambda file=stream: Image.open(file).load(), rounds)  # type: ignore[misc]
        # The smallest scenes have letters of a few pixels.
        one, three = (
            cpu_ms(lambda given=picture, some=REGIONS[:count]: render(given, some, min_size=4), rounds)  # type: ignore[misc]
            for count in (1, 3)
        )
        print(f"| {size[0]} x {size[1]} | {one:.1f} | {three:.1f} | {three / decoding:.1f} |")
        if size <= (640, 480):
            is_met &= (three if size <= (256, 256) else one) < MOST_MS
    print(
        f"\ntarget: < {MOST_MS:.0f} ms for three regions up to 256 x 256 and for one at 640 x 480: "
        f"{'met' if is_met else 'not met'}"
    )
    return is_met


if __name__ == "__main__":
    main()
