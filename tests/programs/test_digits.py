"""Real handwritten digits given as Python objects: 1,797 scans, one question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import sightweave

RECIPE = Path(__file__).parents[2] / "recipes" / "digits.yaml"
QUESTION = "Which digit is this?"


def records() -> list[dict[str, Any]]:
    """Every scan as a picture of 8 x 8 grey values; every fifth is held out."""
    data = load_digits()
    return [
        {
            "image": np.round(scan * 255 / 16).astype(np.uint8),
            "question": QUESTION,
            "answer": str(digit),
            "split": "test" if index % 5 == 0 else "train",
        }
        for index, (scan, digit) in enumerate(zip(data.images, data.target, strict=True))
    ]


@pytest.mark.slow
def test_held_out_scans_are_read(tmp_path: Path) -> None:
    scans = records()
    assert len(scans) == 1797
    run = sightweave.train(RECIPE, "train.num_threads=1", data=scans, out=tmp_path / "run", evaluate=False)
    (evaluation,) = sightweave.evaluate(run, data=scans)
    (task,) = evaluation.tasks
    assert evaluation.count == sum(scan["split"] == "test" for scan in scans) == 360
    assert task.score.value >= 0.95
    assert task.controls["no_image"].value <= 0.2  # one digit of ten, whichever it says
    # The run's folder answers too, from the array itself.
    again = sightweave.load(tmp_path / "run")
    right = [again.generate(scan["image"], QUESTION).text == scan["answer"] for scan in scans[:100:5]]
    assert sum(right) >= 17
