"""Detects the dataset format of a path."""

from __future__ import annotations

from pathlib import Path

from sightweave.core import catalog, places
from sightweave.core.errors import DataError

_FAMILY = "data.datasets"
_OWN = "own"


def detect(path: str | Path) -> dict[str, str]:
    """Finds the dataset formats that recognise a path.

    Returns:
        A description of what each format found there, by the format's name; empty if none recognises the path.

    Raises:
        DataError: The file or folder does not exist.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{place}: file or folder not found.")

    # A folder of images may be part of a dataset in another format, so it counts only if no other format is found.
    return _recognised(place, "recognise") or _recognised(place, "recognise_pictures")


def _recognised(place: Path, function: str) -> dict[str, str]:
    """Calls one function of each format on a path; returns the non-empty descriptions by format."""
    found = {}
    for kind in catalog.kinds(_FAMILY):
        recognise = getattr(catalog.module(_FAMILY, kind), function, None)
        reason = recognise(place) if recognise is not None else ""
        if reason:
            found[kind] = reason
    return found


def kind_of_path(path: str | Path) -> str:
    """The dataset format of a path; if no format recognises the path, ``own``, whose errors tell the user what is expected.

    Raises:
        DataError: Several formats recognise the path.
    """
    if places.SHARDS.search(str(path)):
        return "webdataset"
    if not Path(path).expanduser().exists():
        return _OWN

    found = detect(path)
    if len(found) > 1:
        named = "; ".join(f"{kind} ({reason})" for kind, reason in found.items())
        first = next(iter(found))
        raise DataError(
            f"{path}: several formats found: {named}. Choose one, such as {{kind: {first}, path: {path}}}, or give one file."
        )

    return next(iter(found), _OWN)
