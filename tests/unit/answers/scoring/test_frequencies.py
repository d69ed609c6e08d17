"""Document frequencies: rarity, and a file that loads back equal or says what is wrong with it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sightweave.answers.scoring.frequencies import Frequencies
from sightweave.core.errors import DataError


def test_rarity_is_the_logarithm_of_the_inverse_share() -> None:
    found = Frequencies(8, {("a",): 8, ("a", "dog"): 2})
    assert found.rarity(("a",)) == 0
    assert found.rarity(("a", "dog")) == pytest.approx(math.log(4))
    assert found.rarity(("unseen",)) == pytest.approx(math.log(8))


def test_a_saved_file_loads_back_equal(tmp_path: Path) -> None:
    found = Frequencies(8, {("a",): 8, ("a", "caf\u00e9"): 2, ("3\u00a01/2", "x"): 1})
    found.save(tmp_path / "df.json")
    assert Frequencies.load(tmp_path / "df.json") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "format_version"),
        ("{}", "format_version"),
        (json.dumps({"format_version": 2, "pictures": 5, "counts": {}}), "format_version"),
        (json.dumps({"format_version": 1, "pictures": 0, "counts": {}}), "format_version"),
        (
            json.dumps({"format_version": 1, "pictures": 5, "counts": {"a dog": 6}}),
            "'a dog' occurs in 6 of 5 images",
        ),
        (
            json.dumps({"format_version": 1, "pictures": 5, "counts": {"a": "x"}}),
            "'a' occurs in 'x' of 5 images",
        ),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "df.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Frequencies.load(tmp_path / "df.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Frequencies.load(tmp_path / "none.json")
