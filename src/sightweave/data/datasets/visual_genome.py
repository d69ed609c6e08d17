"""Hindi, Bengali, Malayalam and Hausa Visual Genome: translations of short English texts about regions of images.

Hindi Visual Genome (Parida et al. 2019, arXiv:1907.08948); the datasets for the other languages have the same layout. Files
have seven tab-separated columns without a header: image, X, Y, width and height in pixels, English, translation. Both texts
describe the box, which becomes a region with the texts as its words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError, MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
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
_MAX_PIXELS = 1e6


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in _files(path)]
    return f"texts with boxes in {among(found)}" if found else ""


def _files(path: Path) -> list[Path]:
    return [file for file in files(path, ".txt", ".txt.gz") if _name_parts(file) is not None]


def _name_parts(file: Path) -> tuple[str, str, str] | None:
    """The stem, language code and part in a file's name; None for other files."""
    match = _FILE.fullmatch(file.name)
    return (match[1], _LANGUAGES[match[2]], match[3]) if match and match[2] in _LANGUAGES else None


@config
class Config(FilesConfig):
    """A folder with files such as hindi-visual-genome-train.txt and the images, or one such file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per line."""
        path = Path(self.path).expanduser()
        found = _files(path)
        if not found:
            raise DataError(f"{path}: no file such as hindi-visual-genome-train.txt found.")

        sizes = _Sizes(self.pictures())
        for file in found:
            parts = _name_parts(file)
            assert parts is not None
            part_split = _SPLITS.get(parts[2], "test")
            if not split or part_split == split:
                yield from _read_file(file, parts, part_split, sizes)


def _read_file(file: Path, parts: tuple[str, str, str], split: str, sizes: _Sizes) -> Iterator[Row]:
    stem, language, part = parts
    for number, line in enumerate(lines(file), start=1):
        if not line.strip():
            continue
        common = {
            "split": split,
            "source_language": "en",
            "target_language": language,
            "tags": {"set": part},
        }
        try:
            values: Any = common | _values(line, f"{stem}.images", sizes, split == "test")
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _values(line: str, folder: str, sizes: _Sizes, is_test: bool) -> dict[str, Any]:
    cells = line.split("\t")
    if len(cells) != len(_COLUMNS):
        message = f"{len(cells)} values for {len(_COLUMNS)} tab-separated columns ({', '.join(_COLUMNS)})."
        raise RowError("bad_csv", "", line, message)
    number, english, translated = cells[0].strip(), cells[5], cells[6]
    if not number.isdigit():
        message = f"must be an image number (got {shown(number)})."
        raise RowError("wrong_type", "image_id", number, message)
    left, top, width, height = map(_pixels, _COLUMNS[1:5], cells[1:5])

    image = f"{folder}/{number}.jpg"
    values: dict[str, Any] = {"image": image, "source": english}

    size = sizes.of(image)
    if size is not None:
        image_width, image_height = size
        right, bottom = left + width, top + height
        box = [left / image_width, top / image_height, right / image_width, bottom / image_height]
        words = [text for text in (english, translated) if text.strip()]
        values["regions"] = [{"box": box, "words": words}]

    if is_test and not translated.strip():
        return values | {"unlabelled": True}
    return values | {"target": translated}


def _pixels(name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")

    if not abs(value) <= _MAX_PIXELS:
        raise RowError("wrong_type", name, cell, f"must be a number of pixels (got {shown(cell)}).")
    return value


class _Sizes:
    """Reads the width and height of images in pixels, and caches them."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, int] | None] = {}

    def of(self, image: str) -> tuple[int, int] | None:
        """The width and height of an image; None if it cannot be read, which is reported when its row is checked."""
        if image not in self._known:
            try:
                path = self._folder.find(image)
                info = image_files.probe(Medium(self._folder.root / path, path))
                self._known[image] = (info.width, info.height)
            except (RowError, MediaError):
                self._known[image] = None
        return self._known[image]
