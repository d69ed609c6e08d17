"""Translation edit rate: worked by hand, several references, and what cannot be scored."""

import numpy as np
import pytest

from sightweave.answers.metrics import ter
from sightweave.answers.metrics.ter import Ter
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="translation", parts=(), references=references)


@pytest.mark.parametrize(
    ("answer", "reference", "edits", "words", "rate"),
    [
        ("a b c d", "a b c d", 0, 4, 0.0),
        ("a x c", "a b c d", 2, 4, 0.5),  # one changed, one missing
        ("b c d a", "a b c d", 1, 4, 0.25),  # one shift, where edits in place would be two
        ("A b c d", "a b c d", 0, 4, 0.0),
        ("a b c d e f", "a b", 4, 2, 2.0),
        (None, "a b c", 3, 3, 1.0),
        ("a b", "", 2, 0, 1.0),
        ("", "", 0, 0, 0.0),
    ],
)
def test_worked_examples(answer, reference, edits, words, rate):
    metric = ter.Config().build()
    rows = metric.rows([answer], [sample(reference)])
    assert rows.tolist() == [[edits, words, 1]]
    assert metric.total(rows.sum(0)) == rate


def test_of_several_references_the_fewest_edits_and_the_mean_length_count():
    assert Ter().rows(["a b c"], [sample("a b c d", "x y")]).tolist() == [[1, 3, 1]]


def test_sums_score_the_whole_set_and_stacks_are_scored_at_once():
    metric = Ter()
    rows = metric.rows(["a b", "c"], [sample("a x"), sample("c")])
    assert metric.total(rows.sum(0)) == pytest.approx(1 / 3)
    assert metric.total(rows).tolist() == [0.5, 0]
    assert np.isnan(metric.total(np.zeros(3)))
    assert metric.rows([], []).shape == (0, 3)


def test_options_change_what_a_word_is():
    chinese = "\u8fd9\u662f\u72d7"
    assert ter.Config(normalized=True, asian_support=True).build().rows(["x"], [sample(chinese)])[0, 1] == 3
    assert Ter().rows(["x"], [sample(chinese)])[0, 1] == 1
    assert Ter(no_punct=True).rows(["a b."], [sample("a b")])[0, 0] == 0
    assert Ter(case_sensitive=True).rows(["A"], [sample("a")])[0, 0] == 1
    assert Ter().signature([sample("a")]).startswith("nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|")


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match=r"ter: 1 prediction\(s\) for 2 sample\(s\)"):
        Ter().rows(["a"], [sample("a"), sample("b")])
    with pytest.raises(DataError, match=r"ter: 1 of 1 sample\(s\) have no reference"):
        Ter().rows(["a"], [sample()])
