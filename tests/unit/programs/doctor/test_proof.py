"""The proof of a copy: rows that are missing, left, changed or moved are seen, and a right copy passes."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightweave import api
from sightweave.core.errors import DataError
from sightweave.data.inputs import image_files
from sightweave.programs.doctor.proof import prove

ROWS = [{"image": f"{name}.png", "caption": f"A {name}."} for name in ("cat", "cup", "dog", "cat")]


def folder(path: Path, rows: Sequence[Any]) -> Any:
    path.mkdir()
    (path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return api.source({"kind": "own", "path": str(path)})


def gone(source: Any, *lines: int) -> set[tuple[str, int]]:
    return {(str(Path(source.path) / "data.jsonl"), line) for line in lines}


def test_a_right_copy(tmp_path: Path) -> None:
    source = folder(tmp_path / "a", ROWS)
    folder(tmp_path / "b", [ROWS[0], ROWS[2], ROWS[3]])
    prove(source, tmp_path / "b", gone(source, 2))
    folder(tmp_path / "none", [])
    prove(source, tmp_path / "none", gone(source, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ([ROWS[0], ROWS[1], ROWS[3]], "row 3 of data.jsonl has changed"),
        ([ROWS[0], ROWS[2]], "row 4 of data.jsonl has changed"),
        ([*ROWS], "row 3 of data.jsonl has changed"),
        ([ROWS[0], ROWS[2], ROWS[3], ROWS[3]], "row 4 of data.jsonl should not be there"),
        ([ROWS[2], ROWS[0], ROWS[3]], "row 1 of data.jsonl has changed"),
        ([ROWS[0], ROWS[2] | {"split": "test"}, ROWS[3]], "row 3 of data.jsonl has changed"),
    ],
)
def test_a_wrong_copy(tmp_path: Path, left: Sequence[Any], words: str) -> None:
    source = folder(tmp_path / "a", ROWS)
    folder(tmp_path / "b", left)
    with pytest.raises(DataError, match=words):
        prove(source, tmp_path / "b", gone(source, 2))


def test_a_copy_that_cannot_be_read(tmp_path: Path) -> None:
    source = folder(tmp_path / "a", ROWS)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r": no data\.jsonl or data\.csv found"):
        prove(source, tmp_path / "b", gone(source, 2))


def test_pictures_in_a_shard_are_compared_by_their_bytes(tmp_path: Path) -> None:
    for number, shade in enumerate((0, 90, 180)):
        image_files.save_png(np.full((4, 4, 3), shade, np.uint8), tmp_path / f"{number}.png")

    def shard(name: str, pictures: Sequence[int]) -> Any:
        (tmp_path / name).mkdir()
        with tarfile.open(tmp_path / name / "0.tar", "w") as file:
            for place, number in enumerate(pictures):
                (tmp_path / "text").write_text("The same words.")
                file.add(tmp_path / f"{number}.png", f"{place}.png")
                file.add(tmp_path / "text", f"{place}.txt")
        return api.source({"kind": "webdataset", "path": str(tmp_path / name)})

    source = shard("a", (0, 1, 2))
    place = (str(tmp_path / "a" / "0.tar"), 0)
    shard("right", (1, 2))
    prove(source, tmp_path / "right", [place])
    shard("wrong", (0, 2))
    with pytest.raises(DataError, match=r"row 1 of 0\.tar has changed"):
        prove(source, tmp_path / "wrong", [place])
