"""The splits of a dataset: their names, the split of each row, and images held out where rows name no split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightweave.core.errors import did_you_mean
from sightweave.data.reading.row_files import RowError, shown

VALIDATION = "validation"
"""The split for choosing a recipe, a checkpoint or a threshold; test splits are never used for that."""
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
"""Names that rows, files and users have for a split, each with the name that is used here."""
SPLITS = ("train", VALIDATION, "test")
UNNAMED = len(SPLITS)
"""Code of a row that names no split; the code of any other row is the index of its split in `SPLITS`."""
_TRAIN = SPLITS.index("train")


def common_split(name: str) -> str:
    """The common name of a split: ``validation`` for ``val``, ``valid`` and ``dev``; unknown names stay as they are."""
    return SPLIT_NAMES.get(name.strip().lower(), name)


def split_among(name: str, splits: Sequence[str]) -> str | None:
    """A source's name for the split that a user names; None if the source has no such split."""
    if name in splits:
        return name

    wanted = common_split(name)
    return next((one for one in splits if common_split(one) == wanted), None)


def is_for_choosing(split: str) -> bool:
    """Whether a split is for validation and may be used to choose recipes, unlike a test split."""
    return common_split(split).partition("_")[0] == VALIDATION


def split_name(value: Any) -> str:
    """``train``, ``validation`` or ``test``, for any name that a row uses for it.

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
    """Chooses the images to hold out by their hashes: the same ones on every machine and in any order of the rows.

    Args:
        digests: Hexadecimal SHA-256 of each training image, by its number.
        shares: Share of the images that each other split gets, 0 to 1; their sum is below 1.

    Returns:
        The split of each image that leaves the training split. At least one image stays.
    """
    taken: dict[int, str] = {}
    start = 0.0
    for name, share in shares.items():
        # Each split takes its own range of hashes, so that its share does not change the splits before it.
        end = start + share
        free = {number: digest for number, digest in digests.items() if number not in taken}
        found = []
        for number, digest in free.items():
            if start * 2**32 <= int(digest[:8], 16) < end * 2**32:
                found.append(number)

        # A split gets at least one image, even if no hash is in its range. A validation split next to a test split does
        # so only if its share amounts to an image.
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
    """The splits of all rows after images were held out.

    Args:
        splits: int8 R: code of each row's split; rows without a split belong to training.
        of_picture: int R: number of each row's image.
        taken: Split of each image that leaves the training split.
    """
    codes = np.full(int(of_picture.max(initial=-1)) + 1, _TRAIN)
    for number, name in taken.items():
        codes[number] = SPLITS.index(name)
    return np.where(is_training(splits), codes[of_picture], splits)


def is_training(splits: np.ndarray) -> np.ndarray:
    """Whether each row is in the training split or names no split: bool R."""
    found: np.ndarray = (splits == _TRAIN) | (splits == UNNAMED)
    return found


def counted(taken: Mapping[int, str], shares: Mapping[str, float]) -> str:
    """The number of images in each split, for a note: ``12 for test and 11 for validation``."""
    counts = Counter(taken.values())
    return " and ".join(f"{counts[name]} for {name}" for name, share in shares.items() if share)
