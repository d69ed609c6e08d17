"""Multi30k: translations of image descriptions (task 1), and five independent captions per image and language (task 2).

Multi30K: Multilingual English-German Image Descriptions (Elliott et al. 2016, arXiv:1605.00459). French and the tests of
2017 are from Elliott et al. 2017 (arXiv:1710.07177). Line n of each text file is about the image in line n of an image list.
The captions of task 2 were written by people who saw only the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading.aligned_lines import aligned
from sightweave.data.reading.file_names import files
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import common_split
from sightweave.data.tasks.translation import LANGUAGES

_TEXT = re.compile(r"(train|val|test[a-z0-9_]*)(?:\.([1-9]))?\.([a-z]{2})(?:\.gz)?")
"""Matches the name of a text file: the part, the number of the caption (in task 2 only), and the language."""
_SUFFIXES = tuple(f".{code}{end}" for code, end in product(LANGUAGES, ("", ".gz")))


@dataclass(frozen=True)
class _Set:
    """The files of one part of the dataset, such as train or test_2017_mscoco."""

    folder: Path
    name: str
    is_task2: bool
    texts: dict[str, list[Path]] = field(default_factory=dict)
    """Text files by language: one per language in task 1, several in task 2."""

    @property
    def split(self) -> str:
        return common_split(self.name) if self.name in ("train", "val") else "test"

    def list_path(self) -> Path | None:
        """The file that lists the images of this part, one per line; None if there is none."""
        names = [f"{self.name}.txt", f"{self.name}_images.txt", f"{self.split}_images.txt"]
        outer = self.folder.parent
        for folder in (self.folder / "image_splits", self.folder, outer / "image_splits", outer):
            for name in names:
                if (folder / name).is_file():
                    return folder / name
        return None


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    languages: set[str] = set()
    names: list[str] = []
    for one in _sets(path):
        num_texts = sum(map(len, one.texts.values()))
        if num_texts > 1 and one.list_path():
            languages |= one.texts.keys()
            names.append(one.name)

    if not names:
        return ""
    return f"sentences in {', '.join(sorted(languages))} of {', '.join(dict.fromkeys(names))}"


def _sets(path: Path) -> list[_Set]:
    """All parts of the dataset below a folder, or the part to which a file belongs."""
    wanted = _part(path) if path.is_file() else None
    if path.is_file() and wanted is None:
        return []

    found: dict[tuple[Path, str, bool], _Set] = {}
    for file in sorted(path.parent.iterdir()) if path.is_file() else files(path, *_SUFFIXES):
        part = _part(file)
        if part is None or (wanted is not None and part[:2] != wanted[:2]):
            continue

        name, is_task2, language = part
        one = found.setdefault((file.parent, name, is_task2), _Set(file.parent, name, is_task2))
        texts = one.texts.setdefault(language, [])
        has_unpacked_copy = any(file.name == f"{other.name}.gz" for other in texts)
        if not has_unpacked_copy:
            texts.append(file)
    return list(found.values())


def _part(file: Path) -> tuple[str, bool, str] | None:
    """The name of a text file's part, whether it is from task 2, and its language; None for other files."""
    match = _TEXT.fullmatch(file.name)
    return (match[1], match[2] is not None, match[3]) if match else None


