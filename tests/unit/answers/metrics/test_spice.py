"""SPICE: what is missing is named, and the program's output is read or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import spice
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="captioning", parts=(), references=references)


def output(path: Path, *scores: object) -> Path:
    told = [{"image_id": n, "scores": {"All": {"f": score}}} for n, score in enumerate(scores)]
    path.write_text(json.dumps(told[::-1]))
    return path


def test_scores_come_in_the_order_of_the_samples(tmp_path: Path) -> None:
    found = spice.read_scores(output(tmp_path / "told.json", 0.25, 1, 0.0), ["a", "b", "c"])
    assert found.tolist() == [0.25, 1, 0]


def test_other_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="not computed: no scores"):
        spice.read_scores(tmp_path / "none.json", ["a"])
    with pytest.raises(BackendError, match=r"2 score\(s\) for 1 answer\(s\)"):
        spice.read_scores(output(tmp_path / "told.json", 0.25, 1), ["a"])
    with pytest.raises(DataError, match="1 of 2 samples have no score, the first being 'b'"):
        spice.read_scores(output(tmp_path / "told.json", 0.25, None), ["a", "b"])


def test_without_the_program_nothing_is_computed(tmp_path: Path) -> None:
    metric = spice.Config(folder=str(tmp_path), java="no-such-java").build()
    with pytest.raises(
        BackendError, match=r"not computed: needs Java and spice-1\.0\.jar, but .* has no such file"
    ):
        metric.rows(["a"], [sample("a")])
    (tmp_path / spice.JAR).write_bytes(b"no jar")
    with pytest.raises(
        BackendError, match=r"not computed: needs Java and .* the program 'no-such-java' was not found"
    ):
        metric.rows(["a"], [sample("a")])
    with pytest.raises(DataError, match="spice: 1 of 1 samples have no reference"):
        metric.rows(["a"], [sample()])


def test_the_total_is_the_mean() -> None:
    found = spice.Spice().total(np.array([[1.0, 2], [0, 0]]))
    assert found[0] == 0.5
    assert np.isnan(found[1])
