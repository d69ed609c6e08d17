"""Digests of rows for finding duplicates: equal if images and texts are equal as far as training uses them.

The same sentence in two languages gives two different rows, as do equal words about two regions of an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sightweave.core.types import Medium, Region
from sightweave.data.reading.dataset import Record, task_of

_NO_MATTER = ("id", "images", "group", "split", "tags")
"""Names of the fields in which duplicate rows may differ."""


def digest_of(images: Sequence[Medium], records: Sequence[Record]) -> int:
    """A 64-bit digest that is equal for two rows with the same content for training."""
    mark = hashlib.blake2b(digest_size=8)
    for piece in (*(image.key for image in images), *_pieces_of(records)):
        data = piece.encode("utf-8", "surrogatepass")
        mark.update(len(data).to_bytes(8, "big") + data)  # the length distinguishes "ab", "c" from "a", "bc"
    return int.from_bytes(mark.digest(), "big")


def _pieces_of(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        yield task_of(record)
        yield str(record.tags.get("language", ""))  # captions may state their language
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
    elif hasattr(value, "tobytes"):  # an array, whose `repr` omits most of its values
        yield value.tobytes().hex()
    else:
        yield value if isinstance(value, str) else repr(value)
