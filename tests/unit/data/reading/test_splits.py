"""Names of splits, and pictures held out by their hashes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightweave.data.reading import splits
from sightweave.data.reading.row_files import RowError
from sightweave.data.reading.splits import SPLITS, UNNAMED, split_among, split_name

SHARES = {"test": 0.1, "validation": 0.1}


def digests(count: int) -> dict[int, str]:
    return {number: hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)}


@pytest.mark.parametrize(
    ("given_name", "name"), [(" Dev", "validation"), ("training", "train"), ("TEST", "test")]
)
def test_a_split_has_one_name(given_name: str, name: str) -> None:
    assert split_name(given_name) == name


@pytest.mark.parametrize("value", ["tset", 3, None, ["train"]])
def test_no_split_is_guessed(value: object) -> None:
    with pytest.raises(RowError, match=r"must be text|unknown split"):
        split_name(value)


def test_a_source_may_call_a_split_by_another_word() -> None:
    assert split_among("validation", ["train", "val"]) == "val"
    assert split_among("val", ["train", "val", "validation"]) == "val"
    assert split_among("test", ["train"]) is None


@given(count=st.integers(2, 60))
def test_training_keeps_a_picture_and_splits_share_none(count: int) -> None:
    taken = splits.held_out(digests(count), SHARES)
    assert 0 < len(taken) < count
    assert set(taken.values()) <= {"test", "validation"}
    assert taken == splits.held_out(dict(reversed(digests(count).items())), SHARES)


def test_shares_are_met_and_a_share_leaves_the_split_before_it_alone() -> None:
    many = digests(5000)
    taken = splits.held_out(many, SHARES)
    for name in SHARES:
        assert sum(one == name for one in taken.values()) / len(many) == pytest.approx(0.1, abs=0.01)
    alone = splits.held_out(many, {"test": 0.1})
    assert alone == {number: name for number, name in taken.items() if name == "test"}


def test_equal_pictures_stay_together() -> None:
    same = dict.fromkeys(range(10), hashlib.sha256(b"one").hexdigest())
    assert splits.held_out(same, {"test": 0.5}) == {}


def test_rows_move_with_their_picture_and_others_keep_their_split() -> None:
    rows = np.array([UNNAMED, UNNAMED, SPLITS.index("validation"), SPLITS.index("train"), UNNAMED], np.int8)
    moved = splits.moved(rows, np.array([0, 1, 1, 1, 0]), {1: "test"})
    assert [SPLITS[code] for code in moved] == ["train", "test", "validation", "test", "train"]
    assert splits.counted({1: "test"}, SHARES) == "1 for test and 0 for validation"
