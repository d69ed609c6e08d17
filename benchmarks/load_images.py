"""JPEG files to tensors of 224 pixels: Transformers' processor beside ours: python -m benchmarks.load_images [--quick]."""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._harness import parse, show

SIDE = 224
COUNT = 8
MARKS = {(640, 480): 2.5, (1600, 1200): 3.0}


def photographs(width: int, height: int) -> list[bytes]:
    """JPEG files with the detail of photographs: scikit-image's, enlarged."""
    from skimage import data

    files = []
    for index in range(COUNT):
        picture = Image.fromarray((data.astronaut, data.coffee, data.chelsea, data.rocket)[index % 4]())
        stream = io.BytesIO()
        picture.resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def transformers_loader() -> Callable[[bytes], Any]:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return lambda file: processor(Image.open(io.BytesIO(file)), return_tensors="np")["pixel_values"][0]


def our_loader() -> Callable[[bytes], Any]:
    from sightweave.core.types import Medium
    from sightweave.data.inputs import media, transforms

    transform = transforms.Config(size=SIDE, fit="squash").build()
    return lambda file: transform(media.load(Medium(file, key="x"), size_hint=(SIDE, SIDE))).numpy()


def main() -> list[list[str]]:
    options = parse(__doc__)
    if options.core >= 0:
        os.sched_setaffinity(0, {options.core})
    import torch

    torch.set_num_threads(1)
    loaders = {"transformers": transformers_loader(), "sightweave": our_loader()}
    rows = []
    for size, mark in MARKS.items():
        files = photographs(*size)
        _compare(*(load(files[0]) for load in loaders.values()))
        seconds: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(options.rounds + 1):
            for name, load in loaders.items():
                start = time.process_time()
                for file in files:
                    load(file)
                seconds[name].append((time.process_time() - start) / len(files))
        medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        for name, value in medians.items():
            speed, rate = medians["transformers"] / value, f"{1 / value:.0f} images/s"
            rows.append([f"JPEG {size[0]} x {size[1]} to {SIDE}", name, rate, f"{speed:.2f}", "", "", ""])
        rows[-1][-1] = f"{mark}"
    return rows


def _compare(theirs: np.ndarray, ours: np.ndarray) -> None:
    """Ours decodes at a reduced scale, so pixels differ a little; a wrong colour or place would differ much."""
    difference = float(np.abs(theirs - ours).mean())
    if theirs.shape != ours.shape or difference > 0.05:
        raise SystemExit(
            f"the tensors differ: {theirs.shape} and {ours.shape}, by {difference:.3f} on average"
        )


if __name__ == "__main__":
    show(main())
