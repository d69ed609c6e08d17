"""What an evaluation leaves in a folder, read back: ``evaluation.json``, ``predictions.jsonl`` and ``gallery``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core import json_lines, links
from sightweave.core.errors import DataError
from sightweave.programs.evaluation.scores import FORMAT_VERSION, Evaluation

EVALUATION, PREDICTIONS = "evaluation.json", "predictions.jsonl"
GALLERY = "gallery"


def read_document(folder: Path) -> Mapping[str, Any]:
    """``evaluation.json`` of a folder: the scores of each split, and what they depend on.

    Raises:
        DataError: no such file, a damaged one, or one of another format.
    """
    path = folder / EVALUATION
    again = f"sightweave evaluate {folder} writes it anew."
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise DataError(f"{path}: damaged: {error}; {again}") from None
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION or not isinstance(document.get("splits"), list):
        raise DataError(
            f"{path}: format_version {version!r}, but this version reads {FORMAT_VERSION}; {again}"
        )
    return document  # type: ignore[no-any-return]  # an object, as was asked above


def read_evaluations(folder: Path) -> list[Evaluation]:
    """The evaluation of each split with all its answers.

    Raises:
        DataError: no evaluation there, a damaged one, or one of another format; the message has the file and the line.
    """
    document = read_document(folder)
    rows = read_predictions(folder)
    try:
        found = [
            Evaluation.from_json(one, [row for row in rows if row.get("split") == one["split"]])
            for one in document["splits"]
        ]
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: {error} sightweave evaluate {folder} writes it anew.") from None
    for one in found:
        if len(one.items) != one.count:
            raise DataError(
                f"{folder / PREDICTIONS}: {len(one.items)} answers of split {one.split!r}, but {EVALUATION} counts "
                f"{one.count}. sightweave evaluate {folder} writes both anew."
            )
    return found


def read_predictions(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``predictions.jsonl``: every prompt with its answers.

    Raises:
        DataError: no such file, or a damaged line.
    """
    path, found = folder / PREDICTIONS, []
    again = f"sightweave evaluate {folder} writes it anew."
    try:
        lines = json_lines.read(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number} is damaged: {error}; {again}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is {type(row).__name__}, not an object; {again}")
        found.append(row)
    return found


def read_gallery(folder: Path) -> dict[str, Path]:
    """Files of the pictures that were kept for the pages, by the pictures' keys; those that are gone are left out.

    The folder may be somebody else's, so nothing in it may make a page show what lies elsewhere.

    Raises:
        DataError: an index that is damaged, or that names anything but files of the gallery itself.
    """
    gallery = folder / GALLERY
    path, again = gallery / "index.json", f"sightweave evaluate {folder} writes it anew."
    if not path.is_file():
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {again}") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deep
        raise DataError(f"{path}: damaged: {error}; {again}") from None
    if not isinstance(names, dict):
        raise DataError(f"{path}: {type(names).__name__}, not an object; {again}")

    found = {}
    for key, name in names.items():
        if not _is_inside(gallery, name):
            raise DataError(
                f"{path}: the picture {key!r} is {name!r}, which is no file of {gallery}; pictures from elsewhere are not "
                f"shown. {again}"
            )
        if (gallery / name).is_file():
            found[key] = gallery / name
    return found


def _is_inside(gallery: Path, name: object) -> bool:
    if not isinstance(name, str) or not name or "\0" in name or Path(name).name != name:
        return False
    try:
        return links.stays_in(gallery / name, gallery.parent.resolve() / gallery.name)
    except (OSError, RuntimeError):  # a loop of links
        return False
