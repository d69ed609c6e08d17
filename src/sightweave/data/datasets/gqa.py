"""GQA: questions composed from scene graphs, with the graphs' objects as regions.

Hudson and Manning 2019 (arXiv:1902.09506). A question file is a JSON object whose keys are question ids. The balanced
questions are a subset of all questions, and the one on which published models are usually trained.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.image_paths import Folder
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.row_store import Store
from sightweave.data.reading.source import FilesConfig

_QUESTION_FOLDER = re.compile(r"questions[\d.]*|(train|val|test|testdev|challenge|submission)_all_questions")
"""Matches the official names of question folders; images and scene graphs are next to the outermost of them."""
_TYPES = {"type": "structural", "semantic": "semantic", "detailed": "detailed"}
"""Names of tags, each with the name of its field in GQA's ``types``."""
_MAX_PIXELS = 1e9


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _is_questions(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"question", "imageId", "isBalanced"} <= keys


@config
class Config(FilesConfig):
    """A folder with question files, scene graphs and images, or one question file with the other files near it."""

    balanced: bool = True
    """Whether to read only the balanced questions, if a split has separate files for balanced and for all questions."""
    regions: bool = True
    """Whether to read the objects of scene graphs as regions, which are stored with each question."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question.

        Raises:
            DataError: A file is damaged.
        """
        path = Path(self.path).expanduser()
        files = [file for file in json_files(path) if _is_questions(file)]
        if not files:
            raise json_stream.missing(path, "*_questions.json of GQA")

        by_subset: dict[str, list[Path]] = {}
        for file in files:
            by_subset.setdefault(_subset(file), []).append(file)
        graphs = [file for file in json_files(_dataset_folder(path)) if "scenegraph" in file.name.lower()]
        unwanted, wanted = ("_all", "_balanced") if self.balanced else ("_balanced", "_all")

        for subset, subset_files in by_subset.items():
            name = _split(subset_files[0])
            if split and name and name != split and not self.split:
                continue
            if unwanted in subset and subset.replace(unwanted, wanted) in by_subset:
                continue

            split_graphs = [one for one in graphs if split_of(one) == name] if self.regions else []
            regions = yield from _read_graphs(split_graphs)
            for file in subset_files:
                yield from _read_questions(file, name, regions)

    def pictures(self) -> Folder:
        """The dataset's folder, which contains ``images`` and may be two levels above a question file."""
        path = Path(self.path).expanduser()
        home = _dataset_folder(path)
        if self.image_root is None and home != (path if path.is_dir() else path.parent):
            return Folder(home, search=True)
        return super().pictures()


def _dataset_folder(path: Path) -> Path:
    """The dataset's folder, which is found above question folders such as ``questions1.2/train_all_questions``."""
    folder = path if path.is_dir() else path.parent
    while _QUESTION_FOLDER.fullmatch(folder.resolve().name.lower()) and not (folder / "images").is_dir():
        folder = folder.resolve().parent
    return folder


def _subset(file: Path) -> str:
    """The subset of a question file, such as ``train_all`` for ``train_all_questions_3.json``."""
    return file.name.lower().partition("_questions")[0]


def _split(file: Path) -> str:
    # Challenge questions are test questions, and the submission file contains all test questions.
    is_test = file.name.lower().startswith(("challenge", "submission"))
    return split_of(file) or ("test" if is_test else "")


class _Regions:
    """Regions by image, stored on disk because the graphs of the training split have over a million objects."""

    def __init__(self) -> None:
        self._store = Store()
        self._numbers: dict[str, int] = {}

    def add(self, image: str, regions: list[dict[str, Any]]) -> None:
        """Stores the regions of one image."""
        self._numbers[image] = len(self._store)
        self._store.append({"regions": regions})

    def of(self, image: str) -> list[dict[str, Any]]:
        """The regions of one image; an empty list if it has no graph."""
        number = self._numbers.get(image)
        return [] if number is None else self._store[number]["regions"]


