"""Stores measurements of this machine in small JSON files in the user's cache folder.

No function here raises an error: a file that cannot be read counts as missing, and one that cannot be written is skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

FOLDER = "SIGHTWEAVE_CACHE"
"""Environment variable that sets another cache folder; if it is set but empty, nothing is stored."""
_MOST_BYTES = 1 << 20


def folder() -> Path | None:
    """The cache folder: ``SIGHTWEAVE_CACHE``, else ``sightweave`` in the user's cache folder; None if there is none."""
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
    """The path of a file in the cache folder, by its name without suffix; None if there is no cache folder."""
    where = folder()
    return None if where is None else where / f"{name}.json"


def recall(name: str) -> dict[str, Any]:
    """The values stored in a file by `remember`; empty if there are none."""
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
    """Adds values to a stored file, which is rewritten atomically; returns whether this succeeded."""
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
