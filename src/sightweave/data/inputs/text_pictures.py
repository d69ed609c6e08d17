"""The picture that a text stands for: a path, a data URL or base64. Whatever would have to be fetched is refused."""

from __future__ import annotations

import base64
import re
import urllib.parse
from pathlib import Path

from sightweave.core.errors import MediaError

_SCHEME = re.compile(
    r"(?i)([a-z][a-z0-9+.-]+):/"
)  # one letter is a drive of Windows; a Path joins two slashes
_DATA_URL = re.compile(r"(?i)data:(image/[\w.+-]+|application/octet-stream)?(;[\w=.+-]+)*;base64,")
_BASE64_STARTS = ("/9j/", "_9j_", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""How the base64 of JPEG, PNG, GIF and WebP files begins."""
_FEWEST_BASE64 = 64
"""Letters of a picture's base64; a shorter text is a path."""
_LONGEST_PATH = 4096
"""Letters of a path: no system opens a longer one."""


def picture_of(text: str | Path) -> Path | bytes:
    """The bytes in a data URL or in base64; any other text is a path.

    Base64 may have line ends, the letters of URLs (``-`` and ``_``), and no padding.

    Raises:
        MediaError: an address of the network, a data URL that holds no base64, or a text that is none of all this.
    """
    if isinstance(text, Path):
        _refuse_addresses(str(text))
        return text
    if not text.strip():
        raise MediaError(
            "image_missing", "an empty string is not an image; give a path, or None for no image."
        )
    if text[:5].lower() == "data:":
        return _of_data_url(text)
    if text.startswith(_BASE64_STARTS) and len(text) >= _FEWEST_BASE64:
        try:
            return _decoded(text)
        except ValueError:
            pass  # a path may begin like a picture

    if len(text) > _LONGEST_PATH:
        raise MediaError(
            "image_missing",
            f"{text[:40]!r}...: a string of {len(text):,} characters is neither a path nor the base64 of a JPEG, PNG, GIF "
            "or WebP file.",
        )
    _refuse_addresses(text)
    is_file_url = text[:5].lower() == "file:"
    return Path(urllib.parse.unquote(re.sub("^//(localhost)?", "", text[5:])) if is_file_url else text)


def _refuse_addresses(text: str) -> None:
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() != "file":
        raise MediaError("image_url", f"{text}: URLs are not fetched; save the image and give its path.")


def _of_data_url(text: str) -> bytes:
    head = _DATA_URL.match(text[:200])
    try:
        if head is None:
            raise ValueError("it must start with data:image/png;base64,")
        return _decoded(text[head.end() :])
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise MediaError("invalid_base64", f"{text[:40]!r}...: this data URL is invalid: {reason}.") from None


def _decoded(text: str) -> bytes:
    letters = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
