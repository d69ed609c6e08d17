"""BLEU: worked by hand, its tokenizers by language, and what cannot be scored."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from sightweave.answers.metrics import sacre_bleu
from sightweave.answers.metrics.sacre_bleu import SacreBleu
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Sample


def sample(*references: str, languages: str = "en-de") -> Sample:
    return Sample(id="x", task="translation", parts=(), references=references, tags={"languages": languages})


def score(answer: str | None, *references: str, languages: str = "en-de") -> float:
    metric = sacre_bleu.Config().build()
    return float(metric.total(metric.rows([answer], [sample(*references, languages=languages)]).sum(0)))


@pytest.mark.parametrize(
    ("answer", "reference", "wanted"),
    [
        ("the cat sat on the mat", "the cat sat on a mat", (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25),
        ("a b c x", "a b c d", (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25),  # no 4-gram: half a match of 1
        ("a b x y", "a b c d", (2 / 4 * 1 / 3 * 1 / 4 * 1 / 4) ** 0.25),  # 1/2 of 2, then 1/4 of 1
        ("a b c d", "a b c d e f g h", np.exp(-1)),
        ("a b c d e f g h", "a b c d", (4 / 8 * 3 / 7 * 2 / 6 * 1 / 5) ** 0.25),
        ("A b c d", "A b c d", 1.0),
        ("a b c", "a b c", 0.0),  # too short for any 4-gram
        ("x", "a b c d", 0.0),
        (None, "a b c d", 0.0),
    ],
)
def test_worked_examples(answer, reference, wanted):
    assert score(answer, reference) == pytest.approx(wanted, abs=1e-12)


def test_of_several_references_the_closest_length_counts_and_any_may_match():
    metric = SacreBleu()
    rows = metric.rows(["a b c d"], [sample("a b x x x x", "c d", "y y y y y")])
    # Length 4 is as far from 2 as from 6, and nearest to 5.
    assert rows.tolist() == [[4, 5, 4, 2, 0, 0, 4, 3, 2, 1, 1]]


def test_sums_of_rows_score_the_whole_set_and_stacks_are_scored_at_once():
    metric = SacreBleu()
    rows = metric.rows(["a b c d", None, "e f g h i"], [sample("a b c d"), sample("x"), sample("e f g h")])
    whole = (8 / 9 * 6 / 7 * 4 / 5 * 2 / 3) ** 0.25
    assert metric.total(rows.sum(0)) == pytest.approx(whole)
    assert metric.total(np.stack([rows.sum(0), rows[0]])).tolist() == pytest.approx([whole, 1.0])
    assert np.isnan(metric.total(np.zeros(11)))
    assert metric.total(rows[1]) == 0
    assert metric.rows([], []).shape == (0, 11)


@pytest.mark.parametrize(
    ("languages", "tokens"),
    [
        ("en-zh", 4),
        ("en-zh-Hant", 4),
        ("en-zh_CN", 4),
        ("zh-Hant-en", 1),
        ("zh-en", 1),
        ("en-de", 1),
        ("", 1),
    ],
)
def test_chinese_is_cut_into_characters_only_where_it_is_the_target(languages, tokens):
    rows = SacreBleu().rows(["\u8fd9\u662f\u72d7\u3002"], [sample("x", languages=languages)])
    assert rows[0, 0] == tokens


def test_each_row_gets_the_tokenizer_of_its_own_language():
    samples = [sample("\u8fd9\u662f\u72d7\u3002", languages="en-zh"), sample("Ein Hund.", languages="en-de")]
    metric = SacreBleu()
    rows = metric.rows(["\u8fd9\u662f\u72d7\u3002", "Ein Hund."], samples)
    assert rows[:, 0].tolist() == [4, 3]
    assert [part.split("|")[3] for part in metric.signature(samples).split(" + ")] == ["tok:13a", "tok:zh"]
    assert "tok:zh" in metric.signature(samples[:1])
    assert "+" not in metric.signature(samples[:1])


def test_the_signature_says_what_was_computed():
    found = SacreBleu(lowercase=True).signature([sample("a", "b")])
    assert found.startswith("nrefs:2|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert SacreBleu().signature([sample("a", "b"), sample("a")]).startswith("nrefs:var|case:mixed|")


def test_case_counts_unless_it_is_ignored():
    assert SacreBleu().rows(["A B"], [sample("a b")])[0, 2] == 0
    assert sacre_bleu.Config(lowercase=True).build().rows(["A B"], [sample("a b")])[0, 2] == 2


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match=r"1 prediction\(s\) for 2 sample\(s\)"):
        SacreBleu().rows(["a"], [sample("a"), sample("b")])
    with pytest.raises(DataError, match=r"1 of 2 sample\(s\) have no reference translation.*'x'"):
        SacreBleu().rows(["a", "b"], [sample("a"), sample()])
    with pytest.raises(RecipeError, match=r"no tokenizer '13b'\. Did you mean '13a'"):
        SacreBleu(tokenize="13b")


@pytest.mark.skipif(importlib.util.find_spec("MeCab") is not None, reason="MeCab is installed")
def test_a_missing_tokenizer_says_what_to_install():
    with pytest.raises(BackendError, match=r'pip install "sacrebleu\[ja\]".*char'):
        SacreBleu().rows(["a"], [sample("a", languages="en-ja")])


def test_the_library_is_loaded_only_when_something_is_scored():
    code = (
        "import sys; from sightweave.answers.metrics import sacre_bleu, chrf, ter;"
        "[m.Config().build() for m in (sacre_bleu, chrf, ter)]; sys.exit('sacrebleu' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
