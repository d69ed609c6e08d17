"""Files with one JSON value per line, such as ``predictions.jsonl`` and ``metrics.jsonl``.

Only a line feed ends a line. JSON leaves U+2028, U+2029 and U+0085 unescaped inside strings, and ``str.splitlines`` splits
there, so these files are read as bytes. Files written here escape the three as well, for readers that are less careful.
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
"""Controls and line separators that JSON allows in a string, and unpaired surrogates, which UTF-8 cannot encode."""


def dumps(value: Any, *, indent: int | None = None, allow_nan: bool = True) -> str:
    """JSON text that any UTF-8 file can hold, on one line unless `indent` is given; other characters stay readable.

    Raises:
        ValueError: with ``allow_nan=False``, a number that is not finite.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return _TO_ESCAPE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, each with its number, counted from 1."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of the file at a path, as `split` gives them.

    Raises:
        OSError: the file cannot be read.
        DataError: not a regular file, or larger than 4 GiB.
    """
    try:
        return split(bounded.read(path, most=_MOST_BYTES))
    except bounded.UnreadableError as error:
        raise DataError(f"{path}: {error}") from None


def values(path: Path) -> Iterator[tuple[int, Any]]:
    """The JSON value of each line of a file, with its number.

    Raises:
        OSError, DataError: as `read`, or a line is not JSON or nested too deeply; the message has its number.
    """
    for number, line in read(path):
        try:
            yield number, bounded.parse(line)
        except bounded.UnreadableError as error:
            raise DataError(f"{path}: line {number} is damaged: {error}") from None
