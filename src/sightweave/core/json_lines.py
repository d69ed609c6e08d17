"""Reads and writes files with one JSON value per line, such as ``predictions.jsonl`` and ``metrics.jsonl``.

Only a line feed ends a line. JSON strings may contain U+2028, U+2029 and U+0085 unescaped, where ``str.splitlines`` would
split, so files are read as bytes. When writing, these three characters are escaped for the benefit of other programs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core import bounded
from sightweave.core.errors import DataError

_MOST_BYTES = 4 << 30
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters to escape: control characters and line separators that JSON allows in strings, and unpaired surrogates, which
UTF-8 cannot encode."""


def dumps(value: Any, *, indent: int | None = None, allow_nan: bool = True) -> str:
    """Serializes a value to JSON that can always be encoded in UTF-8; non-ASCII characters are mostly left unescaped.

    Args:
        value: A JSON value.
        indent: Spaces of indentation per level; None writes a single line.
        allow_nan: Whether to accept NaN and infinite numbers.

    Raises:
        ValueError: A number is not finite, and `allow_nan` is False.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields each non-blank line of a file's content with its line number, counted from 1."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """Reads a file and yields each non-blank line with its line number, counted from 1.

    Raises:
        OSError: The file cannot be read.
        DataError: The path is not a regular file, or the file is larger than 4 GiB.
    """
    try:
        return split(bounded.read(path, most=_MOST_BYTES))
    except bounded.UnreadableError as error:
        raise DataError(f"{path}: {error}") from None


def values(path: Path) -> Iterator[tuple[int, Any]]:
    """Reads a file and yields the line number and the JSON value of each non-blank line.

    Raises:
        OSError: The file cannot be read.
        DataError: As for `read`, or a line is not JSON or nested too deeply; the message gives the line number.
    """
    for number, line in read(path):
        try:
            yield number, bounded.parse(line)
        except bounded.UnreadableError as error:
            raise DataError(f"{path}: line {number} is damaged: {error}") from None
