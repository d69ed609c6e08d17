"""Measurements of a machine, kept for the user in small JSON files that may vanish at any time.

Nothing here fails: a file that cannot be read or written counts as missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

FOLDER = "SIGHTWEAVE_CACHE"
"""Environment variable for another folder; set but empty, it turns this off."""
_MOST_BYTES = 1 << 20


def folder() -> Path | None:
    """The user's cache folder for Sightweave: ``SIGHTWEAVE_CACHE``, or ``sightweave`` in the system's cache folder."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER]) if os.environ[FOLDER] else None
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if os.environ.get(name):
            return Path(os.environ[name]) / "sightweave"

    try:
        return Path.home() / ".cache" / "sightweave"
    except RuntimeError:  # a user without a home folder
        return None


def path(name: str) -> Path | None:
    """The path of one file of values; None if nothing is kept."""
    where = folder()
    return None if where is None else where / f"{name}.json"


def recall(name: str) -> dict[str, Any]:
    """The values of one file; empty if there are none."""
    where = path(name)
    if where is None:
        return {}

    try:
        if not where.is_file() or where.stat().st_size > _MOST_BYTES:
            return {}
        found = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(name: str, values: dict[str, Any]) -> bool:
    """Adds values to one file atomically; returns whether they were stored."""
    where = path(name)
    if where is None:
        return False

    text = json.dumps(recall(name) | values, indent=1)
    scratch = ""
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        number, scratch = tempfile.mkstemp(dir=where.parent, prefix=f"{name}-", suffix=".tmp")
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(scratch, where)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        return False
    return True
