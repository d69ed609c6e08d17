"""Against the authors' script (AoiDragon/POPE) and lmms-eval, whole sets of questions at a time."""

from __future__ import annotations

import numpy as np
import pytest
from parity._golden import golden

from sightweave.answers.metrics import pope
from sightweave.core.types import Sample


@pytest.mark.parametrize("parser", ["official", "exact"])
def test_every_total_is_theirs(parser: str) -> None:
    sets = golden("pope")[parser]
    assert sum(len(one["questions"]) for one in sets) >= 2000
    metric = pope.Config(parser=parser).build()
    for one in sets:
        samples = [
            Sample(id=str(number), task="vqa", parts=(), references=(question["reference"],))
            for number, question in enumerate(one["questions"])
        ]
        sums = metric.rows([question["answer"] for question in one["questions"]], samples).sum(0)
        found = metric.totals(sums)
        assert metric.total(sums) == found["accuracy"]
        for name, wanted in one["totals"].items():
            # lmms-eval calls 0 what cannot be divided; the authors' script stops there.
            value = np.nan_to_num(found[name]) if parser == "exact" else found[name]
            assert value == pytest.approx(wanted, abs=1e-9, rel=0), (name, one["questions"])
