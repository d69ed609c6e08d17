"""CoMMuTE: ambiguous sentences with an image, a translation that fits it, and a translation that fits another image.

Tackling Ambiguity with Images: Improved Multimodal Machine Translation and Contrastive Evaluation (Futeral et al. 2023,
arXiv:2212.10140). The files in folders such as ``en-fr`` (a test set) and ``en-fr_dev`` are aligned line by line. The wrong
translation becomes ``tags["contrast"]``, as in the synthetic scenes; the data does not specify the ambiguous word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading.aligned_lines import aligned
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import VALIDATION

_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})(_dev)?")
_ORDER = "img.order"


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [folder.name for folder in _folders(path)]
    return f"right and wrong translations in {among(found)}" if found else ""


def _folders(path: Path) -> list[Path]:
    """The folders of language pairs below a folder, or the folder that contains a given file."""
    if not path.is_file():
        return [file.parent for file in files(path, _ORDER) if _is_pair(file.parent)]

    is_text = path.name.startswith((_ORDER, "src.", "correct.", "incorrect."))
    has_order = (path.parent / _ORDER).is_file()
    return [path.parent] if is_text and has_order and _is_pair(path.parent) else []


def _is_pair(folder: Path) -> bool:
    return _PAIR.fullmatch(folder.name) is not None and any(folder.glob("correct.*"))


@config
class Config(FilesConfig):
    """A CoMMuTE folder with images and folders of language pairs (such as en-fr), one folder of a pair, or a file in it."""

    def pictures(self) -> Folder:
        """The folder with the images. If the folder of a language pair has no subfolders, it is the one above it."""
        path = Path(self.path).expanduser()
        pair = path.parent if path.is_file() else path
        is_pair = _PAIR.fullmatch(pair.name) is not None and (pair / _ORDER).is_file()
        if self.image_root is not None or not is_pair or any(one.is_dir() for one in pair.iterdir()):
            return super().pictures()
        return Folder(pair.parent, search=True)

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per sentence and image."""
        path = Path(self.path).expanduser()
        found = _folders(path)
        if not found:
            raise DataError(
                f"{path}: no folder such as en-fr with src.en, correct.fr, incorrect.fr and {_ORDER} found."
            )

        for folder in found:
            name = VALIDATION if folder.name.endswith("_dev") else "test"
            if not split or name == split:
                yield from _read_folder(folder, name)


def _read_folder(folder: Path, split: str) -> Iterator[Row]:
    match = _PAIR.fullmatch(folder.name)
    assert match is not None
    source, target = match[1], match[2]
    names = (f"src.{source}", f"correct.{target}", f"incorrect.{target}", _ORDER)
    paths = [folder / name for name in names]

    for index, (text, right, wrong, image) in enumerate(zip(*aligned(paths), strict=True)):
        values: dict[str, Any] = {
            "id": f"{folder.name}/{index + 1}",
            "image": image.strip(),
            "source": text,
            "target": right,
            "source_language": source,
            "target_language": target,
            "split": split,
            "tags": {"type": "ambiguous", "contrast": wrong},
        }
        places = tuple((str(path), index + 1) for path in paths)
        yield Row(index + 1, values, str(paths[1]), places)
