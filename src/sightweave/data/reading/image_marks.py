"""Detects rows that refer to images but have none, by placeholders in their texts and by image columns that are not read.

Such rows are rejected, because the model would silently be trained on text alone.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sightweave.data.reading.row_files import RowError, shown

_MARK = re.compile(
    # <image>, <img>, <|image_pad|>, <|vision_start|>, <start_of_image>, <image_soft_token>, <ImageHere>, <image 1>
    r"<\|?(?:(?:begin|start)_of_)?(?:image|img|vision)"
    r"(?:[ _-]?(?:here|pad|start|begin|soft|token|placeholder|context|\d{1,3})){0,3}\|?>"
    r"|<fake_token_around_image>|<im_patch>|<pic>",
    re.IGNORECASE,
)
# These are placeholders only in capitals; in lower case they may be ordinary words in brackets.
_CAPITALS = re.compile(r"\[IMG(?:_BREAK|_END)?\]|\[IMAGE(?: ?\d{1,3})?\]")
_ELEMENT = re.compile(r"<image>(?!\./</image>)(?=[^<]{0,2000}<)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:image|img|picture|pic|photo|photograph|visual|media)s?"
    r"(?:_?(?:path|file|file_?name|name|url|uri|list|byte|base64|b64|data)s?)?",
    re.IGNORECASE,
)
"""Matches names of columns that hold images, whatever their values look like."""
_PICTURE = re.compile(
    r"data:image/|[^\n]{1,400}\.(?:jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf]|ico|mpo|p[bgp]m)$",
    re.IGNORECASE,
)
_MAX_CHECKED = 3
"""Maximum number of elements of a list that are checked."""


def mark_in(text: str) -> str:
    """The first image placeholder in a text, in the style of any known model; empty if there is none.

    An XML element such as ``<image>...</image>`` is not a placeholder, and neither is ``[image]`` in lower case.
    """
    for found in (_MARK.search(text), _CAPITALS.search(text)):
        if found is None:
            continue
        may_be_element = found[0].lower() == "<image>" and "</image>" in text
        if not may_be_element or _ELEMENT.match(text, found.start()) is None:
            return found[0]
    return ""


def is_picture_name(column: str) -> bool:
    """Whether the name of a column suggests that it holds images."""
    return _NAMED.fullmatch(column) is not None


def unread(row: Mapping[str, Any], known: Container[str], *, within: str = "") -> list[str]:
    """Names of the columns that look like images but are not read.

    Args:
        row: All columns of a row, or all fields of a turn.
        known: Names of columns that are read, or known to hold something else.
        within: Prefix for the returned names, such as ``messages[0].``.
    """
    found = []
    for name, value in row.items():
        if name not in known and _is_image(value, is_named=is_picture_name(str(name))):
            found.append(f"{within}{name}")
    return found


def unread_in_turns(turns: Any, known: Container[str], column: str) -> list[str]:
    """Names of the fields of turns that look like images but are not read.

    Args:
        turns: A list of turns; for any other value, no names are returned.
        known: Names of fields that are read, or known to hold something else.
        column: Name of the column that holds the turns.
    """
    if not isinstance(turns, list):
        return []

    found: list[str] = []
    for number, turn in enumerate(turns):
        if isinstance(turn, dict):
            found += unread(turn, known, within=f"{column}[{number}].")
    return found


def _is_image(value: Any, *, is_named: bool) -> bool:
    """Whether a value looks like an image. A URL counts only if its column also has a name that is usual for images."""
    if isinstance(value, bytes):
        return bool(value) and is_named
    if isinstance(value, dict):
        inner = [value.get(key) for key in ("path", "bytes", "url", "image", "image_url")]
        return any(_is_image(one, is_named=True) for one in inner)
    if isinstance(value, list | tuple):
        return any(_is_image(one, is_named=is_named) for one in islice(value, _MAX_CHECKED))

    if not isinstance(value, str) or not value.strip():
        return False
    is_url = value.lower().startswith(("http:", "https:"))
    return is_named or (_PICTURE.match(value.strip()) is not None and not is_url)


def hint(columns: Sequence[str]) -> str:
    """The end of a message about columns that are not read, with advice; empty if there are none."""
    if not columns:
        return ""
    names = ", ".join(map(repr, columns[:3]))
    verb = "looks like images but is" if len(columns) == 1 else "look like images but are"
    return f" {names} {verb} not read: put image paths in 'images' (or 'image')."


def check(values: Mapping[str, Any], texts: Iterator[tuple[str, str]]) -> None:
    """Checks that neither the texts nor the columns of a row without images refer to an image.

    Args:
        values: The row in the common fields; ``unread`` lists columns that look like images.
        texts: Field name and content of each user text.

    Raises:
        RowError: A text has a placeholder, or a column that looks like images is not read.
    """
    columns = list(values.get("unread") or ())
    for field, text in texts:
        mark = mark_in(text)
        if not mark:
            continue

        if columns:
            message = f"{mark} is an image placeholder, but the row has no image.{hint(columns)}"
        else:
            message = (
                f"{mark} is an image placeholder, but the row has no image; list images in 'images' and mark them "
                "with <image>, or remove the placeholder."
            )
        raise RowError("image_marks", field, f"1 placeholder, 0 images: {shown(text)}", message)

    if columns:
        message = f"the row would be text only.{hint(columns)}"
        raise RowError("unread_image", columns[0], values.get(columns[0]), message)
