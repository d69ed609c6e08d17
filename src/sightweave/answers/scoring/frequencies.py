"""Document frequencies of n-grams, which can be stored in a JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightweave.core import files
from sightweave.core.errors import DataError

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Document frequencies of n-grams; a document is all references of one image."""

    pictures: int
    """Number of documents, that is, of images."""
    counts: Mapping[tuple[str, ...], int]
    """Number of documents that contain each n-gram of tokens."""

    def rarity(self, ngram: tuple[str, ...]) -> float:
        """Inverse document frequency of an n-gram, log D - log max(1, df).

        It is 0 for an n-gram that occurs in every document and largest for one that occurs in at most one.
        """
        return math.log(self.pictures) - math.log(max(1, self.counts.get(ngram, 0)))

    def save(self, path: Path) -> None:
        """Writes the frequencies to a file as ``{"format_version": 1, "pictures": D, "counts": {"a dog": df, ...}}``."""
        values = {
            "format_version": FORMAT_VERSION,
            "pictures": self.pictures,
            "counts": {" ".join(ngram): count for ngram, count in sorted(self.counts.items())},
        }
        files.write_text(path, json.dumps(values, ensure_ascii=False))

    @classmethod
    def load(cls, path: Path) -> Frequencies:
        """Reads a file that `save` wrote.

        Raises:
            DataError: the file cannot be read, or it is not a file of frequencies.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"document frequencies {path}: cannot be read: {error}.") from None

        # The file may come from an unknown source, so every value is checked.
        entries = values if isinstance(values, dict) else {}
        pictures, counts = entries.get("pictures"), entries.get("counts")
        if (
            not isinstance(counts, dict)
            or type(pictures) is not int
            or pictures < 1
            or entries.get("format_version") != FORMAT_VERSION
        ):
            raise DataError(
                f'document frequencies {path}: needs {{"format_version": {FORMAT_VERSION}, "pictures": number, '
                '"counts": {"words": number}}; write it with `cider_d.frequencies_of(samples).save(path)`.'
            )

        for words, count in counts.items():
            if type(count) is not int or not 1 <= count <= pictures:
                raise DataError(
                    f"document frequencies {path}: {words!r} occurs in {count!r} of {pictures} images; "
                    "each count must be from 1 to the number of images. Compute the frequencies again."
                )

        return cls(pictures, {tuple(words.split(" ")): count for words, count in counts.items()})
