"""Hindi, Bengali, Malayalam and Hausa Visual Genome: short texts about a part of a picture, translated from English.

Hindi Visual Genome (Parida et al. 2019, arXiv:1907.08948), and the sets for the other languages that follow its layout.
Seven columns between tabs, no head: picture, X, Y, width, height in pixels, English, translation. The box is what the
texts describe, so it becomes a region with both as its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError, MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import media
from sightweave.data.reading.aligned_lines import lines
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import VALIDATION

_FILE = re.compile(r"((\w+)-visual-genome-(train|dev|test|challenge-test-set))\.txt(?:\.gz)?", re.ASCII)
_LANGUAGES = {"hindi": "hi", "bengali": "bn", "malayalam": "ml", "hausa": "ha"}
_SPLITS = {"train": "train", "dev": VALIDATION}
_COLUMNS = ("image_id", "X", "Y", "Width", "Height", "English", "translation")
_LARGEST = 1e6


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in _files(path)]
    return f"texts with boxes in {among(found)}" if found else ""


def _files(path: Path) -> list[Path]:
    return [file for file in files(path, ".txt", ".txt.gz") if _of_name(file) is not None]


def _of_name(file: Path) -> tuple[str, str, str] | None:
    """Stem, language and part, as the file's name says."""
    match = _FILE.fullmatch(file.name)
    return (match[1], _LANGUAGES[match[2]], match[3]) if match and match[2] in _LANGUAGES else None


@config
class Config(FilesConfig):
    """A folder with files such as hindi-visual-genome-train.txt and the pictures, or one such file."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per line."""
        path = Path(self.path).expanduser()
        found = _files(path)
        if not found:
            raise DataError(f"{path}: no file such as hindi-visual-genome-train.txt found.")
        sizes = _Sizes(self.pictures())
        for file in found:
            name = _of_name(file)
            assert name is not None
            stem, language, part = name
            of_part = _SPLITS.get(part, "test")
            if split and of_part != split:
                continue
            for number, line in enumerate(lines(file), start=1):
                if not line.strip():
                    continue
                common = {
                    "split": of_part,
                    "source_language": "en",
                    "target_language": language,
                    "tags": {"set": part},
                }
                try:
                    values: Any = common | _values(line, f"{stem}.images", sizes, of_part == "test")
                except RowError as error:
                    values = error
                yield Row(number, values, str(file))


def _values(line: str, folder: str, sizes: _Sizes, is_test: bool) -> dict[str, Any]:
    cells = line.split("\t")
    if len(cells) != len(_COLUMNS):
        message = f"{len(cells)} values for {len(_COLUMNS)} tab-separated columns ({', '.join(_COLUMNS)})."
        raise RowError("bad_csv", "", line, message)
    identity, english, translated = cells[0].strip(), cells[5], cells[6]
    if not identity.isdigit():
        message = f"must be an image number (got {shown(identity)})."
        raise RowError("wrong_type", "image_id", identity, message)
    box = [_number(name, cell) for name, cell in zip(_COLUMNS[1:5], cells[1:5], strict=True)]
    image = f"{folder}/{identity}.jpg"
    values: dict[str, Any] = {"image": image, "source": english}
    words = [text for text in (english, translated) if text.strip()]
    size = sizes.of(image)
    if size is not None:
        left, top, width, height = box
        edges = [left / size[0], top / size[1], (left + width) / size[0], (top + height) / size[1]]
        values["regions"] = [{"box": edges, "words": words}]
    if is_test and not translated.strip():
        return values | {"unlabelled": True}
    return values | {"target": translated}


def _number(name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        raise RowError("wrong_type", name, cell, f"must be a number of pixels (got {shown(cell)}).")
    return value


class _Sizes:
    """Width and height of pictures in pixels, each asked for once."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, int] | None] = {}

    def of(self, image: str) -> tuple[int, int] | None:
        """None where there is no such picture: whoever takes the row says so."""
        if image not in self._known:
            try:
                path = self._folder.find(image)
                info = media.probe(Medium(self._folder.root / path, path))
                self._known[image] = (info.width, info.height)
            except (RowError, MediaError):
                self._known[image] = None
        return self._known[image]
