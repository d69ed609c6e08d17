"""BLEU against sacreBLEU's corpus_bleu: single rows, whole sets, and sets drawn with replacement."""

from __future__ import annotations

import pytest
import sacrebleu
from parity._sacre_texts import Corpus, drawn, draws, hard

from sightweave.answers.metrics.sacre_bleu import SacreBleu

CORPORA = [
    drawn("en-de", seed=0),
    drawn("en-zh", seed=1),
    drawn("en-ru", seed=2),
    hard("en-de"),
    hard("en-zh"),
]


def theirs(corpus: Corpus, rows: list[int] | None, tokenize: str, lowercase: bool) -> float:
    answers, references = corpus.streams(rows)
    found = sacrebleu.corpus_bleu(answers, references, tokenize=tokenize, lowercase=lowercase, force=True)
    return found.score / 100


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.name)
@pytest.mark.parametrize("lowercase", [False, True])
def test_scores_are_those_of_the_library(corpus: Corpus, lowercase: bool) -> None:
    tokenize = "zh" if corpus.name.endswith("zh") else "13a"
    metric = SacreBleu(tokenize="auto", lowercase=lowercase)
    rows = metric.rows(corpus.answers, corpus.samples)
    assert metric.total(rows.sum(0)) == pytest.approx(theirs(corpus, None, tokenize, lowercase), abs=1e-9)
    single = [theirs(corpus, [n], tokenize, lowercase) for n in range(len(rows))]
    assert metric.total(rows) == pytest.approx(single, abs=1e-9)
    for draw in draws(corpus):
        assert metric.total(rows[draw].sum(0)) == pytest.approx(
            theirs(corpus, draw, tokenize, lowercase), abs=1e-9
        )


@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "char", "none"])
def test_every_tokenizer_is_the_librarys(tokenize: str) -> None:
    corpus = drawn("en-zh", count=100, seed=3)
    metric = SacreBleu(tokenize=tokenize)
    ours = metric.total(metric.rows(corpus.answers, corpus.samples).sum(0))
    assert ours == pytest.approx(theirs(corpus, None, tokenize, False), abs=1e-9)
    assert 0.1 < ours < 0.95


def test_the_signature_is_the_librarys() -> None:
    corpus = drawn(count=10)
    answers, references = corpus.streams()
    bleu = sacrebleu.BLEU(tokenize="13a", lowercase=True)
    bleu.corpus_score(answers, references)
    assert SacreBleu(lowercase=True).signature(corpus.samples) == str(bleu.get_signature())
