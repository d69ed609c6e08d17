"""JPEG files to tensors of 224 pixels: python -m benchmarks.load_images [--quick].

First one picture after the other by CPU time on one core: Transformers' processor and plain Pillow beside ours. Then whole
folders by wall time, with two workers or threads for those who have them: plain Pillow, a DataLoader over Transformers'
processor, WebDataset where it is installed, and ours. Nobody keeps a picture from one round to the next.
"""

from __future__ import annotations

import importlib.util
import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._harness import parse, show

SIDE = 224
COUNT = 8
FILES = {(640, 480): 96, (1600, 1200): 48}
BATCH = 16
WORKERS = 2
MARKS = {(640, 480): 2.5, (1600, 1200): 3.0}
"""Speed beside Transformers, and of a folder beside plain Pillow."""
BESIDE_PILLOW = {(640, 480): 3.5, (1600, 1200): 4.6}
"""Of one picture, by CPU time, with simplejpeg."""


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


def our_loader(*, with_turbo: bool = True) -> Callable[[bytes], Any]:
    from benchmarks.check_data import decoder
    from sightweave.core.types import Medium
    from sightweave.data.inputs import image_files, transforms

    transform = transforms.Config(size=SIDE, fit="squash").build()

    def load(file: bytes) -> np.ndarray:
        with decoder(with_turbo):
            return transform(image_files.load(Medium(file, key="x"), size_hint=(SIDE, SIDE))).numpy()

    return load


def by_pillow(picture: Image.Image) -> np.ndarray:
    """float32 3 224 224 of an open picture."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (np.asarray(small, np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5


class Files:
    """A data set of Transformers' pixels, for torch's DataLoader."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths, self.load = paths, None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        self.load = self.load or transformers_loader()  # once in each worker
        return self.load(self.paths[index].read_bytes())


Epoch = Callable[[], list[Any]]
"""Reads the whole folder and gives its batches."""


def epochs(paths: Sequence[Path], archive: Path, stack: ExitStack) -> dict[str, Epoch]:
    """The contestants; their workers are started here or in their first epoch, and live until the stack ends."""
    from torch.utils.data import DataLoader

    def plain() -> list[Any]:
        starts = range(0, len(paths), BATCH)
        return [
            np.stack([by_pillow(Image.open(path)) for path in paths[start : start + BATCH]])
            for start in starts
        ]

    theirs = DataLoader(
        Files(paths),  # type: ignore[arg-type]  # any sequence will do
        batch_size=BATCH,
        num_workers=WORKERS,
        multiprocessing_context="spawn",  # a copy of a process with threads may hang
        persistent_workers=True,
    )
    found: dict[str, Epoch] = {"plain Pillow": plain}
    found[f"DataLoader of Transformers' processor, {WORKERS} workers"] = lambda: list(theirs)
    if importlib.util.find_spec("webdataset") is None:
        print("# webdataset is not installed: its row is left out (pip install webdataset)", file=sys.stderr)
    else:
        found["WebDataset and Pillow"] = partial(_webdataset, archive)
    pool = stack.enter_context(ThreadPoolExecutor(WORKERS))
    found["sightweave"] = partial(_ours, paths, None)
    found[f"sightweave, {WORKERS} threads"] = partial(_ours, paths, pool)
    return found


def _webdataset(archive: Path) -> list[Any]:
    import webdataset

    rows = webdataset.WebDataset(str(archive), shardshuffle=False).decode("pil").to_tuple("jpg")
    return [batch[0] for batch in rows.map_tuple(by_pillow).batched(BATCH)]


def _ours(paths: Sequence[Path], pool: ThreadPoolExecutor | None) -> list[Any]:
    from sightweave.core.types import Medium
    from sightweave.data.inputs import transforms
    from sightweave.data.inputs.pixels import PixelLoader

    loader = PixelLoader(transforms.Config(size=SIDE, fit="squash").build(), is_whole=False)
    media = [Medium(path, key=str(path)) for path in paths]
    return [loader(media[start : start + BATCH], pool=pool)[0] for start in range(0, len(media), BATCH)]


