"""What a path holds: every format is asked whether it knows it."""

from __future__ import annotations

from pathlib import Path

from sightweave.core import catalog, places
from sightweave.core.errors import DataError

_FAMILY = "data.datasets"
_OWN = "own"


def detect(path: str | Path) -> dict[str, str]:
    """Formats of what lies there, each with what was found; empty where none is known.

    Raises:
        DataError: nothing is there.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataError(f"{place}: file or folder not found.")
    # Pictures without words may belong to what is written beside them, so they count where nothing else is found.
    return _asked(place, "recognise") or _asked(place, "recognise_pictures")


def _asked(place: Path, function: str) -> dict[str, str]:
    """What the kinds that have this function say of a path."""
    found = {}
    for kind in catalog.kinds(_FAMILY):
        recognise = getattr(catalog.module(_FAMILY, kind), function, None)
        reason = recognise(place) if recognise is not None else ""
        if reason:
            found[kind] = reason
    return found


def kind_of_path(path: str | Path) -> str:
    """The one format of a path; ``own`` where none is recognised, since its messages say what was expected.

    Raises:
        DataError: several formats lie there.
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
