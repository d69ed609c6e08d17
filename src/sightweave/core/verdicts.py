"""The words for whether a model uses its images, so that sentences, tables and pages agree."""

from __future__ import annotations

YES, HARDLY, PARTLY, NO, UNKNOWN = "yes", "hardly", "partly", "no", "unknown"
"""Stored words. A task is never ``partly``; a whole evaluation is, if its tasks differ."""
NOT_NEEDED = "not needed"
"""Word shown for a task whose texts are sufficient, so that it cannot show whether the image is used."""


def use_of_image(word: str, *, needs_image: bool = True) -> str:
    """The word that a reader is shown for a stored one."""
    return NOT_NEEDED if not needs_image and word in (NO, HARDLY) else word
