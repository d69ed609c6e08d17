"""NLVR2: sentences about two photographs that are either true or false.

Suhr et al. 2019 (arXiv:1811.00491). The ``.json`` files contain JSON lines. Each sentence occurs with up to four pairs of
images; consistency is the share of sentences that are judged correctly for all their pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.reading import json_stream, row_files
from sightweave.data.reading.file_names import among, files, split_of
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig

_OPTIONS = ("True", "False")
_SUBSET_PREFIXES = ("balanced_", "unbalanced_")
_SENTENCE_FOLDERS = ("data", "balanced", "unbalanced")
"""Names of folders with sentence files in the official repository; the images are next to these folders."""


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".json", ".jsonl") if _is_sentences(file)]
    return f"sentences in {among(found)}" if found else ""


def _is_sentences(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"sentence", "identifier", "left_url", "right_url"} <= keys


@config
class Config(FilesConfig):
    """A folder with ``train.json``, ``dev.json`` and images, or one of these files with the images near it."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per sentence, with two images.

        Raises:
            DataError: A file cannot be read.
        """
        path = Path(self.path).expanduser()
        found = [file for file in files(path, ".json", ".jsonl") if _is_sentences(file)]
        if not found:
            raise json_stream.missing(path, "JSON lines with sentence, identifier, left_url and right_url")

        names = {file.name for file in found}
        for file in found:
            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if _is_subset(file, names):
                continue

            for row in row_files.read(file):
                values = row.values
                if not isinstance(values, RowError):
                    try:
                        values = _sentence(values, name)
                    except RowError as error:
                        values = error
                yield Row(row.line, values, str(file))

    def pictures(self) -> Folder:
        """The folder that contains ``images``, which may be above the sentence files' folder."""
        path = Path(self.path).expanduser()
        home = start = path if path.is_dir() else path.parent
        while home.resolve().name.lower() in _SENTENCE_FOLDERS and not (home / "images").is_dir():
            home = home.resolve().parent

        if self.image_root is None and home != start:
            return Folder(home, search=True)
        return super().pictures()


def _is_subset(file: Path, names: set[str]) -> bool:
    """Whether a file is the balanced or unbalanced part of another file in `names`; dev and test have such parts."""
    prefixes = [prefix for prefix in _SUBSET_PREFIXES if file.name.startswith(prefix)]
    return any(file.name.removeprefix(prefix) in names for prefix in prefixes)


def _sentence(one: dict[str, Any], split: str) -> dict[str, Any]:
    name = one.get("identifier")
    if name is None:
        raise RowError("missing_field", "identifier", None, f"missing. The row has: {', '.join(one)}.")
    numbers = name.split("-") if isinstance(name, str) else []
    if len(numbers) != 4 or not all(numbers):
        message = f"must be split-set-pair-sentence, such as train-10171-0-0 (got {shown(name)})."
        raise RowError("wrong_type", "identifier", name, message)

    part, group, _, sentence = numbers
    pair = "-".join(numbers[:3])
    directory = one.get("directory")
    # Only the training images are in numbered folders.
    folder = f"images/{part}/{directory}" if isinstance(directory, int) else f"images/{part}"

    values: dict[str, Any] = {
        "id": name,
        "images": [f"{folder}/{pair}-img0.png", f"{folder}/{pair}-img1.png"],
        "question": one.get("sentence"),
        "options": list(_OPTIONS),
        # As in the official evaluation, identifiers of the same sentence differ only in the number of the pair.
        "tags": {"consistency": f"{part}-{group}-{sentence}", "pair": pair},
    }
    if split:
        values["split"] = split

    if "label" not in one and split == "test":
        return {**values, "unlabelled": True}
    return {**values, "answer": _label(one.get("label"))}


def _label(value: Any) -> str:
    if value is None:
        raise RowError("missing_field", "label", None, "missing; it must be 'True' or 'False'.")
    label = str(value) if isinstance(value, bool) else value
    if label not in _OPTIONS:
        raise RowError("wrong_type", "label", value, f"must be 'True' or 'False' (got {shown(value)}).")
    return str(label)
