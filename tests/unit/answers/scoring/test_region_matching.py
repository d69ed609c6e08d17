"""Which regions of an answer are in the place of a reference's."""

import pytest

from sightweave.answers.scoring import region_matching
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.core.types import Sample


def region(left: float, right: float) -> TextRegion:
    return TextRegion("x", (left, 0.0, right, 1.0))


def test_overlap_is_intersection_over_union() -> None:
    assert region_matching.overlap(region(0, 0.5), region(0, 0.5)) == 1
    assert region_matching.overlap(region(0, 0.4), region(0.2, 0.6)) == pytest.approx(1 / 3)
    assert region_matching.overlap(region(0, 0.4), region(0.4, 0.6)) == 0


def test_the_largest_overlap_comes_first_and_each_box_has_one_partner() -> None:
    answer = [region(0.1, 0.5), region(0, 0.5)]
    assert region_matching.matched(answer, [region(0, 0.5)], 0.5) == [(1, 0)]
    assert region_matching.matched(answer, [region(0, 0.5), region(0.1, 0.52)], 0.5) == [(1, 0), (0, 1)]
    assert region_matching.matched(answer, [region(0.6, 0.9)], 0.5) == []


def test_texts_of_plain_answers_are_their_lines() -> None:
    assert region_matching.texts_of("a  bat\n\nexit") == ("a bat", "exit")
    assert region_matching.texts_of("[0 0 9 9] a bat\nnoise\n[0 0 9] bad") == ("a bat",)
    assert region_matching.texts_of(None) == ()


def test_references_without_regions() -> None:
    plain = Sample(id="p", task="reading", parts=(), references=("a bat",))
    placed = Sample(id="q", task="reading", parts=(), references=("[0 0 9 9] a bat",))
    assert [len(one) for one in region_matching.reference_regions("m", [plain, placed])] == [0, 1]
    with pytest.raises(DataError, match=r"m: none of 1 sample\(s\) has text regions"):
        region_matching.reference_regions("m", [plain])