@config
class Config(FilesConfig):
    """A folder of the repository, or any folder with texts and images, or a text file with the others next to it."""

    source_language: str = "en"
    """Code of the source language, such as en."""
    target_languages: tuple[str, ...] = ()
    """Codes of the target languages, such as de; empty means all available ones."""
    task2: bool = False
    """Whether to read the captions of task 2 rather than task 1, if the folder contains both."""

    def pictures(self) -> Folder:
        """The folder in which images are found.

        If the path is inside the repository's ``data`` folder, this is the folder that contains ``data``.
        """
        path = Path(self.path).expanduser().resolve()
        if self.image_root is not None or not path.exists():
            return super().pictures()

        # The repository has its texts in data/task1/raw and data/task2/raw.
        top = path.parent if path.is_file() else path
        found = _sets(path)
        folder = found[0].folder if found else top
        if folder.name == "raw":
            folder = folder.parent
        if folder.name in ("task1", "task2"):
            folder = folder.parent
            if folder.name == "data":
                folder = folder.parent
        return Folder(folder if top.is_relative_to(folder) else top, search=True)

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per sentence and target language in task 1, or per image and language in task 2."""
        path = Path(self.path).expanduser()
        found = _sets(path)
        tasks = {one.is_task2 for one in found}
        is_task2 = True in tasks if self.task2 else False not in tasks

        chosen: dict[str, _Set] = {}
        for one in found:
            if one.is_task2 != is_task2:
                continue
            if one.name in chosen:
                both = f"{chosen[one.name].folder} and {one.folder}"
                raise DataError(f"{path}: {one.name} is in both {both}; give the path of one of them.")
            chosen[one.name] = one
        if not chosen:
            raise DataError(f"{path}: no files such as train.en.gz and train.de.gz found.")
        self._check_target_languages(chosen)

        for one in chosen.values():
            if not split or one.split == split:
                yield from self._captions(one) if is_task2 else self._translations(one)

    def _check_target_languages(self, sets: dict[str, _Set]) -> None:
        available: set[str] = set()
        for one in sets.values():
            available |= one.texts.keys()

        missing = [language for language in self.target_languages if language not in available]
        if missing and self.labelled:
            names = ", ".join(sorted(available))
            raise DataError(f"{self.path}: target_languages has {missing[0]!r}; available are {names}.")

    def _translations(self, one: _Set) -> Iterator[Row]:
        source = self.source_language
        if source not in one.texts:
            available = ", ".join(sorted(one.texts))
            raise DataError(f"{one.folder}: {one.name} is not available in {source!r}, only in {available}.")

        # Read the lines of the source, the image list, and each available target language.
        source_file, list_file = one.texts[source][0], _image_list(one)
        targets = [language for language in self.target_languages or sorted(one.texts) if language != source]
        target_files = {language: one.texts[language][0] for language in targets if language in one.texts}
        sources, names, *translations = aligned([source_file, list_file, *target_files.values()])
        lines_of = dict(zip(target_files, translations, strict=True))

        # Line n of all files belongs together, so each row refers to its line in the files of all languages.
        first_texts = [texts[0] for texts in one.texts.values()]
        aligned_files = dict.fromkeys(map(str, (source_file, list_file, *first_texts)))

        for index, (text, name) in enumerate(zip(sources, names, strict=True)):
            places = tuple((file, index + 1) for file in aligned_files)
            common = {
                "image": _image_name(name),
                "source": text,
                "source_language": source,
                "split": one.split,
                "tags": {"set": one.name},
            }
            for language in targets:
                values = common | {
                    "id": f"{one.name}/{index + 1}/{source}-{language}",
                    "target_language": language,
                }
                if language in lines_of:
                    values["target"] = lines_of[language][index]
                elif self.labelled:
                    continue
                yield Row(index + 1, values, str(target_files.get(language, source_file)), places)

    def _captions(self, one: _Set) -> Iterator[Row]:
        caption_files: list[Path] = []
        for texts in one.texts.values():
            caption_files += texts
        files = [_image_list(one), *caption_files]
        names, *captions = aligned(files)
        lines_of = dict(zip(caption_files, captions, strict=True))

        for index, name in enumerate(names):
            places = tuple((str(file), index + 1) for file in files)
            for language in sorted(one.texts):
                values: dict[str, Any] = {
                    "id": f"{one.name}/{index + 1}/{language}",
                    "image": _image_name(name),
                    "captions": [lines_of[file][index] for file in one.texts[language]],
                    "split": one.split,
                    "tags": {"set": one.name, "language": language},
                }
                yield Row(index + 1, values, str(one.texts[language][0]), places)


def _image_list(one: _Set) -> Path:
    found = one.list_path()
    if found is None:
        expected = one.folder.parent / "image_splits" / f"{one.name}.txt"
        raise DataError(f"{one.folder}: no image list for {one.name}; expected {expected}.")
    return found


def _image_name(line: str) -> str:
    """The image in a line of a list; for COCO, a caption's id follows: ``COCO_train2014_000000117071.jpg#367178``."""
    return line.partition("#")[0].strip()
