"""CIDEr-D: weights by rarity, worked by hand; few pictures are refused; frozen frequencies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import cider_d
from sightweave.answers.scoring.frequencies import Frequencies
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(name: str, *references: str, group: str = "") -> Sample:
    return Sample(id=name, task="captioning", parts=(), references=references, group=group)


def corpus(count: int = 10) -> list[Sample]:
    return [sample(str(n), f"a red w{n} on the x{n}", f"one w{n} near y{n} there") for n in range(count)]


def test_an_answer_equal_to_each_reference_scores_ten() -> None:
    samples = [sample(str(n), f"a red w{n} on the x{n}") for n in range(10)]
    metric = cider_d.Config().build()
    rows = metric.rows([one.references[0] for one in samples], samples)
    np.testing.assert_allclose(rows[:, 0], 10)
    assert metric.total(rows.sum(0)) == pytest.approx(10)
    assert np.isnan(metric.total(np.zeros(2)))


def test_a_score_worked_by_hand() -> None:
    """Of ``dog runs`` and ``dog sits``, one rare word is shared; no pair is; both have one pair."""
    frequencies = Frequencies(10, {("dog",): 2, ("sits",): 5, ("dog", "sits"): 1})
    metric = cider_d.CiderD(frequencies=frequencies)
    dog, sits, runs = math.log(5), math.log(2), math.log(10)
    cosine = dog * dog / (math.hypot(dog, runs) * math.hypot(dog, sits))
    assert metric.rows(["Dog runs."], [sample("x", "dog sits")])[0, 0] == pytest.approx(10 * cosine / 4)
    longer = metric.rows(["dog runs"], [sample("x", "dog sits sits sits")])[0, 0]
    cosine = dog * dog / (math.hypot(dog, runs) * math.hypot(dog, 3 * sits))
    assert longer == pytest.approx(10 * cosine / 4 * math.exp(-(2**2) / 72))  # lengths are 1 and 3 pairs


def test_words_of_every_picture_weigh_nothing_and_missing_answers_score_nothing() -> None:
    rows = cider_d.CiderD().rows(["a red", None, "", *["w3"] * 7], corpus())
    assert rows[:, 0].tolist()[:3] == [0, 0, 0]
    assert rows[3, 0] > 0
    assert rows[4, 0] == 0
    assert rows[:, 1].tolist() == [1] * 10


def test_samples_of_one_picture_are_one_document() -> None:
    once = cider_d.frequencies_of([sample("x", "a dog", "a cat", group="p"), sample("y", "a dog", group="p")])
    assert once.pictures == 1
    assert once.counts[("a",)] == once.counts[("a", "dog")] == 1
    with pytest.raises(DataError, match=r"references of only 1 image\(s\).*at least 10.*df_path"):
        cider_d.CiderD().rows(["a"] * 12, [sample(str(n), "a dog", group="p") for n in range(12)])


def test_few_pictures_are_refused_unless_the_frequencies_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"references of only 9 image\(s\)"):
        cider_d.CiderD().rows(["a"] * 9, corpus(9))
    cider_d.frequencies_of(corpus()).save(tmp_path / "df.json")
    frozen = cider_d.Config(df_path=str(tmp_path / "df.json")).build()
    assert frozen.rows(["one w3 near"], corpus()[3:4])[0, 0] > 1
    with pytest.raises(DataError, match="cannot be read"):
        cider_d.Config(df_path=str(tmp_path / "none.json")).build()


def test_a_sample_without_references_is_refused_and_none_is_nothing() -> None:
    with pytest.raises(DataError, match="cider_d: 1 of 1 samples have no reference"):
        cider_d.CiderD().rows(["a"], [sample("x")])
    assert cider_d.CiderD().rows([], []).shape == (0, 2)
