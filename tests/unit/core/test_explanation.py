"""Explanations as values: shares, the best place, plain data and the representation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sightweave.core.explanation import Explanation, MediumValues


def made(image: list[list[float]], words: list[float] | None = None) -> Explanation:
    return Explanation(
        method="occlusion",
        answer="a red ball",
        word="red",
        against=None,
        score=1.5,
        unit="nats",
        media=(MediumValues("a.png", "image", np.array(image, np.float32)),),
        tokens=("what", "?"),
        token_values=None if words is None else np.array(words, np.float32),
        completeness_error=0.004,
    )


def test_the_best_place_is_the_first_of_the_largest() -> None:
    assert made([[1, 3], [3, 0]]).media[0].best == (0, 1)


def test_the_share_on_media_counts_absolute_values() -> None:
    assert made([[1, -2], [0, 0]], [0.5, -0.5]).medium_share == pytest.approx(0.75)
    assert made([[1, 0]]).medium_share == 1.0
    assert math.isnan(made([[0, 0]], [0, 0]).medium_share)


def test_plain_data_is_json_with_every_field() -> None:
    found = json.loads(json.dumps(made([[1, 2]], [0.5, 0]).to_plain()))
    assert found.keys() == Explanation.__dataclass_fields__.keys()
    assert found["media"] == [{"name": "a.png", "modality": "image", "values": [[1, 2]]}]
    assert found["token_values"] == [0.5, 0]
    assert made([[1]]).to_plain()["token_values"] is None


def test_the_representation_is_short() -> None:
    assert repr(made([[1, 2]])) == (
        "Explanation(occlusion of 'red' in 'a red ball', score=1.5, a.png: 1x2, completeness_error=0.004)"
    )
