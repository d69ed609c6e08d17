"""Exceptions for all errors that a user can cause.

SightweaveError
|- RecipeError       a recipe, a setting or a combination of parts is wrong
|  `- FolderError    an output folder is in use, or holds files that are not ours
|- DataError         a record, a file of records or an image is wrong
|  `- MediaError     an image cannot be read
|- CheckpointError   a folder of weights is wrong
|- BackendError      a device, a library or a server is missing or failed
|  `- UnansweredError   a server answers none of the prompts
|- ExportError       an exported model does not answer like the trained one
`- WiringError       the parts of a model are connected incorrectly

All are subclasses of ``ValueError``. A message states what is wrong, with the actual and the expected value, where, and what
to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightweaveError(ValueError):
    """Base class of all errors that a user can cause."""

    is_reported = False
    """Whether another process of the run reports this error, so that this process need not print it."""


class RecipeError(SightweaveError):
    """A recipe, a setting or a combination of model parts is wrong."""


class DataError(SightweaveError):
    """A record or a file of records is wrong."""


class MediaError(DataError):
    """An image cannot be read.

    Args:
        code: Short name of the fault that never changes, such as ``image_truncated``, by which faults are counted.
        message: What is wrong, and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class CheckpointError(SightweaveError):
    """A folder of weights is missing, damaged or does not fit the model."""


class FolderError(RecipeError):
    """An output folder is in use by another process, or holds files that Sightweave did not write."""


class BackendError(SightweaveError):
    """A device, library or server outside Sightweave is missing or failed."""


class UnansweredError(BackendError):
    """A server answers none of the prompts, although it can be reached."""


class ExportError(SightweaveError):
    """An exported model answers differently from the trained one, or no export format supports the model."""


class WiringError(SightweaveError):
    """The parts of a model are connected incorrectly."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown word: the closest known word, if any, and a list of all known words."""
    known = sorted(known)
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}Known: {', '.join(known) or 'none'}."
