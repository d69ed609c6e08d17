"""Contestants of a benchmark must agree before anything is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTESTANT = """
import numpy as np


class Contestant:
    parameters = 3

    def __init__(self, shape, folder, option=""):
        self.value = float(option)

    def prepare(self, work):
        return lambda: {"loss": np.array([self.value])}
"""


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "trivial_contestant.py").write_text(CONTESTANT, encoding="utf-8")
    from benchmarks import _harness

    return _harness


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize(("second", "agree"), [("1.0", True), ("1.01", False)])
def test_only_contestants_that_agree_are_timed(harness, tmp_path: Path, second: str, agree: bool) -> None:
    who = [harness.Entry(name, "trivial_contestant", value) for name, value in (("a", "1.0"), ("b", second))]
    shape, work = harness.SHAPES["tiny"], harness.Work("forward", 1, 4, 1)

    def race():
        return harness.race(who, shape, work, tmp_path, rounds=1, core=-1, warm=1)

    if agree:
        results = race()
        assert [(one.name, one.parameters) for one in results] == [("a", 3), ("b", 3)]
        assert all(one.gflops > 0 and one.seconds >= 0 for one in results)
    else:
        with pytest.raises(SystemExit, match=r"b and a differ in loss: \[1\.01\] and \[1\.0\]"):
            race()
