"""Evaluations of answers that are right where a test says so, and the folders that runs leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from sightweave.core.types import Part, Prediction, Sample
from sightweave.programs.evaluation.program import evaluate
from sightweave.programs.evaluation.scores import Evaluation

TYPES = ("colour", "count")


def samples(count: int, *, task: str = "vqa", prefix: str = "q") -> list[Sample]:
    """Questions without pictures: one of each type for each group."""
    return [
        Sample(
            id=f"{prefix}{n}",
            task=task,
            parts=(Part("user", f"question {n}"), Part("assistant", f"answer {n}", learn=True)),
            references=(f"answer {n}",),
            tags={"type": TYPES[n % 2]},
            group=f"picture {n // 2}",
        )
        for n in range(count)
    ]


def evaluated(
    asked: Sequence[Sample], is_right: Callable[[int], bool], *, split: str = "scenes"
) -> Evaluation:
    """Scores answers that are right for the numbers of samples that `is_right` names."""
    right = {sample.id: is_right(number) for number, sample in enumerate(asked)}

    def predict(some: Sequence[Sample], texts: Sequence[Sequence[str]], *, write: bool) -> list[Prediction]:
        return [Prediction(one.references[0] if right[one.id] else "wrong") for one in some]

    return evaluate(asked, predict, split=split, controls=(), can_score=False)


def write(folder: Path, evaluations: Sequence[Evaluation], **more: object) -> Path:
    """Writes ``evaluation.json`` and ``predictions.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format_version": 2, **more, "splits": [one.to_json() for one in evaluations]}
    (folder / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    rows = [row for one in evaluations for row in one.predictions()]
    (folder / "predictions.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8"
    )
    return folder
