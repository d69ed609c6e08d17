"""Reads text files with corresponding lines, such as the two sides of a parallel corpus."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream

_MAX_BYTES = 256 << 20
"""Maximum size of one decompressed file in bytes."""


def lines(path: Path) -> list[str]:
    """Reads all lines of a plain or gzip text file, without line ends.

    Only a line feed ends a line, because other line separators of Unicode occur inside sentences.

    Raises:
        DataError: The file cannot be read, is truncated, is not UTF-8, or is larger than 256 MiB.
    """
    with json_stream.opened(path) as file:
        try:
            data = file.read(_MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:  # a truncated or damaged gzip file
            raise DataError(f"{path}: cannot be read ({error}); copy it again.") from None
    if len(data) > _MAX_BYTES:
        raise DataError(f"{path}: more than {_MAX_BYTES} bytes of text; not a file of aligned sentences.")

    data = data.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n")
    if not data:
        return []

    found = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            found.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = line[error.start]
            message = f"not UTF-8: byte 0x{byte:02x} at byte {error.start} of the line; save it as UTF-8."
            raise DataError(f"{path}:{number}: {message}") from None
    return found


def aligned(paths: Sequence[Path]) -> list[list[str]]:
    """Reads the lines of several files, where line n of each file corresponds to line n of all others.

    Raises:
        DataError: The files have different numbers of lines, or a file cannot be read.
    """
    found = [lines(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if len(one) != len(found[0]):
            raise DataError(
                f"{path}: {len(one)} lines, but {len(found[0])} in {paths[0]}; the lines must correspond, "
                "so both files need the same number. Copy them again."
            )
    return found
