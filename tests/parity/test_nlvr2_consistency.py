"""Against the authors' script (lil-lab/nlvr), whole sets of sentences at a time."""

from __future__ import annotations

import pytest
from parity._golden import golden

from sightweave.answers.metrics import exact_match, nlvr2_consistency
from sightweave.core.types import Sample


def sample(identifier: str, label: str) -> Sample:
    split, group, _, sentence = identifier.split("-")
    tags = {"consistency": f"{split}-{group}-{sentence}"}
    return Sample(id=identifier, task="vqa", parts=(), references=(label,), tags=tags)


def test_consistency_and_accuracy_are_the_scripts() -> None:
    sets = golden("nlvr2_consistency")["sets"]
    assert sum(len(one["sentences"]) for one in sets) == 2281
    for one in sets:
        samples = [sample(row["identifier"], row["label"]) for row in one["sentences"]]
        answers = [row["answer"] for row in one["sentences"]]
        for metric, name in (
            (nlvr2_consistency.Config().build(), "consistency"),
            (exact_match.Config().build(), "accuracy"),
        ):
            found = metric.total(metric.rows(answers, samples).sum(0))
            assert found == pytest.approx(one[name], abs=1e-9, rel=0), name
