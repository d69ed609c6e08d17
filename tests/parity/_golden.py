"""Inputs and outputs of other people's scorers, kept beside the tests."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core.types import Sample


def golden(name: str) -> dict[str, Any]:
    """The content of ``golden/NAME.json.gz``; its header names the repository, the commit and the command."""
    return json.loads(gzip.decompress((Path(__file__).parent / "golden" / f"{name}.json.gz").read_bytes()))


def scores(metric: Any, cases: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The metric's score of each case alone: R."""
    samples = [
        Sample(id=str(number), task="vqa", parts=(), references=tuple(case["references"]))
        for number, case in enumerate(cases)
    ]
    return metric.total(metric.rows([case["answer"] for case in cases], samples))


def assert_equal(found: np.ndarray, wanted: Sequence[float], cases: Sequence[Any]) -> None:
    """Equal to 1e-9, with the first case that is not in the message."""
    off = np.flatnonzero(~(np.abs(found - np.asarray(wanted, dtype=np.float64)) <= 1e-9))
    assert off.size == 0, f"{off.size} of {len(cases)}: {cases[off[0]]!r} scores {found[off[0]]}"
