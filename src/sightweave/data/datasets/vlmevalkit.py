"""VLMEvalKit's tables: tab-separated, with pictures in base64, a question, options and the answer's letter.

VLMEvalKit (Duan et al. 2024, arXiv:2407.11691). The picture's cell may instead hold the index of the row that has the
picture, or a list of several; ``image_path`` names files where there is no such cell. The hint stands before the
question, and what is learnt is the option's text.
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

_REFERENCE = 64
"""A shorter cell is no picture, but the index of the row that has it."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in files(path, ".tsv") if _is_ours(file)]
    return f"index, question and images in {among(found)}" if found else ""


def _is_ours(file: Path) -> bool:
    names = set(tsv_files.head(file, "\t"))
    return {"index", "question"} <= names and bool({"image", "image_path"} & names)


@config
class Config(FilesConfig):
    """A folder with such tables, or one of them."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per question."""
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
            shared = _Shared(file)
            for record in tsv_files.records(file, "\t"):
                try:
                    if isinstance(record.cells, RowError):
                        raise record.cells
                    values: Any = _values(record.cells, shared, name)
                except RowError as error:
                    values = error
                yield Row(record.line, values, str(file))


class _Shared:
    """Pictures of rows, found again by the row's index; where rows lie is learnt when first asked for."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._offsets: dict[str, int] | None = None

    def cell(self, index: str) -> str:
        """The picture's cell of another row."""
        if self._offsets is None:
            self._offsets = {
                record.cells["index"].strip(): record.offset
                for record in tsv_files.records(self.file, "\t")
                if not isinstance(record.cells, RowError) and "index" in record.cells
            }
        offset = self._offsets.get(index)
        if offset is None:
            raise RowError(
                "bad_reference", "image", index, f"refers to row {index!r}, but no row has this index."
            )
        record = next(tsv_files.records(self.file, "\t", offset=offset))
        found = record.cells.get("image", "") if not isinstance(record.cells, RowError) else ""
        if len(found) <= _REFERENCE:
            raise RowError(
                "bad_reference", "image", index, f"refers to row {index!r}, which has no image itself."
            )
        return found


def _values(cells: Mapping[str, str], shared: _Shared, split: str) -> dict[str, Any]:
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
    told = cells.get("split", "").strip().lower()
    if told in SPLIT_NAMES or split:  # the column holds names of other things too
        values["split"] = told if told in SPLIT_NAMES else split
    return values


def _answer(cells: Mapping[str, str], options: list[str]) -> Any:
    """The text of the option that the letter names, by its column: a letter between may have no option."""
    answer = cells["answer"].strip()
    if options and answer.upper() in _LETTERS and len(answer) == 1 and answer.upper() in cells:
        return cells[answer.upper()]
    if options and answer not in options:
        letters = ", ".join(letter for letter in _LETTERS if letter in cells)
        raise RowError(
            "bad_answer", "answer", answer, f"{answer!r} is neither an option nor one of {letters}."
        )
    return answer


def _tags(cells: Mapping[str, str]) -> dict[str, str]:
    tags = {"type": cells["category"]} if "category" in cells else {}
    return tags | {key: cells[key] for key in ("l2-category",) if key in cells}


def _images(cells: Mapping[str, str], index: str, shared: _Shared) -> list[Inside | str]:
    given = cells.get("image", "").strip()
    if not given:
        paths = _several(cells.get("image_path", "").strip())
        if not paths:
            raise RowError("missing_field", "image", None, "missing: neither image nor image_path.")
        return [*paths]
    if len(given) <= _REFERENCE:
        index, given = given, shared.cell(given).strip()
    found = _several(given)
    key = f"{shared.file.name}#{index}"
    return [
        Inside(_decoded(one), key if len(found) == 1 else f"{key}.{number}")
        for number, one in enumerate(found)
    ]


def _several(cell: str) -> list[str]:
    """The values of a cell, which may hold a list as Python writes it."""
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
