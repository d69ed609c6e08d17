"""Columns of tables, however their writers called them -> the common fields.

Tables on the Hub have no fixed names: pictures are structs of bytes and path, bytes or paths, in one column or in
several; answers are a text, a list of texts or of structs, or the number of a choice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.data.reading import arrow_files, choice_columns
from sightweave.data.reading.choice_columns import Convention
from sightweave.data.reading.image_paths import Inside
from sightweave.data.reading.row_files import Row, RowError, shown, without_nan
from sightweave.data.reading.table_layouts import CAPTIONS, QUESTIONS, TURNS, image_columns

_CHOICES = ("options", "choices")
_TYPES = ("answer_type", "question_type", "type", "category")
_IDS = ("question_id", "id")
_TRANSLATION = ("source", "target", "targets", "source_language", "target_language")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_MARK = "<image>"


def images(cells: Mapping[str, Any], key: str) -> list[Inside | str]:
    """The pictures of a row, in order.

    Args:
        cells: Its columns.
        key: The row's name; several pictures are called ``key.0``, ``key.1`` and so on.

    Raises:
        RowError: a picture that is neither bytes nor a path.
    """
    names = image_columns(list(cells))
    if not names:
        raise RowError("missing_field", "image", list(cells), f"no image column ({', '.join(cells)}).")
    if len(names) > 1:
        return [
            _image(cells[name], f"{key}.{index}", name)
            for index, name in enumerate(names)
            if cells[name] is not None
        ]
    (name,) = names
    value = cells[name]
    if isinstance(value, list):
        return [_image(one, f"{key}.{index}", name) for index, one in enumerate(value)]
    if value is None and name == "images":
        return []
    return [_image(value, key, name)]


def _image(value: Any, key: str, field: str) -> Inside | str:
    path = None
    if isinstance(value, dict):
        path, value = value.get("path"), value.get("bytes")
        if value is None and isinstance(path, str) and path:
            return path
    if isinstance(value, bytes) and value:
        return Inside(value, key)
    if isinstance(value, str) and value:
        return value
    if value is None or value in (b"", "") or value != value:  # NaN, which pandas writes for none
        raise RowError("missing_field", field, value, "no image: neither bytes nor a path.")
    raise RowError("wrong_type", field, value, f"must be bytes, a path, or both (got {shown(value)}).")


def fields(
    cells: Mapping[str, Any],
    *,
    num_images: int,
    names: Mapping[str, list[str]] | None = None,
    convention: Convention | None = None,
) -> Any:
    """Everything but the pictures, in the common fields.

    Args:
        cells: Columns of the row.
        num_images: Pictures of the row, for the marks in its turns.
        names: Names of the classes of columns that hold their numbers.
        convention: How the table's answers name their options; by default as this row alone tells.

    Raises:
        RowError: a value that cannot be what its column's name says.
    """
    cells = without_nan(cells)
    known = {key: _named(key, value, names or {}) for key, value in cells.items()}
    found: dict[str, Any] = {}
    identity = next((known[key] for key in _IDS if _is_id(known.get(key))), None)
    if identity is not None:
        found["id"] = identity
    if isinstance(known.get("split"), str) and known["split"]:
        found["split"] = known["split"]
    kind = next(
        (known[key] for key in _TYPES if isinstance(known.get(key), str) and known[key].strip()), None
    )
    found["tags"] = {"type": kind} if kind is not None else {}
    found["quality"] = {key: value for key, value in cells.items() if _is_rating(value)}
    column = next((key for key in TURNS if known.get(key) is not None), None)
    if column is not None:
        made = _conversation(known[column], column, num_images)
        return found | made | {"tags": found["tags"] | made.get("tags", {})}
    return found | _learnt(known, convention)


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _is_rating(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(one is None or _is_rating(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named(key: str, value: Any, names: Mapping[str, list[str]]) -> Any:
    known = names.get(key)
    if known is None or value is None or not isinstance(value, int):
        return value
    if not 0 <= value < len(known):
        raise RowError(
            "bad_class",
            key,
            value,
            f"class {value} is out of range; there are {len(known)} classes, numbered from 0.",
        )
    return known[value]


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if cells.get(name) is not None), None)


def _learnt(cells: Mapping[str, Any], convention: Convention | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    question = _first(cells, QUESTIONS)
    if question is not None:
        found |= {"question": question, **answers(cells, convention)}
    captions = _first(cells, CAPTIONS[:2] if question is not None else CAPTIONS)
    if captions is None and question is None and isinstance(cells.get("label"), str):
        captions = cells["label"]
    if captions is not None:
        found["captions"] = captions
        if isinstance(cells.get("prompt"), str) and cells["prompt"]:
            found["prompt"] = cells["prompt"]
    # A column called source alone says where a row is from.
    if cells.get("source") is not None and _first(cells, _TRANSLATION[1:3]) is not None:
        found |= {key: cells[key] for key in _TRANSLATION if cells.get(key) is not None}
    if question is not None and found.get("answers"):
        found |= {key: cells[key] for key in ("rationale", "steps") if cells.get(key)}
    return found


def answers(cells: Mapping[str, Any], convention: Convention | None = None) -> dict[str, Any]:
    """``answers``, and where there are any ``references`` and ``options``; empty where a row has no answer.

    Of many people's answers the commonest is learnt, and all are kept as references.

    Args:
        cells: Columns of the row.
        convention: How the table's answers name their options; by default as this row alone tells.

    Raises:
        RowError: options that cannot be read, or an answer that is none of them.
    """
    convention = convention or Convention(lambda: [cells])
    options = choice_columns.options_of(cells)
    name, one, many = _answered(cells, is_open=options is None)
    found: dict[str, Any] = {}

    # With options, what is learnt is the text of the right one, however the table names it.
    if options is not None:
        found["options"] = list(options.texts)
        if one is None:
            many = [convention.chosen(each, options, name) for each in many]
        else:
            one = convention.chosen(one, options, name)

    if one is not None:
        found["answers"] = [_plain(one)]
        if many:
            found["references"] = many
    elif many:
        commonest = Counter(map(str, many)).most_common(1)[0]
        found["answers"] = many if commonest[1] == 1 or None in many else [commonest[0]]
        if commonest[1] > 1:
            found["references"] = many
    return found


def _answered(cells: Mapping[str, Any], *, is_open: bool) -> tuple[str, Any, list[Any]]:
    """The column of the right answer, that answer (None where there is no single one), and many people's answers."""
    given = cells.get("answers")
    many = given if isinstance(given, list) else []
    many = [one.get("answer") if isinstance(one, dict) else one for one in many]
    name = next((name for name in choice_columns.ANSWERS if not _is_empty(cells.get(name))), "answers")
    one = None if name == "answers" and isinstance(given, list) else cells.get(name)
    if is_open and isinstance(one, str) and any(isinstance(cells.get(key), str) for key in _CHOICES):
        one = choice_columns.listed(
            one
        )  # where the options are one text, the answers of an open question are too
    if isinstance(one, list):
        many, one = many or one, None
    return name, None if _is_empty(one) else one, many


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _plain(answer: Any) -> Any:
    """A number as a text."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    return str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer


def _conversation(given: Any, column: str, num_images: int) -> dict[str, Any]:
    if not isinstance(given, list) or not given:
        raise RowError("wrong_type", column, given, f"must be a list of turns (got {shown(given)}).")
    turns: list[dict[str, Any]] = []
    tags: dict[str, str] = {}
    for index, one in enumerate(given):
        if not isinstance(one, dict):
            raise RowError("wrong_type", f"{column}[{index}]", one, f"must be a turn (got {shown(one)}).")
        if column == "texts":
            turns += [{"role": role, "content": one.get(role)} for role in ("user", "assistant")]
            if isinstance(one.get("source"), str) and one["source"]:
                tags.setdefault("source", one["source"])
        else:
            role = one.get("role") or one.get("from")
            content = one.get("content") if one.get("content") is not None else one.get("value")
            turns.append(
                {"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": content}
            )
    marks = 0
    if column != "texts":
        for turn in turns:
            # Without pictures, and in what the assistant says, a mark is ordinary text.
            is_marked = bool(num_images) and turn["role"] == "user"
            turn["content"], marks = _pieces(turn["content"], marks, is_marked)
    if not marks and num_images:
        first = next((turn for turn in turns if turn["role"] == "user"), turns[0])
        content = first["content"] if isinstance(first["content"], list) else [first["content"]]
        first["content"] = [*range(num_images), *content]
    return {"turns": turns, **({"tags": tags} if tags else {})}


def _pieces(content: Any, marks: int, is_marked: bool) -> tuple[list[Any], int]:
    """Texts and numbers of pictures, and how many marks there were so far."""
    pieces: list[Any] = []
    for one in content if isinstance(content, list) else [content]:
        if isinstance(one, dict) and one.get("type") in ("image", "image_url"):
            pieces.append(marks)
            marks += 1
            continue
        text = one.get("text") if isinstance(one, dict) else one
        if not isinstance(text, str) or not is_marked:
            pieces.append(text)
            continue
        parts = text.split(_MARK)
        for index, part in enumerate(parts):
            if index:
                pieces.append(marks)
                marks += 1
                part = part.lstrip("\n")  # line breaks that touch a mark belong to it
            part = part.rstrip("\n") if index + 1 < len(parts) else part
            if part.strip():
                pieces.append(part)
    return pieces, marks


def convention(
    files: Callable[[], Iterable[Path]], classes: Callable[[Path], Mapping[str, list[str]]]
) -> Convention:
    """How the answers of all these tables together name their options.

    Args:
        files: Gives the paths of parquet or Arrow files.
        classes: Names of the classes of a file's columns.
    """

    def again() -> Iterator[Mapping[str, Any]]:
        for file in files():
            names = classes(file)
            wanted = choice_columns.columns(arrow_files.columns(file))
            for _, cells in arrow_files.rows(file, wanted):
                if not isinstance(cells, RowError):
                    yield {key: _named_or_none(key, value, names) for key, value in cells.items()}

    return Convention(again)


def _named_or_none(key: str, value: Any, names: Mapping[str, list[str]]) -> Any:
    try:
        return _named(key, value, names)
    except RowError:
        return None


def rows(
    file: Path,
    label: str,
    split: str,
    classes: Mapping[str, list[str]],
    convention: Convention | None = None,
) -> Iterator[Row]:
    """One row for each of a table's.

    Args:
        file: Parquet or Arrow.
        label: How ids and keys name the file.
        split: Of its rows where they name none themselves; may be empty.
        classes: Names of classes by column, for columns that hold their numbers.
        convention: How the answers of the dataset's tables name their options.
    """
    for number, cells in arrow_files.rows(file):
        values: Any = cells
        if not isinstance(cells, RowError):
            try:
                pictures = images(cells, f"{label}#{number}")
                values = fields(cells, num_images=len(pictures), names=classes, convention=convention)
                values["images"] = pictures
                values.setdefault("id", f"{label}#{number}")
                if split:
                    values.setdefault("split", split)
                if split == "test" and "question" in values and not values.get("answers"):
                    values["unlabelled"] = True
            except RowError as error:
                values = error
        yield Row(number, values, str(file))
