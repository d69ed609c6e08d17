"""Against GQA's own script, as MILVLG/openvqa has it: all its other scores, whole sets of questions at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parity._golden import golden

from sightweave.answers.metrics import gqa_binary, gqa_distribution, gqa_open, gqa_plausibility, gqa_validity
from sightweave.core.types import Sample

SETS: list[dict[str, Any]] = golden("gqa_scores")["sets"]


def sample(question: dict[str, Any]) -> Sample:
    tags = {
        "balanced": str(question["balanced"]).lower(),
        "type": question["structural"],
        "detailed": question["detailed"],
        "group_global": question["group"] or "",
    }
    return Sample(
        id=question["id"],
        task="vqa",
        parts=(),
        references=(question["answer"],),
        tags={name: text for name, text in tags.items() if text},
    )


def score(metric: Any, questions: list[dict[str, Any]]) -> float:
    rows = metric.rows([one["prediction"] for one in questions], [sample(one) for one in questions])
    return float(metric.total(rows.sum(0)))


def test_the_number_of_inputs() -> None:
    header = golden("gqa_scores")["header"]
    assert (header["fuzzed"], header["adversarial"]) == (2318, 217)
    assert sum(len(one["questions"]) for one in SETS) == 2318 + 217


@pytest.mark.parametrize("name", ["validity", "plausibility"])
def test_answers_among_choices_are_the_scripts(name: str, tmp_path: Path) -> None:
    module = {"validity": gqa_validity, "plausibility": gqa_plausibility}[name]
    for number, one in enumerate(SETS):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(one["choices"]), encoding="utf-8")
        found = score(module.Config(choices=str(path)).build(), one["questions"])
        assert found == pytest.approx(one[name], abs=1e-9, rel=0)


@pytest.mark.parametrize("name", ["binary", "open"])
def test_accuracies_by_structure_are_the_scripts(name: str) -> None:
    metric = {"binary": gqa_binary, "open": gqa_open}[name].Config().build()
    wanted = [float("nan") if one[name] is None else one[name] for one in SETS]
    found = [score(metric, one["questions"]) for one in SETS]
    assert found == pytest.approx(wanted, abs=1e-9, rel=0, nan_ok=True)
    assert sum(one[name] is not None for one in SETS) > 30


def test_distributions_are_the_scripts() -> None:
    metric = gqa_distribution.Config().build()
    for one in SETS:
        assert score(metric, one["questions"]) == pytest.approx(one["distribution"], abs=1e-9, rel=0)