def one_by_one(rounds: int) -> list[list[str]]:
    """One picture after the other, by CPU time."""
    loaders = {
        "transformers": transformers_loader(),
        "plain Pillow": lambda file: by_pillow(Image.open(io.BytesIO(file))),
        "sightweave, Pillow": our_loader(with_turbo=False),
        "sightweave": our_loader(),
    }
    rows = []
    for size, mark in MARKS.items():
        files = photographs(*size)
        first, *others = [load(files[0]) for load in loaders.values()]
        for other in others:
            _compare(first, other)
        if not np.array_equal(others[-1], others[-2]):
            raise SystemExit("simplejpeg and Pillow do not give the same pixels")
        seconds: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(rounds + 1):
            for name, load in loaders.items():
                start = time.process_time()
                for file in files:
                    load(file)
                seconds[name].append((time.process_time() - start) / len(files))
        medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        rows += _rows(f"JPEG {size[0]} x {size[1]} to {SIDE}", medians)
        rows[-1][-1] = f"{mark}; beside Pillow {medians['plain Pillow'] / medians['sightweave']:.2f}"
        rows[-1][-1] += f" (aim {BESIDE_PILLOW[size]})"
    return rows


def by_folder(rounds: int) -> list[list[str]]:
    """A whole folder in batches, by wall time: what workers spend is spent elsewhere."""
    rows = []
    for size, mark in MARKS.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            paths, archive = _write(Path(folder), size)
            contestants = epochs(paths, archive, stack)
            first, *others = [epoch() for epoch in contestants.values()]
            for other in others:
                _compare(*(np.concatenate([np.asarray(batch) for batch in x]) for x in (first, other)))
            seconds: dict[str, list[float]] = {name: [] for name in contestants}
            for _ in range(rounds):
                for name, epoch in contestants.items():
                    start = time.perf_counter()
                    epoch()
                    seconds[name].append((time.perf_counter() - start) / len(paths))
            medians = {name: statistics.median(times) for name, times in seconds.items()}
        for row in _rows(f"folder of JPEG {size[0]} x {size[1]} to {SIDE}, wall time", medians):
            row[-1] = f"{mark}" if row[1] == "sightweave" else ""
            rows.append(row)
    return rows


def _write(folder: Path, size: tuple[int, int]) -> tuple[list[Path], Path]:
    """Files on disk, and the same files in one archive."""
    sources, paths = photographs(*size), []
    archive = folder / "pictures.tar"
    with tarfile.open(archive, "w") as tar:
        for index in range(FILES[size]):
            path = folder / f"{index:04}.jpg"
            path.write_bytes(sources[index % COUNT])
            tar.add(path, path.name)
            paths.append(path)
    return paths, archive


def _rows(label: str, medians: dict[str, float]) -> list[list[str]]:
    """Rates, and speeds beside the first."""
    first = next(iter(medians.values()))
    return [
        [label, name, f"{1 / value:.0f} images/s", f"{first / value:.2f}", "", "", ""]
        for name, value in medians.items()
    ]


def _compare(theirs: np.ndarray, ours: np.ndarray) -> None:
    """Ours decodes at a reduced scale, so pixels differ a little; a wrong colour or place would differ much."""
    if theirs.shape != ours.shape:
        raise SystemExit(f"the tensors differ: {theirs.shape} and {ours.shape}")
    difference = float(np.abs(theirs - ours).mean())
    if difference > 0.05:
        raise SystemExit(f"the tensors differ by {difference:.3f} on average")


def main() -> list[list[str]]:
    options = parse(__doc__)
    import torch

    torch.set_num_threads(1)
    folders = by_folder(
        options.rounds
    )  # before this process, and the workers that it starts, are bound to a core
    if options.core >= 0:
        os.sched_setaffinity(0, {options.core})
    return one_by_one(options.rounds) + folders


if __name__ == "__main__":
    show(main())
