"""The words for whether a model uses its images, so that sentences, tables and pages all say the same one."""

from __future__ import annotations

YES, HARDLY, PARTLY, NO, UNKNOWN = "yes", "hardly", "partly", "no", "unknown"
"""What is stored. A task is never ``partly``; a whole evaluation is, if its tasks differ."""
NOT_NEEDED = "not needed"
"""What is shown for a task whose texts say everything, so that it cannot show a use of the image."""


def use_of_image(word: str, *, needs_image: bool = True) -> str:
    """What a reader is shown for a stored word: one of the words above."""
    return NOT_NEEDED if not needs_image and word in (NO, HARDLY) else word
