"""Converts messages of other harnesses into a `Sample`; texts and images keep their order and their roles."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample, group_of
from sightweave.data.inputs.image_files import digest

_ROLES = ("user", "assistant", "system")


class Piece(NamedTuple):
    """One text or image of a message."""

    role: str
    """``user``, ``assistant`` or ``system``."""
    kind: str
    """``text`` or ``image``; other kinds are rejected."""
    value: Any
    """The text, or an image as Pillow image, array, bytes or path."""


def as_sample(pieces: Iterable[Piece], *, where: str) -> Sample:
    """Combines the pieces into one prompt; empty texts are left out.

    Args:
        pieces: Texts and images in the order in which the model reads them.
        where: Id of the prompt, which also names it in error messages.

    Raises:
        DataError: a role is unknown, a medium is not an image, an image is given by its URL, the prompt is empty, or
            the last message is from the assistant.
        MediaError: an image in memory cannot be read.
    """
    parts: list[Part] = []
    for number, piece in enumerate(pieces):
        if piece.role not in _ROLES:
            raise DataError(f"{where}: unknown role {piece.role!r}. Known: {', '.join(_ROLES)}.")
        if piece.kind == "image":
            parts.append(Part(piece.role, _picture(piece.value, f"{where}, part {number + 1}")))
        elif piece.kind != "text":
            raise DataError(f"{where}: unsupported part of kind {piece.kind!r}; a run reads text and images.")
        elif piece.value:
            parts.append(Part(piece.role, str(piece.value)))

    if not parts:
        raise DataError(f"{where}: the messages contain neither text nor an image.")
    if parts[-1].role == "assistant":
        raise DataError(
            f"{where}: the last message is from the assistant ({parts[-1].content!r}); a run cannot continue an answer."
        )

    media = tuple(part.content for part in parts if isinstance(part.content, Medium))
    return Sample(id=where, task="", parts=tuple(parts), group=group_of(media, where))


def _picture(value: Any, where: str) -> Medium:
    if isinstance(value, str | Path):
        path = str(value).removeprefix("file://")
        if "://" in path or path.startswith("data:"):
            raise DataError(
                f"{where}: an image at {path[:80]!r}; URLs are not fetched, so pass a file or the image itself."
            )
        return Medium(Path(path), key=path)

    # Key the image by its content, so that questions about equal images share one encoding.
    return Medium(value, key=digest(Medium(value, key=where)))
