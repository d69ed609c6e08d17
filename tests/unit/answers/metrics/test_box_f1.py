"""Box F1: matches, misses and extra boxes over a corpus."""

import numpy as np
import pytest

from sightweave.answers.metrics import box_f1
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Sample

REFERENCE = "[0 0 500 200] a\n[0 300 500 500] b"


def sample(reference: str = REFERENCE) -> Sample:
    return Sample(id="s", task="reading", parts=(), references=(reference,))


def test_rows_count_matches_and_boxes() -> None:
    metric = box_f1.Config().build()
    answers = [REFERENCE, "[0 0 500 200] z", "[0 0 500 99] a\n[0 300 400 500] b\n[600 0 900 90] c", None]
    rows = metric.rows(answers, [sample()] * 4)
    assert rows.tolist() == [[2, 2, 2], [1, 1, 2], [1, 3, 2], [0, 0, 2]]
    assert metric.total(rows.sum(0)) == pytest.approx(2 * 4 / (6 + 8))
    assert metric.total(rows[0]) == 1


def test_the_threshold_is_an_option() -> None:
    rows = box_f1.Config(threshold=0.4).build().rows(["[0 0 500 99] a"], [sample("[0 0 500 200] a")])
    assert rows.tolist() == [[1, 1, 1]]
    with pytest.raises(RecipeError, match="threshold must be above 0 and at most 1"):
        box_f1.BoxF1(threshold=0)


def test_samples_without_boxes_do_not_count() -> None:
    metric = box_f1.Config().build()
    rows = metric.rows(["a", REFERENCE], [sample("a"), sample()])
    assert rows.tolist() == [[0, 0, 0], [2, 2, 2]]
    assert np.isnan(metric.total(rows[0]))
    with pytest.raises(DataError, match="has text regions in its reference"):
        metric.rows(["a"], [sample("a")])
