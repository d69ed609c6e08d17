"""Against GQA's own script, as MILVLG/openvqa has it, whole sets of questions at a time."""

from __future__ import annotations

from typing import Any

import pytest
from parity._golden import golden

from sightweave.answers.metrics import exact_match, gqa_consistency
from sightweave.core.types import Sample


def sample(question: dict[str, Any]) -> Sample:
    tags = {"entailed": " ".join(question["entailed"]), "balanced": str(question["balanced"]).lower()}
    return Sample(id=question["id"], task="vqa", parts=(), references=(question["answer"],), tags=tags)


def test_consistency_and_accuracy_are_the_scripts() -> None:
    sets = golden("gqa_consistency")["sets"]
    assert sum(len(one["questions"]) for one in sets) == 2382
    for one in sets:
        samples = [sample(question) for question in one["questions"]]
        answers = [question["prediction"] for question in one["questions"]]
        metric = gqa_consistency.Config().build()
        found = metric.total(metric.rows(answers, samples).sum(0))
        assert found == pytest.approx(one["consistency"], abs=1e-9, rel=0)
        rows = exact_match.Config().build().rows(answers, samples)
        balanced = [question["balanced"] for question in one["questions"]]
        assert rows[balanced, 0].mean() == pytest.approx(one["accuracy"], abs=1e-9, rel=0)
