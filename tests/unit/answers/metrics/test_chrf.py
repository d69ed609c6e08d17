"""ChrF: worked by hand, its best reference, and what cannot be scored."""

import numpy as np
import pytest

from sightweave.answers.metrics import chrf
from sightweave.answers.metrics.chrf import Chrf
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="translation", parts=(), references=references)


def test_a_worked_example():
    metric = Chrf(char_order=1, word_order=1)
    rows = metric.rows(["ab"], [sample("abc d")])
    assert rows.tolist() == [[2, 4, 2, 1, 2, 0, 1]]
    # Characters: 2 of 2 and 2 of 4; words: 0 of 1 and 0 of 2. P = 1/2, R = 1/4.
    assert metric.total(rows[0]) == pytest.approx(5 * 0.5 * 0.25 / (4 * 0.5 + 0.25))


def test_orders_that_do_not_occur_on_both_sides_are_left_out():
    metric = Chrf()
    assert metric.total(metric.rows(["ab"], [sample("ab")])[0]) == 1  # no trigram, and no pair of words
    assert metric.total(metric.rows(["ab"], [sample("abcdefgh ij")])[0]) < 1


def test_the_default_is_chrf_plus_plus():
    assert chrf.Config().build().signature([sample("a")]).startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:2|")
    assert chrf.Config(word_order=0).build().rows(["a"], [sample("a")]).shape == (1, 19)


def test_a_row_counts_the_reference_that_fits_best():
    metric = Chrf()
    both = metric.rows(["a red mouse"], [sample("ein roter Hund", "a red mouse!")])
    assert both.tolist() == metric.rows(["a red mouse"], [sample("a red mouse!")]).tolist()


def test_case_counts_unless_it_is_ignored():
    assert Chrf().total(Chrf().rows(["MOUSE"], [sample("mouse")])[0]) == 0
    assert Chrf().total(Chrf(lowercase=True).rows(["MOUSE"], [sample("mouse")])[0]) == 1


def test_sums_score_the_whole_set_and_stacks_are_scored_at_once():
    metric = Chrf(char_order=1, word_order=0, beta=1)
    rows = metric.rows(["ab", None, "x"], [sample("ab"), sample("cd"), sample("y")])
    assert metric.total(rows).tolist() == [1, 0, 0]
    assert metric.total(rows.sum(0)) == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))
    assert np.isnan(metric.total(np.zeros((2, 4)))).all()
    assert metric.rows([], []).shape == (0, 4)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match=r"chrf: 1 prediction\(s\) for 2 sample\(s\)"):
        Chrf().rows(["a"], [sample("a"), sample("b")])
    with pytest.raises(DataError, match=r"chrf: 1 of 1 sample\(s\) have no reference"):
        Chrf().rows(["a"], [sample()])
    with pytest.raises(RecipeError, match=r"char_order and beta 1 or more \(got 2, 0 and 2\)"):
        Chrf(char_order=0)
