"""Evaluates a run, or caches its images, in several processes of this machine; tests start it as a program.

``python many_evaluations.py RUN FOLDER SIZE CASE`` imports once and forks the processes. Each writes what it found, or the
error that it ended with, into ``FOLDER/RANK.json``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import sightweave
from sightweave.core.errors import DataError, SightweaveError
from sightweave.core.types import Prediction, Sample
from sightweave.programs.predictors.run import RunPredictor


def evaluated(run: Path, folder: Path, size: int, rank: int, case: str) -> dict[str, Any]:
    """What one process finds; in some cases, the last process fails in its first share, or dies in its second."""
    calls = []
    predict = RunPredictor.predict

    def ends(self: RunPredictor, samples: Sequence[Sample], *values: Any, **options: Any) -> list[Prediction]:
        calls.append(len(samples))
        if (rank, len(calls), case) == (size - 1, 1, "failed"):
            raise DataError(f"process {rank} cannot read an image")
        if (rank, len(calls), case) == (size - 1, 2, "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return predict(self, samples, *values, **options)

    RunPredictor.predict = ends  # type: ignore[method-assign]
    try:
        found = sightweave.evaluate(run, out=folder / "out", trust_run=True, processes=size, progress=False)
    except SightweaveError as error:
        return {"error": str(error), "name": type(error).__name__, "is_reported": error.is_reported}
    return {"splits": [one.split for one in found], "calls": calls}


def cached(run: Path, folder: Path, size: int) -> dict[str, Any]:
    """What one process finds that caches a share of the images in the folder that holds a run."""
    found = sightweave.cache_data(
        run / "recipe.yaml", data=str(run.parent), out=folder / "out", processes=size, progress=False
    )
    return {"pictures": found.pictures, "left_out": sorted(found.left_out)}


def main(run: Path, folder: Path, size: int, case: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    children = []
    for rank in range(size):
        child = os.fork()
        if child:
            children.append(child)
            continue

        torch.set_num_threads(1)
        where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in where.items()} | {"MASTER_ADDR": "127.0.0.1"})
        status = 1
        try:
            found = cached(run, folder, size) if case == "cache" else evaluated(run, folder, size, rank, case)
            (folder / f"{rank}.json").write_text(json.dumps(found))
            status = 0
        finally:
            os._exit(status)

    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
