"""ChrF against sacreBLEU's corpus_chrf: single rows, whole sets, and sets drawn with replacement."""

from __future__ import annotations

import pytest
import sacrebleu
from parity._sacre_texts import Corpus, drawn, draws, hard

from sightweave.answers.metrics.chrf import Chrf

CORPORA = [drawn("en-de", seed=0), drawn("en-zh", seed=1), drawn("en-ru", seed=2), hard()]


def theirs(corpus: Corpus, rows: list[int] | None, **options: int | bool) -> float:
    answers, references = corpus.streams(rows)
    return sacrebleu.CHRF(**options).corpus_score(answers, references).score / 100


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.name)
def test_scores_are_those_of_the_library(corpus: Corpus) -> None:
    metric = Chrf()
    rows = metric.rows(corpus.answers, corpus.samples)
    assert metric.total(rows.sum(0)) == pytest.approx(theirs(corpus, None, word_order=2), abs=1e-9)
    single = [theirs(corpus, [n], word_order=2) for n in range(len(rows))]
    assert metric.total(rows) == pytest.approx(single, abs=1e-9)
    for draw in draws(corpus, count=6):
        assert metric.total(rows[draw].sum(0)) == pytest.approx(theirs(corpus, draw, word_order=2), abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"word_order": 0},
        {"word_order": 1, "char_order": 3},
        {"word_order": 2, "beta": 1},
        {"word_order": 2, "beta": 3, "lowercase": True},
    ],
)
def test_every_option_is_the_librarys(options: dict[str, int | bool]) -> None:
    corpus = drawn(count=100, seed=3)
    metric = Chrf(**options)
    rows = metric.rows(corpus.answers, corpus.samples)
    assert rows.shape == (100, 3 * (metric.word_order + metric.char_order) + 1)
    assert metric.total(rows.sum(0)) == pytest.approx(theirs(corpus, None, **options), abs=1e-9)


def test_the_signature_is_the_librarys() -> None:
    corpus = drawn(count=10)
    answers, references = corpus.streams()
    chrf = sacrebleu.CHRF(word_order=2)
    chrf.corpus_score(answers, references)
    assert Chrf().signature(corpus.samples) == str(chrf.get_signature())
