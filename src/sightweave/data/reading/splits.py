"""The splits of a dataset: their names, the split of each row, and pictures held out where rows name none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightweave.core.errors import did_you_mean
from sightweave.data.reading.row_files import RowError, shown

VALIDATION = "validation"
"""The split that choices are made on: which recipe, which checkpoint, which threshold. No test split is used for them."""
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": "test",
    "testing": "test",
}
"""What rows, files and users call a split, and its one name here."""
SPLITS = ("train", VALIDATION, "test")
UNNAMED = len(SPLITS)
"""Code of a row that names no split; the codes of the others are their places in `SPLITS`."""
_TRAIN = SPLITS.index("train")


def common_split(name: str) -> str:
    """The one name of a split: ``val``, ``valid`` and ``dev`` are ``validation``; any other name stays as it is."""
    return SPLIT_NAMES.get(name.strip().lower(), name)


def split_among(name: str, splits: Sequence[str]) -> str | None:
    """What a source calls the split that a user names: the same name, or another word for it; None where it has none."""
    if name in splits:
        return name
    return next((one for one in splits if common_split(one) == common_split(name)), None)


def is_for_choosing(split: str) -> bool:
    """Whether a split is there to choose recipes by, and so is no test."""
    return common_split(split).partition("_")[0] == VALIDATION


def split_name(value: Any) -> str:
    """``train``, ``validation`` or ``test`` from what a row calls it.

    Raises:
        RowError: no text, or no name of a split.
    """
    if not isinstance(value, str):
        raise RowError("wrong_type", "split", value, f"must be text (got {shown(value)}).")
    name = SPLIT_NAMES.get(value.strip().lower())
    if name is None:
        raise RowError(
            "bad_split", "split", value, f"unknown split {shown(value)}. {did_you_mean(value, SPLIT_NAMES)}"
        )
    return name


def held_out(digests: Mapping[int, str], shares: Mapping[str, float]) -> dict[int, str]:
    """Which pictures go to which other split, by their hashes: alike on every machine and in any order of the rows.

    Args:
        digests: Hexadecimal SHA-256 of each training picture, by its number.
        shares: Share of the pictures that each other split gets, 0 to 1; their sum is below 1.

    Returns:
        The split of each picture that leaves the training split. At least one picture stays.
    """
    taken: dict[int, str] = {}
    start = 0.0
    for name, share in shares.items():
        # Each split takes its own stretch of the hashes, so that the share of one leaves the splits before it alone.
        end = start + share
        free = {number: digest for number, digest in digests.items() if number not in taken}
        found = [n for n, digest in free.items() if start * 2**32 <= int(digest[:8], 16) < end * 2**32]

        # A split that is due a picture gets one even where chance left it none. A validation split beside a test split
        # is due one only if its share amounts to a picture.
        is_due = name == "test" or "test" not in shares or share * len(digests) >= 1
        if share and not found and is_due and len(set(free.values())) > 1:
            lowest = min(free.values())
            found = [number for number, digest in free.items() if digest == lowest]

        taken |= dict.fromkeys(found, name)
        start = end

    if taken and len(taken) == len(digests):  # training keeps one
        highest = max(digests.values())
        taken = {number: name for number, name in taken.items() if digests[number] != highest}
    return taken


def moved(splits: np.ndarray, of_picture: np.ndarray, taken: Mapping[int, str]) -> np.ndarray:
    """The splits of all rows after whole pictures were held out.

    Args:
        splits: int8 R: codes of the rows' splits; rows that name none belong to training.
        of_picture: int R: the number of each row's picture.
        taken: The split of each picture that leaves the training split.
    """
    codes = np.full(int(of_picture.max(initial=-1)) + 1, _TRAIN)
    for number, name in taken.items():
        codes[number] = SPLITS.index(name)
    return np.where(is_training(splits), codes[of_picture], splits)


def is_training(splits: np.ndarray) -> np.ndarray:
    """Whether each row is of the training split, or of none: bool R."""
    found: np.ndarray = (splits == _TRAIN) | (splits == UNNAMED)
    return found


def counted(taken: Mapping[int, str], shares: Mapping[str, float]) -> str:
    """How many pictures each split got, for a note: ``12 for test and 11 for validation``."""
    counts = Counter(taken.values())
    return " and ".join(f"{counts[name]} for {name}" for name, share in shares.items() if share)