def _read_graphs(files: list[Path]) -> Generator[Row, None, _Regions]:
    """Returns all regions, and yields a row with an error for each bad graph or object, so that questions can be used."""
    found = _Regions()
    for file in files:
        for number, (image, graph) in enumerate(json_stream.members(file)):
            try:
                width, height, objects = _graph(graph)
            except RowError as error:
                yield Row(number, error, str(file))
                continue

            regions = []
            for key, one in objects.items():
                try:
                    regions.append(_region(one, width, height))
                except RowError as error:
                    fault = RowError(error.code, f"objects.{key}.{error.field}".rstrip("."), None, str(error))
                    fault.value = error.value
                    yield Row(number, fault, str(file))
            found.add(image, regions)

    return found


def _mapping(value: Any, field: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError("wrong_type", field, value, f"must be a JSON object (got {shown(value)}).")
    return value


def _pixels(values: dict[str, Any], field: str) -> float:
    value = values.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_PIXELS:
        raise RowError("wrong_type", field, value, f"must be a number of pixels (got {shown(value)}).")
    return float(value)


def _graph(graph: Any) -> tuple[float, float, dict[str, Any]]:
    width, height = _pixels(_mapping(graph), "width"), _pixels(graph, "height")
    for field, size in (("width", width), ("height", height)):
        if size <= 0:
            raise RowError("wrong_type", field, size, f"must be more than 0 pixels (got {shown(size)}).")
    return width, height, _mapping(graph.get("objects"), "objects")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _region(one: Any, width: float, height: float) -> dict[str, Any]:
    """Converts an object of a graph to a region, whose box is in fractions of the image's `width` and `height`."""
    values = _mapping(one)
    left, top = _pixels(values, "x"), _pixels(values, "y")
    right, bottom = left + _pixels(values, "w"), top + _pixels(values, "h")

    name, attributes = values.get("name"), values.get("attributes") or []
    if not isinstance(name, str) or not name.strip():
        raise RowError("wrong_type", "name", name, f"must be text (got {shown(name)}).")
    if not _is_texts(attributes):
        message = f"must be a list of texts (got {shown(attributes)})."
        raise RowError("wrong_type", "attributes", attributes, message)

    box = [left / width, top / height, right / width, bottom / height]
    words = [name, " ".join([*attributes, name])] if attributes else [name]
    # Five digits are precise to a hundredth of a pixel and halve the storage.
    return {"box": [round(x, 5) for x in box], "words": words}


def _read_questions(file: Path, split: str, regions: _Regions) -> Iterator[Row]:
    for number, (key, one) in enumerate(json_stream.members(file)):
        values: Any
        try:
            values = _question(key, _mapping(one), split)
            found = regions.of(one["imageId"])
            if found:
                values["regions"] = found
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _question(key: str, one: dict[str, Any], split: str) -> dict[str, Any]:
    image = one.get("imageId")
    if image is None:
        raise RowError("missing_field", "imageId", None, f"missing. The question has: {', '.join(one)}.")
    if not isinstance(image, str):
        raise RowError("wrong_type", "imageId", image, f"must be text (got {shown(image)}).")

    values: dict[str, Any] = {
        "id": key,
        "image": f"images/{image}.jpg",
        "question": one.get("question"),
        "tags": _tags(one),
    }
    if split:
        values["split"] = split
    if one.get("answer") is not None:
        values["answer"] = one["answer"]
    elif "answer" not in one and split == "test":
        values["unlabelled"] = True
    return values


def _tags(one: dict[str, Any]) -> dict[str, str]:
    """The tags that GQA's metrics need: the question's types and group, and the ids of related questions."""
    types = _mapping(one.get("types") or {}, "types")
    tags = {tag: types.get(name) for tag, name in _TYPES.items()}

    # GQA's consistency metric checks the answers to these questions, which follow from the answer to this one.
    for field in ("entailed", "equivalent"):
        ids = one.get(field) or []
        if not _is_texts(ids):
            raise RowError("wrong_type", field, ids, f"must be a list of question ids (got {shown(ids)}).")
        tags[field] = " ".join(ids)

    group = _mapping(one.get("groups") or {}, "groups").get("global")
    if not isinstance(group, str | None):
        raise RowError("wrong_type", "groups.global", group, f"must be text or null (got {shown(group)}).")
    tags["group_global"] = group  # GQA compares the distribution of answers within each group

    if one.get("isBalanced") is False:  # GQA's metrics count only balanced questions
        tags["balanced"] = "false"
    return {name: text for name, text in tags.items() if isinstance(text, str) and text}
