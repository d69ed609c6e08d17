"""Structure-BLEU: texts count only in their place, and copying the source is worth nothing."""

import numpy as np
import pytest

from sightweave.answers.metrics import structure_bleu
from sightweave.core.types import Sample

REFERENCE = "[0 0 500 200] der große Schläger ist hier\n[0 300 500 500] bitte warten"
SOURCE = "[0 0 500 200] the big bat is here\n[0 300 500 500] please wait"


def score(answer: str | None, reference: str = REFERENCE) -> float:
    metric = structure_bleu.Config().build()
    sample = Sample(
        id="s", task="image_translation", parts=(), references=(reference,), tags={"languages": "en-de"}
    )
    return float(metric.total(metric.rows([answer], [sample]).sum(0)))


def test_the_reference_itself_is_perfect() -> None:
    assert score(REFERENCE) == pytest.approx(1)
    assert score("\n".join(reversed(REFERENCE.split("\n")))) == pytest.approx(1)
    assert score("[0 0 500 200] Fledermaus", "[0 0 500 200] Fledermaus") == pytest.approx(1)


def test_a_misplaced_or_missing_text_costs() -> None:
    assert 0 < score("[0 0 500 200] der große Schläger ist hier") < 0.9
    assert score("[500 600 900 900] der große Schläger ist hier") == 0
    assert score(None) == 0


def test_copying_the_source_is_worth_nothing() -> None:
    assert score(SOURCE) == 0


def test_no_rows_have_no_score() -> None:
    metric = structure_bleu.StructureBleu()
    assert np.isnan(metric.total(np.zeros(22)))


def test_the_score_of_a_copy_of_the_source_is_given_too() -> None:
    metric = structure_bleu.StructureBleu()
    shared = "[0 0 500 200] Hotel Ritz"
    for source, expected in ((SOURCE, 0.0), (shared, 1.0)):
        reference = REFERENCE if source == SOURCE else shared
        sample = Sample(
            id="s", task="image_translation", parts=(), references=(reference,), tags={"source": source}
        )
        sums = metric.rows([None], [sample]).sum(0)
        assert float(metric.totals(sums)["copy_of_source"]) == pytest.approx(expected)
        assert metric.total(sums) == 0
    plain = Sample(id="s", task="image_translation", parts=(), references=(REFERENCE,))
    assert np.isnan(metric.totals(metric.rows([None], [plain]).sum(0))["copy_of_source"])
