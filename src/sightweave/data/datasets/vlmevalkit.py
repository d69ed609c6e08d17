"""VLMEvalKit's tab-separated tables, with images in base64, questions, options and the letters of the answers.

VLMEvalKit (Duan et al. 2024, arXiv:2407.11691). The image cell may also hold a list of images, or the index of the row that
contains the image; if it is empty, ``image_path`` names image files. A hint is put before the question, and the letter of
the answer is replaced by the option's text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import tsv_files
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.image_paths import Inside
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import SPLIT_NAMES
from sightweave.data.reading.table_layouts import split_below

_MAX_REFERENCE_CHARS = 64
"""Maximum length of an image cell that holds the index of another row rather than an image."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".tsv") if _is_ours(file)]
    return f"index, question and images in {among(found)}" if found else ""


def _is_ours(file: Path) -> bool:
    names = set(tsv_files.head(file, "\t"))
    return {"index", "question"} <= names and bool({"image", "image_path"} & names)


@config
class Config(FilesConfig):
    """A folder with VLMEvalKit's .tsv tables, or one table."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question."""
        root = Path(self.path).expanduser()
        found = [file for file in files(root, ".tsv") if _is_ours(file)]
        if not found:
            raise DataError(
                f"{root}: no .tsv found with the columns index, question, and image or image_path."
            )

        for file in found:
            name = split_below(file, root)
            if split and name and name != split:
                continue

            shared = _SharedImages(file)
            for record in tsv_files.records(file, "\t"):
                try:
                    if isinstance(record.cells, RowError):
                        raise record.cells
                    values: Any = _values(record.cells, shared, name)
                except RowError as error:
                    values = error
                yield Row(record.line, values, str(file))


class _SharedImages:
    """Looks up images by the index of their row in a table; the first look-up scans the table for all offsets."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._offsets: dict[str, int] | None = None

    def cell(self, index: str) -> str:
        """Reads the image cell of the row with the given index.

        Raises:
            RowError: No row has this index, or the row contains no image.
        """
        if self._offsets is None:
            self._offsets = self._read_offsets()

        offset = self._offsets.get(index)
        if offset is None:
            message = f"refers to row {index!r}, but no row has this index."
            raise RowError("bad_reference", "image", index, message)

        record = next(tsv_files.records(self.file, "\t", offset=offset))
        found = record.cells.get("image", "") if not isinstance(record.cells, RowError) else ""
        if len(found) <= _MAX_REFERENCE_CHARS:
            message = f"refers to row {index!r}, which has no image itself."
            raise RowError("bad_reference", "image", index, message)
        return found

    def _read_offsets(self) -> dict[str, int]:
        offsets: dict[str, int] = {}
        for record in tsv_files.records(self.file, "\t"):
            if not isinstance(record.cells, RowError) and "index" in record.cells:
                offsets[record.cells["index"].strip()] = record.offset
        return offsets


def _values(cells: Mapping[str, str], shared: _SharedImages, split: str) -> dict[str, Any]:
    index = cells.get("index", "").strip()
    if not index:
        raise RowError("missing_field", "index", None, "missing; each row needs one.")

    question = cells.get("question")
    if question is not None and cells.get("hint"):
        question = f"{cells['hint']}\n{question}"
    options = [cells[letter] for letter in _LETTERS if letter in cells]

    values: dict[str, Any] = {
        "id": index,
        "images": _images(cells, index, shared),
        "question": question,
        "tags": _tags(cells),
    }
    if options:
        values["options"] = options
    if cells.get("answer"):
        values["answers"] = [_answer(cells, options)]
    else:
        values["unlabelled"] = True

    # The row's own split takes precedence over the file's, unless the column holds something other than a split.
    own_split = cells.get("split", "").strip().lower()
    if own_split in SPLIT_NAMES:
        values["split"] = own_split
    elif split:
        values["split"] = split
    return values


def _answer(cells: Mapping[str, str], options: list[str]) -> Any:
    """The text of the option that the answer's letter refers to, or the answer itself if there are no options.

    The letter is looked up among the columns, because options may be missing in between.
    """
    answer = cells["answer"].strip()
    if not options:
        return answer

    letter = answer.upper()
    if len(letter) == 1 and letter in _LETTERS and letter in cells:
        return cells[letter]
    if answer not in options:
        letters = ", ".join(letter for letter in _LETTERS if letter in cells)
        message = f"{answer!r} is neither an option nor one of {letters}."
        raise RowError("bad_answer", "answer", answer, message)
    return answer


def _tags(cells: Mapping[str, str]) -> dict[str, str]:
    tags = {}
    if "category" in cells:
        tags["type"] = cells["category"]
    if "l2-category" in cells:
        tags["l2-category"] = cells["l2-category"]
    return tags


def _images(cells: Mapping[str, str], index: str, shared: _SharedImages) -> list[Inside | str]:
    given = cells.get("image", "").strip()
    if not given:
        paths = _listed(cells.get("image_path", "").strip())
        if not paths:
            raise RowError("missing_field", "image", None, "missing: neither image nor image_path.")
        return [*paths]

    if len(given) <= _MAX_REFERENCE_CHARS:
        index, given = given, shared.cell(given).strip()

    found = _listed(given)
    key = f"{shared.file.name}#{index}"
    images: list[Inside | str] = []
    for number, text in enumerate(found):
        name = key if len(found) == 1 else f"{key}.{number}"
        images.append(Inside(_decoded(text), name))
    return images


def _listed(cell: str) -> list[str]:
    """The values of a cell, which holds a single value or a list of strings in Python notation."""
    if cell.startswith("[") and cell.endswith("]"):
        return [single or double for single, double in _QUOTED.findall(cell)]
    return [cell] if cell else []


def _decoded(text: str) -> bytes:
    text = text.partition("base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # some writers break lines
    except (binascii.Error, ValueError) as error:
        message = f"not a base64 image: {str(error).lower()}."
        raise RowError("invalid_base64", "image", text, message) from None
