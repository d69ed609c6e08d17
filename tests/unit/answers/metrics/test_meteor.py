"""METEOR: the formula on the program's counts, and plain words where the program is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import meteor
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample

SAME = "3 3 1 1 2 2 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 3 3"  # three words, all matched in one piece
HALF = "2 2 1 1 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1"  # "a dog" and "a cat"
NONE = "0 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"


def sample(*references: str) -> Sample:
    return Sample(id="x", task="captioning", parts=(), references=references)


def test_the_formula_worked_by_hand() -> None:
    rows = meteor.counts([SAME, HALF, NONE])
    assert rows.shape == (3, 24)
    scores = meteor.Config().build().total(rows)
    # Only the function word matches: P = R = 0.25 / (0.75 + 0.25), in one piece of one word.
    np.testing.assert_allclose(scores, [1, 0.25 * (1 - 0.6), 0])
    assert np.isnan(meteor.Meteor().total(np.zeros(24)))


def test_an_equal_answer_adds_no_piece_to_the_corpus() -> None:
    rows = meteor.counts([SAME, HALF])
    assert rows.sum(0)[20] == 1
    share = (0.75 * 2 + 0.25 * 2) / (0.75 * 3 + 0.25 * 2)
    assert meteor.Meteor().total(rows.sum(0)) == pytest.approx(share * (1 - 0.6 * (1 / 4) ** 0.2))


def test_other_output_is_refused() -> None:
    with pytest.raises(BackendError, match="instead of lines of 23 numbers"):
        meteor.counts(["Usage: meteor"])
    with pytest.raises(BackendError, match="instead of lines of 23 numbers"):
        meteor.counts(["1 2 3"])


def test_without_the_program_nothing_is_computed(tmp_path: Path) -> None:
    with pytest.raises(
        BackendError, match=r"not computed: needs Java and meteor-1\.5\.jar, but .* has no such file"
    ):
        meteor.Meteor(folder=str(tmp_path)).rows(["a"], [sample("a")])
    (tmp_path / meteor.JAR).write_bytes(b"no jar")
    with pytest.raises(
        BackendError, match=r"not computed: needs Java and .* the program 'no-such-java' was not found"
    ):
        meteor.Meteor(folder=str(tmp_path), java="no-such-java").rows(["a"], [sample("a")])
    with pytest.raises(DataError, match="meteor: 1 of 1 samples have no reference"):
        meteor.Meteor().rows(["a"], [sample()])
