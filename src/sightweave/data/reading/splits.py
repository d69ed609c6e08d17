"""Splits of a dataset: their names, the split of each row, and holding out images if rows have no split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightweave.core.errors import did_you_mean
from sightweave.data.reading.row_files import RowError, shown

VALIDATION = "validation"
"""The split with which recipes, checkpoints and thresholds are chosen; test splits are never used for this."""
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
"""Standard name of a split by each name that rows, files and users may give it."""
SPLITS = ("train", VALIDATION, "test")
UNNAMED = len(SPLITS)
"""Code of a row without a split; the code of any other row is the index of its split in `SPLITS`."""
_TRAIN = SPLITS.index("train")


def common_split(name: str) -> str:
    """The standard name of a split, such as ``validation`` for ``val`` and ``dev``; unknown names are unchanged."""
    return SPLIT_NAMES.get(name.strip().lower(), name)


def split_among(name: str, splits: Sequence[str]) -> str | None:
    """Finds the split that a user means among a source's splits, such as ``val`` for ``validation``; None if not found."""
    if name in splits:
        return name

    wanted = common_split(name)
    return next((one for one in splits if common_split(one) == wanted), None)


def is_for_choosing(split: str) -> bool:
    """Whether a split is a validation split, which may be used to choose recipes and checkpoints."""
    return common_split(split).partition("_")[0] == VALIDATION


def split_name(value: Any) -> str:
    """Converts a row's name for a split to ``train``, ``validation`` or ``test``.

    Raises:
        RowError: The value is not a text, or not the name of a split.
    """
    if not isinstance(value, str):
        raise RowError("wrong_type", "split", value, f"must be text (got {shown(value)}).")

    name = SPLIT_NAMES.get(value.strip().lower())
    if name is None:
        message = f"unknown split {shown(value)}. {did_you_mean(value, SPLIT_NAMES)}"
        raise RowError("bad_split", "split", value, message)
    return name


def held_out(digests: Mapping[int, str], shares: Mapping[str, float]) -> dict[int, str]:
    """Chooses images to hold out by their hashes, so that neither the machine nor the order of rows matters.

    Args:
        digests: Hexadecimal SHA-256 of each training image, by the image's number.
        shares: Share of the images, 0 to 1, for each held-out split; the sum must be less than 1.

    Returns:
        The new split of each held-out image, by the image's number. At least one image is left for training.
    """
    taken: dict[int, str] = {}
    start = 0.0
    for name, share in shares.items():
        # Each split has its own range of hashes, so that its share does not affect the splits before it.
        end = start + share
        free = {number: digest for number, digest in digests.items() if number not in taken}
        found = []
        for number, digest in free.items():
            if start * 2**32 <= int(digest[:8], 16) < end * 2**32:
                found.append(number)

        # A split gets at least one image, even if no hash is in its range. With a test split, this holds for a validation
        # split only if its share amounts to at least one image.
        is_due = name == "test" or "test" not in shares or share * len(digests) >= 1
        if share and not found and is_due and len(set(free.values())) > 1:
            lowest = min(free.values())
            found = [number for number, digest in free.items() if digest == lowest]

        taken |= dict.fromkeys(found, name)
        start = end

    if taken and len(taken) == len(digests):  # training keeps one image
        highest = max(digests.values())
        taken = {number: name for number, name in taken.items() if digests[number] != highest}
    return taken


def moved(splits: np.ndarray, of_picture: np.ndarray, taken: Mapping[int, str]) -> np.ndarray:
    """The split codes of all rows after images were held out, int R.

    Args:
        splits: int8 R: code of each row's split; rows without a split count as training rows.
        of_picture: int R: number of each row's image.
        taken: New split of each held-out image, by the image's number.
    """
    codes = np.full(int(of_picture.max(initial=-1)) + 1, _TRAIN)
    for number, name in taken.items():
        codes[number] = SPLITS.index(name)
    return np.where(is_training(splits), codes[of_picture], splits)


def is_training(splits: np.ndarray) -> np.ndarray:
    """Whether each row is in the training split or has no split, bool R."""
    found: np.ndarray = (splits == _TRAIN) | (splits == UNNAMED)
    return found


def counted(taken: Mapping[int, str], shares: Mapping[str, float]) -> str:
    """Formats the number of images held out for each split, such as ``12 for test and 11 for validation``."""
    counts = Counter(taken.values())
    return " and ".join(f"{counts[name]} for {name}" for name, share in shares.items() if share)
