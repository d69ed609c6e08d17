"""Reads the files of an evaluation: ``evaluation.json``, ``predictions.jsonl`` and ``gallery``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core import bounded, checkpoint, json_lines
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import DataError
from sightweave.programs.evaluation.scores import FORMAT_VERSION, Evaluation

_MOST_BYTES = 128 << 20
"""Maximum size of ``evaluation.json``."""
_MOST_INDEX_BYTES, _MOST_PICTURES = 8 << 20, 10_000
"""Maximum size of the gallery's index in bytes, and maximum number of images that are read from it."""
EVALUATION, PREDICTIONS = "evaluation.json", "predictions.jsonl"
GALLERY = "gallery"


def read_document(folder: Path) -> Mapping[str, Any]:
    """The contents of ``evaluation.json``: the scores of each split, and the settings that affect them.

    Raises:
        DataError: the file is missing, damaged, or of another format version.
    """
    path = folder / EVALUATION
    again = f"sightweave evaluate {folder} again."
    try:
        document = bounded.parsed(path, most=_MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run {again}") from None
    except UnreadableError as error:
        raise DataError(f"{path}: damaged: {error} Run {again}") from None

    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION or not isinstance(document.get("splits"), list):
        raise DataError(
            f"{path}: format_version {version!r}, but this version reads {FORMAT_VERSION}; run {again}"
        )
    return document  # type: ignore[no-any-return]  # checked above to be an object


def read_evaluations(folder: Path) -> list[Evaluation]:
    """The evaluation of each split with all of its answers.

    Raises:
        DataError: the evaluation is missing, damaged, or of another format version; the message names the file and
            line.
    """
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in read_predictions(folder):
        rows.setdefault(str(row.get("split")), []).append(row)

    found = _typed(folder, rows)
    for one in found:
        if len(one.items) != one.count:
            raise DataError(
                f"{folder / PREDICTIONS}: {len(one.items)} answers of split {one.split!r}, but {EVALUATION} counts "
                f"{one.count}. Run sightweave evaluate {folder} again."
            )
    return found


def read_scores(folder: Path) -> list[Evaluation]:
    """The evaluation of each split without its answers.

    Raises:
        DataError: as raised by `read_evaluations`.
    """
    return _typed(folder, {})


def _typed(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Evaluation]:
    """The evaluations of a folder with validated types; `rows` has the predictions by split."""
    found = []
    for one in read_document(folder)["splits"]:
        split = one.get("split") if isinstance(one, Mapping) else None
        try:
            found.append(Evaluation.from_json(one, rows.get(str(split), ())))
        except DataError as error:
            raise DataError(f"{folder}: {error} Run sightweave evaluate {folder} again.") from None
    return found


def read_predictions(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``predictions.jsonl``: every prompt with its answers.

    Raises:
        DataError: the file is missing or has a damaged line.
    """
    path, found = folder / PREDICTIONS, []
    again = f"sightweave evaluate {folder} again."
    try:
        for number, row in json_lines.values(path):
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number} is a {type(row).__name__}, not an object.")
            found.append(row)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run {again}") from None
    except DataError as error:
        raise DataError(f"{error} Run {again}") from None
    return found


def read_gallery(folder: Path) -> dict[str, Path]:
    """Files of the images that were saved for the pages, by image key; missing files are left out.

    The folder may come from an unknown source, so its index must not make a page show files from elsewhere.

    Raises:
        DataError: the index is damaged, or names anything but files of the gallery itself.
    """
    gallery = folder / GALLERY
    path, again = gallery / "index.json", f"sightweave evaluate {folder} again."
    if not path.exists():
        return {}

    try:
        names = bounded.parsed(path, most=_MOST_INDEX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run {again}") from None
    except UnreadableError as error:
        raise DataError(f"{path}: damaged: {error} Run {again}") from None
    if not isinstance(names, dict):
        raise DataError(f"{path}: {type(names).__name__}, not an object; run {again}")

    found = {}
    for key, name in list(names.items())[:_MOST_PICTURES]:
        if not _is_inside(gallery, name):
            raise DataError(
                f"{path}: the image {key!r} is {name!r}, which is not a file in {gallery}; images from elsewhere are not "
                f"shown. Run {again}"
            )
        if (gallery / name).is_file():
            found[key] = gallery / name
    return found


def _is_inside(gallery: Path, name: object) -> bool:
    if not name or not checkpoint.is_plain_name(name) or gallery.is_symlink():
        return False
    try:
        return bounded.is_inside(gallery, gallery / str(name))
    except (OSError, RuntimeError, ValueError):  # a loop of links, or an invalid file name
        return False
