"""All errors that a user can cause.

SightweaveError
|- RecipeError       a recipe, an override or a composition of parts is wrong
|  `- FolderError    an output folder is in use, or holds files that are not ours
|- DataError         a record, a file of records or an image is wrong
|  `- MediaError     an image cannot be read
|- CheckpointError   a folder of weights is wrong
|- BackendError      something outside us (a device, a library) is missing or failed
|  `- UnansweredError   a server answers none of the prompts
|- ExportError       an exported model does not answer like the trained one
`- WiringError       the parts of a model are connected incorrectly

All are subclasses of ``ValueError``: a value is wrong. A message says what is wrong with both values, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightweaveError(ValueError):
    """Any error that a user can cause; catch this one to catch them all."""

    is_reported = False
    """Whether another process of the run reports it, so that this one need not print it too."""


class RecipeError(SightweaveError):
    """A recipe, an override or a composition of parts is wrong."""


class DataError(SightweaveError):
    """A record or a file of records is wrong."""


class MediaError(DataError):
    """An image cannot be read.

    Args:
        code: Short fixed name of the fault, such as ``image_truncated``, for counters and tests.
        message: What is wrong, and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CheckpointError(SightweaveError):
    """A folder of weights is unusable."""


class FolderError(RecipeError):
    """An output folder is in use by another process, or holds files that Sightweave did not write."""


class BackendError(SightweaveError):
    """Something outside Sightweave is missing or failed."""


class UnansweredError(BackendError):
    """A server answers none of the prompts, although it can be reached."""


class ExportError(SightweaveError):
    """An exported model does not answer like the trained one, or a composition fits no layout."""


class WiringError(SightweaveError):
    """The parts of a model are connected incorrectly."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the closest known word, if any, and all known words."""
    known = sorted(known)
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}Known: {', '.join(known) or 'none'}."
