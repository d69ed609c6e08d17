"""CHAIR: what is there, what is said to be there, and both shares."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.answers.metrics import chair
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Region, Sample


def sample(*words: str, references: tuple[str, ...] = ()) -> Sample:
    regions = tuple(Region((0.0, 0.0, 1.0, 1.0), (word,)) for word in words)
    return Sample(id="x", task="captioning", parts=(), references=references, regions=regions)


def test_regions_and_references_say_what_is_there() -> None:
    found = chair.objects(sample("dogs", "sky", references=("A man with a bike.", "nothing")))
    assert found == {"dog", "person", "bicycle"}


def test_wrong_mentions_are_counted_as_often_as_they_are_made() -> None:
    metric = chair.Config().build()
    samples = [sample("dog", references=("a puppy on a sofa",)), sample("cat"), sample("cat"), sample()]
    answers = ["A dog on a couch with a cat and two cats", "a kitten", None, "a fork"]
    rows = metric.rows(answers, samples)
    assert rows.tolist() == [[2, 4, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]]
    assert metric.total(rows.sum(0)) == pytest.approx(3 / 6)
    assert chair.Config(count="captions").build().total(rows.sum(0)) == pytest.approx(2 / 4)


def test_totals_take_stacks_and_say_nothing_where_nothing_is_named() -> None:
    stack = np.array([[1.0, 4, 1, 2], [0, 0, 0, 3], [0, 0, 0, 0]])
    np.testing.assert_array_equal(chair.Chair().total(stack), [0.25, np.nan, np.nan])
    np.testing.assert_array_equal(chair.Chair(count="captions").total(stack), [0.5, 0, np.nan])
    assert chair.Chair().rows([], []).shape == (0, 4)


def test_wrong_settings_and_inputs_are_refused() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'captions'"):
        chair.Config(count="caption").build()
    with pytest.raises(DataError, match=r"none of 1 sample\(s\) has regions"):
        chair.Chair().rows(["a dog"], [sample(references=("a dog",))])
    with pytest.raises(DataError, match=r"2 prediction\(s\) for 1 sample\(s\)"):
        chair.Chair().rows(["a", "b"], [sample("dog")])
