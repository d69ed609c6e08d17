"""NLVR2: a sentence about two photographs that is true of them or not.

Suhr et al. 2019 (arXiv:1811.00491). Files named ``.json`` hold JSON lines. A sentence is asked
about up to four pairs of pictures; consistency is the share of sentences that are judged right about all their pairs.
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
_PARTS = ("balanced_", "unbalanced_")
_INNER = ("data", "balanced", "unbalanced")
"""Folders of the official repository that hold files of sentences; the pictures lie beside them."""


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".json", ".jsonl") if _is_sentences(file)]
    return f"sentences in {among(found)}" if found else ""


def _is_sentences(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"sentence", "identifier", "left_url", "right_url"} <= keys


@config
class Config(FilesConfig):
    """A folder with ``train.json``, ``dev.json`` and pictures, or one such file with the pictures near it."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a sentence, with two pictures.

        Raises:
            DataError: a file cannot be read.
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
            # The balanced and the unbalanced part of dev and test are files beside those of all sentences.
            if any(file.name.startswith(part) and file.name.removeprefix(part) in names for part in _PARTS):
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
        """Pictures lie in ``images``, beside the folder ``data`` that holds the files."""
        path = Path(self.path).expanduser()
        home = start = path if path.is_dir() else path.parent
        while home.resolve().name.lower() in _INNER and not (home / "images").is_dir():
            home = home.resolve().parent
        if self.image_root is None and home != start:
            return Folder(home, search=True)
        return super().pictures()


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
    # Only the pictures of the training set lie in folders of their own, numbered.
    folder = f"images/{part}/{directory}" if isinstance(directory, int) else f"images/{part}"
    values: dict[str, Any] = {
        "id": name,
        "images": [f"{folder}/{pair}-img0.png", f"{folder}/{pair}-img1.png"],
        "question": one.get("sentence"),
        "options": list(_OPTIONS),
        # As the official evaluation groups them: the same sentence about another pair differs in the pair's number.
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
