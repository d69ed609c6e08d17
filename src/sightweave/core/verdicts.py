"""Verdicts on whether a model uses its images; texts, tables and pages all use the words defined here."""

from __future__ import annotations

YES, HARDLY, PARTLY, NO, UNKNOWN = "yes", "hardly", "partly", "no", "unknown"
"""Verdicts as stored in evaluation.json. ``partly`` is only for a whole evaluation whose tasks have different verdicts."""
NOT_NEEDED = "not needed"
"""Verdict shown for a task that can be solved without images, so that it cannot tell whether the model uses them."""


def use_of_image(word: str, *, needs_image: bool = True) -> str:
    """The verdict to show for a stored one; `needs_image` says whether the task cannot be solved without images."""
    return NOT_NEEDED if not needs_image and word in (NO, HARDLY) else word
