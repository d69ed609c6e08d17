"""Pictures that a row promises and does not bring: marks in its texts, and columns that nobody reads.

Either would train a vision dataset as text alone, with nothing to show for it but a model that never looks.
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
_CAPITALS = re.compile(
    r"\[IMG(?:_BREAK|_END)?\]|\[IMAGE(?: ?\d{1,3})?\]"
)  # in small letters these are anybody's words
_ELEMENT = re.compile(r"<image>(?!\./</image>)(?=[^<]{0,2000}<)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:image|img|picture|pic|photo|photograph|visual|media)s?"
    r"(?:_?(?:path|file|file_?name|name|url|uri|list|byte|base64|b64|data)s?)?",
    re.IGNORECASE,
)
"""Columns whose name says that they hold pictures, whatever their value looks like."""
_PICTURE = re.compile(
    r"data:image/|[^\n]{1,400}\.(?:jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf]|ico|mpo|p[bgp]m)$",
    re.IGNORECASE,
)
_LOOKED_AT = 3
"""Elements of a list that are looked at."""


def mark_in(text: str) -> str:
    """The first word in a text by which some model's template marks a picture; empty where there is none.

    An element of XML such as ``<image>...</image>`` is none, and neither is anything in small square brackets.
    """
    for found in (_MARK.search(text), _CAPITALS.search(text)):
        if found is None:
            continue
        is_element = (
            found[0].lower() == "<image>" and "</image>" in text and _ELEMENT.match(text, found.start())
        )
        if not is_element:
            return found[0]
    return ""


def is_picture_name(column: str) -> bool:
    """Whether a column's name says that it holds pictures."""
    return _NAMED.fullmatch(column) is not None


def unread(row: Mapping[str, Any], known: Container[str], *, within: str = "") -> list[str]:
    """Columns that look like pictures and are not among those that are read.

    Args:
        row: All columns, or all fields of a turn.
        known: Names that are read.
        within: Stands before the names, such as ``messages[0].``.
    """
    return [
        f"{within}{name}"
        for name, value in row.items()
        if name not in known and _is_picture(value, is_named=is_picture_name(str(name)))
    ]


def unread_in_turns(turns: Any, known: Container[str], column: str) -> list[str]:
    """The same for fields that stand beside a turn's words."""
    found: list[str] = []
    for number, turn in enumerate(turns if isinstance(turns, list) else ()):
        if isinstance(turn, dict):
            found += unread(turn, known, within=f"{column}[{number}].")
    return found


def _is_picture(value: Any, *, is_named: bool) -> bool:
    """Whether a value looks like a picture; a web address only where its column's name says so too."""
    if isinstance(value, bytes):
        return bool(value) and is_named
    if isinstance(value, dict):
        inner = (value.get(key) for key in ("path", "bytes", "url", "image", "image_url"))
        return any(_is_picture(one, is_named=True) for one in inner)
    if isinstance(value, list | tuple):
        return any(_is_picture(one, is_named=is_named) for one in islice(value, _LOOKED_AT))
    if not isinstance(value, str) or not value.strip():
        return False
    is_address = value.lower().startswith(("http:", "https:"))
    return is_named or (_PICTURE.match(value.strip()) is not None and not is_address)


def hint(columns: Sequence[str]) -> str:
    """What to do about such columns, as the end of a message; empty where there are none."""
    if not columns:
        return ""
    names = ", ".join(map(repr, columns[:3]))
    verb = "looks like images but is" if len(columns) == 1 else "look like images but are"
    return f" {names} {verb} not read: put image paths in 'images' (or 'image')."


def check(values: Mapping[str, Any], texts: Iterator[tuple[str, str]]) -> None:
    """Refuses a row without any picture whose words or columns promise one.

    Args:
        values: The row in the common fields; ``unread`` names columns that look like pictures.
        texts: What is asked, with the field of each.

    Raises:
        RowError: a mark stands for no picture, or a column that looks like pictures is not read.
    """
    columns = list(values.get("unread") or ())
    for field, text in texts:
        found = mark_in(text)
        if found:
            message = (
                f"{found} is an image placeholder, but the row has no image.{hint(columns)}"
                if columns
                else f"{found} is an image placeholder, but the row has none; list images in 'images' and mark them with "
                "<image>, or remove the placeholder."
            )
            raise RowError("image_marks", field, f"1 placeholder, 0 images: {shown(text)}", message)
    if columns:
        message = f"the row would be text only.{hint(columns)}"
        raise RowError("unread_image", columns[0], values.get(columns[0]), message)
