"""Multi30k: sentences about pictures in several languages (task 1), and five captions per language (task 2).

Multi30K: Multilingual English-German Image Descriptions (Elliott et al. 2016, arXiv:1605.00459); French and the tests of
2017: Elliott et al. 2017 (arXiv:1710.07177). Line n of each file is about the picture in line n of a list. Task 1 are
translations; the captions of task 2 were written by different people about the picture alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_SUFFIXES = tuple(f".{code}{end}" for code in LANGUAGES for end in ("", ".gz"))


@dataclass(frozen=True)
class _Set:
    """The files of one part, such as train or test_2017_mscoco."""

    folder: Path
    name: str
    is_task2: bool
    texts: dict[str, list[Path]] = field(default_factory=dict)
    """By language; in task 2 several files each."""

    @property
    def split(self) -> str:
        return common_split(self.name) if self.name in ("train", "val") else "test"

    def list_path(self) -> Path | None:
        """The names of its pictures, line by line."""
        names = [f"{self.name}.txt", f"{self.name}_images.txt", f"{self.split}_images.txt"]
        near = (self.folder, self.folder.parent)
        places = [
            one / name for folder in near for one in (folder / "image_splits", folder) for name in names
        ]
        return next((place for place in places if place.is_file()), None)


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [one for one in _sets(path) if sum(map(len, one.texts.values())) > 1 and one.list_path()]
    if not found:
        return ""
    languages = sorted({language for one in found for language in one.texts})
    return f"sentences in {', '.join(languages)} of {', '.join(dict.fromkeys(one.name for one in found))}"


def _sets(path: Path) -> list[_Set]:
    """All parts below a folder, or the one that a file belongs to."""
    named = _TEXT.fullmatch(path.name) if path.is_file() else None
    if path.is_file() and named is None:
        return []
    found: dict[tuple[Path, str, bool], _Set] = {}
    for file in sorted(path.parent.iterdir()) if path.is_file() else files(path, *_SUFFIXES):
        match = _TEXT.fullmatch(file.name)
        if match is None or (named and (named[1], bool(named[2])) != (match[1], bool(match[2]))):
            continue
        is_task2 = match[2] is not None
        one = found.setdefault((file.parent, match[1], is_task2), _Set(file.parent, match[1], is_task2))
        texts = one.texts.setdefault(match[3], [])
        if not any(file.name == f"{other.name}.gz" for other in texts):  # unpacked beside itself
            texts.append(file)
    return list(found.values())


@config
class Config(FilesConfig):
    """A folder of the repository (or that with data and pictures), or one text of it with the others beside it."""

    source_language: str = "en"
    """Code of the source language, such as en."""
    target_languages: tuple[str, ...] = ()
    """Codes of the target languages, such as de; empty means all that exist."""
    task2: bool = False
    """Whether to read the captions of task 2 if both tasks are in the folder; a single task is always read."""

    def pictures(self) -> Folder:
        """Beside ``data`` of the repository, if the path leads into it."""
        path = Path(self.path).expanduser().resolve()
        if self.image_root is not None or not path.exists():
            return super().pictures()
        top = path.parent if path.is_file() else path
        found = _sets(path)
        inner = found[0].folder if found else top
        inner = inner.parent if inner.name == "raw" else inner
        if inner.name in ("task1", "task2"):
            inner = inner.parent.parent if inner.parent.name == "data" else inner.parent
        return Folder(inner if top.is_relative_to(inner) else top, search=True)

    def rows(self, split: str) -> Iterator[Row]:
        """One row for each sentence and target language, or for each picture and language of captions."""
        path = Path(self.path).expanduser()
        found = _sets(path)
        is_task2 = (self.task2 and any(one.is_task2 for one in found)) or all(one.is_task2 for one in found)
        chosen: dict[str, _Set] = {}
        for one in (one for one in found if one.is_task2 == is_task2):
            if one.name in chosen:
                both = f"{chosen[one.name].folder} and {one.folder}"
                raise DataError(f"{path}: {one.name} is in both {both}; give the path of one of them.")
            chosen[one.name] = one
        if not chosen:
            raise DataError(f"{path}: no files such as train.en.gz and train.de.gz found.")
        self._check_languages(chosen)
        for one in chosen.values():
            if not split or one.split == split:
                yield from self._captions(one) if is_task2 else self._pairs(one)

    def _check_languages(self, sets: dict[str, _Set]) -> None:
        have = sorted({language for one in sets.values() for language in one.texts})
        missing = [one for one in self.target_languages if one not in have]
        if missing and self.labelled:
            raise DataError(
                f"{self.path}: target_languages has {missing[0]!r}; available are {', '.join(have)}."
            )

    def _pairs(self, one: _Set) -> Iterator[Row]:
        source = one.texts.get(self.source_language)
        if source is None:
            have = ", ".join(sorted(one.texts))
            raise DataError(
                f"{one.folder}: {one.name} is not available in {self.source_language!r}, only in {have}."
            )
        wanted = [x for x in self.target_languages or sorted(one.texts) if x != self.source_language]
        targets = {x: one.texts[x][0] for x in wanted if x in one.texts}
        files = [source[0], _list_of(one), *targets.values()]
        sources, names, *translations = aligned(files)
        # Lines belong together in every language: who takes one out takes it out of all.
        aligned_files = [str(file) for file in (*files[:2], *(texts[0] for texts in one.texts.values()))]
        for index, (text, name) in enumerate(zip(sources, names, strict=True)):
            places = tuple((file, index + 1) for file in dict.fromkeys(aligned_files))
            common = {
                "image": _picture(name),
                "source": text,
                "source_language": self.source_language,
                "split": one.split,
                "tags": {"set": one.name},
            }
            for language in wanted:
                values = common | {
                    "id": f"{one.name}/{index + 1}/{self.source_language}-{language}",
                    "target_language": language,
                }
                if language in targets:
                    values["target"] = translations[list(targets).index(language)][index]
                elif self.labelled:
                    continue
                yield Row(index + 1, values, str(targets.get(language, files[0])), places)

    def _captions(self, one: _Set) -> Iterator[Row]:
        files = [_list_of(one), *(file for texts in one.texts.values() for file in texts)]
        names, *captions = aligned(files)
        texts = dict(zip(files[1:], captions, strict=True))
        for index, name in enumerate(names):
            for language in sorted(one.texts):
                values: dict[str, Any] = {
                    "id": f"{one.name}/{index + 1}/{language}",
                    "image": _picture(name),
                    "captions": [texts[file][index] for file in one.texts[language]],
                    "split": one.split,
                    "tags": {"set": one.name, "language": language},
                }
                places = tuple((str(file), index + 1) for file in files)
                yield Row(index + 1, values, str(one.texts[language][0]), places)


def _list_of(one: _Set) -> Path:
    found = one.list_path()
    if found is None:
        expected = one.folder.parent / "image_splits" / f"{one.name}.txt"
        raise DataError(f"{one.folder}: no image list for {one.name}; expected {expected}.")
    return found


def _picture(name: str) -> str:
    """The list of COCO's pictures names a caption as well: ``COCO_train2014_000000117071.jpg#367178``."""
    return name.partition("#")[0].strip()
