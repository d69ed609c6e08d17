"""Digests of rows for finding duplicates: equal if their images and all that training uses of their texts are equal.

The same sentence in two languages makes two rows, and so do equal words about two regions of an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sightweave.core.types import Medium, Region
from sightweave.data.reading.dataset import Record, task_of

_NO_MATTER = ("id", "images", "group", "split", "tags")
"""Fields in which duplicate rows may differ."""


def digest_of(images: Sequence[Medium], records: Sequence[Record]) -> int:
    """64 bits that are equal if two rows would teach the same."""
    mark = hashlib.blake2b(digest_size=8)
    for piece in (*(image.key for image in images), *_pieces_of(records)):
        data = piece.encode("utf-8", "surrogatepass")
        mark.update(len(data).to_bytes(8, "big") + data)  # the length keeps "ab", "c" and "a", "bc" apart
    return int.from_bytes(mark.digest(), "big")


def _pieces_of(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        yield task_of(record)
        yield str(record.tags.get("language", ""))  # captions may name theirs
        for field in fields(record):
            if field.name not in _NO_MATTER:
                yield field.name
                yield from _pieces(getattr(record, field.name))


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, Region):
        yield repr(value.box)
        yield from value.words
    elif isinstance(value, list | tuple):
        yield str(len(value))
        for one in value:
            yield from _pieces(one)
    elif hasattr(value, "tobytes"):  # an array, whose `repr` omits most of it
        yield value.tobytes().hex()
    else:
        yield value if isinstance(value, str) else repr(value)
