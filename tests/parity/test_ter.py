"""Translation edit rate against sacreBLEU's corpus_ter: single rows, whole sets, and sets drawn with replacement."""

from __future__ import annotations

import pytest
import sacrebleu
from parity._sacre_texts import Corpus, drawn, draws, hard

from sightweave.answers.metrics.ter import Ter

CORPORA = [drawn("en-de", seed=0), drawn("en-zh", seed=1), drawn("en-ru", seed=2), hard()]


def theirs(corpus: Corpus, rows: list[int] | None, **options: bool) -> float:
    answers, references = corpus.streams(rows)
    return sacrebleu.TER(**options).corpus_score(answers, references).score / 100


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.name)
def test_rates_are_those_of_the_library(corpus: Corpus) -> None:
    metric = Ter()
    rows = metric.rows(corpus.answers, corpus.samples)
    assert metric.total(rows.sum(0)) == pytest.approx(theirs(corpus, None), abs=1e-9)
    single = [theirs(corpus, [n]) for n in range(len(rows))]
    assert metric.total(rows) == pytest.approx(single, abs=1e-9)
    for draw in draws(corpus, count=4, largest=100):
        assert metric.total(rows[draw].sum(0)) == pytest.approx(theirs(corpus, draw), abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"case_sensitive": True},
        {"normalized": True},
        {"no_punct": True},
        {"normalized": True, "asian_support": True},
        {"no_punct": True, "asian_support": True, "case_sensitive": True},
    ],
)
def test_every_option_is_the_librarys(options: dict[str, bool]) -> None:
    corpus = drawn("en-zh", count=100, seed=3)
    metric = Ter(**options)
    ours = metric.total(metric.rows(corpus.answers, corpus.samples).sum(0))
    assert ours == pytest.approx(theirs(corpus, None, **options), abs=1e-9)


def test_the_signature_is_the_librarys() -> None:
    corpus = drawn(count=10)
    answers, references = corpus.streams()
    ter = sacrebleu.TER(case_sensitive=True)
    ter.corpus_score(answers, references)
    assert Ter(case_sensitive=True).signature(corpus.samples) == str(ter.get_signature())
