"""Region match: all texts count, places do not."""

import pytest

from sightweave.answers.metrics import region_match
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="s", task="image_translation", parts=(), references=references)


def score(answer: str | None, *references: str) -> float:
    metric = region_match.Config().build()
    return float(metric.total(metric.rows([answer], [sample(*references)]).sum(0)))


def test_texts_are_compared_and_places_are_not() -> None:
    reference = "[0 0 500 200] bat => Schläger\n[0 300 500 500] exit => Ausgang"
    assert score(reference, reference) == 1
    assert score("[9 9 100 100 ink=#ffffff] Schläger\n[1 1 2 2] Ausgang", reference) == 1
    assert score("[0 0 500 200] Schläger", reference) == 0
    assert score("[0 300 500 500] Ausgang\n[0 0 500 200] Schläger", reference) == 0
    assert score("[0 0 500 200] schläger\n[0 300 500 500] Ausgang", reference) == 0
    assert score(None, reference) == 0


def test_line_breaks_count_as_spaces() -> None:
    assert score(r"[0 0 500 200] kein\nSchläger", "[0 0 500 200] kein Schläger") == 1


def test_answers_without_places_are_compared_by_line() -> None:
    assert score("a  bat \nexit", "a bat\nexit") == 1
    assert score("a bat exit", "a bat\nexit") == 0
    assert score("", "a bat") == 0
    assert score("b", "a", "b") == 1


def test_numbers_must_agree() -> None:
    with pytest.raises(DataError, match=r"1 prediction\(s\) for 0 sample"):
        region_match.RegionMatch().rows(["a"], [])
