"""Detects the dataset format of a path."""

from __future__ import annotations

from pathlib import Path

from sightweave.core import catalog, places
from sightweave.core.errors import DataError

_FAMILY = "data.datasets"
_OWN = "own"


def detect(path: str | Path) -> dict[str, str]:
    """The formats that recognise a path, each with what it found; empty if none does.

    Raises:
        DataError: There is no such file or folder.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{place}: file or folder not found.")

    # Images alone may belong to a dataset of another format, so they count only if no other format is found.
    return _recognised(place, "recognise") or _recognised(place, "recognise_pictures")


def _recognised(place: Path, function: str) -> dict[str, str]:
    """The formats whose function of this name recognises a path, each with what it found."""
    found = {}
    for kind in catalog.kinds(_FAMILY):
        recognise = getattr(catalog.module(_FAMILY, kind), function, None)
        reason = recognise(place) if recognise is not None else ""
        if reason:
            found[kind] = reason
    return found


def kind_of_path(path: str | Path) -> str:
    """The format of a path; ``own`` if none recognises it, since the messages of that format say what it expects.

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
