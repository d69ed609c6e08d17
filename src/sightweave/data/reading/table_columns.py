"""Maps the columns of tables to the common fields, by any of their usual names.

Tables on the Hub have no standard column names. Images are bytes, paths, or structs of both, in one column or in several;
answers are a text, a list of texts or structs, or the number of an option.
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
    """The images of a row, in order.

    Args:
        cells: Cells of the row by column.
        key: Key of the image; several images of a row get the keys ``key.0``, ``key.1`` and so on.

    Raises:
        RowError: The row has no image column, or an image is neither bytes nor a path.
    """
    names = image_columns(list(cells))
    if not names:
        raise RowError("missing_field", "image", list(cells), f"no image column ({', '.join(cells)}).")

    if len(names) > 1:
        found = []
        for index, name in enumerate(names):
            if cells[name] is not None:
                found.append(_image(cells[name], f"{key}.{index}", name))
        return found

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
    if value is None or value in (b"", "") or value != value:  # NaN, which pandas writes for a missing value
        raise RowError("missing_field", field, value, "no image: neither bytes nor a path.")
    raise RowError("wrong_type", field, value, f"must be bytes, a path, or both (got {shown(value)}).")


def fields(
    cells: Mapping[str, Any],
    *,
    num_images: int,
    names: Mapping[str, list[str]] | None = None,
    convention: Convention | None = None,
) -> Any:
    """Maps a row of a table to the common fields, except for its images.

    Args:
        cells: Cells of the row by column.
        num_images: Number of images in the row, which its turns must refer to.
        names: Class names for each column that holds class numbers.
        convention: How the table's answers refer to options; by default inferred from this row alone.

    Raises:
        RowError: A value has the wrong type for its column.
    """
    cells = without_nan(cells)
    known = {key: _class_name(key, value, names or {}) for key, value in cells.items()}

    # Fields that any row may have, whatever its task.
    found: dict[str, Any] = {}
    identity = next((known[key] for key in _IDS if _is_id(known.get(key))), None)
    if identity is not None:
        found["id"] = identity
    if isinstance(known.get("split"), str) and known["split"]:
        found["split"] = known["split"]
    question_type = next((known[key] for key in _TYPES if _is_filled_text(known.get(key))), None)
    tags = {"type": question_type} if question_type is not None else {}
    found["tags"] = tags
    found["quality"] = {key: value for key, value in cells.items() if _is_rating(value)}

    # Fields of the task: a conversation, or questions, captions and translations.
    turns = next((key for key in TURNS if known.get(key) is not None), None)
    if turns is None:
        return found | _task_fields(known, convention)
    conversation = _conversation(known[turns], turns, num_images)
    return found | conversation | {"tags": tags | conversation.get("tags", {})}


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _is_filled_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_rating(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(one is None or _is_rating(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _class_name(key: str, value: Any, names: Mapping[str, list[str]]) -> Any:
    """The class name for a class number in column `key`; any other value is returned unchanged."""
    known = names.get(key)
    if known is None or value is None or not isinstance(value, int):
        return value
    if not 0 <= value < len(known):
        message = f"class {value} is out of range; there are {len(known)} classes, numbered from 0."
        raise RowError("bad_class", key, value, message)
    return known[value]


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if cells.get(name) is not None), None)


def _task_fields(cells: Mapping[str, Any], convention: Convention | None) -> dict[str, Any]:
    """The common fields of all tasks that a row has: a question, captions, a translation, or several of them."""
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

    # Without a target, a column called ``source`` is not a text to translate; it tells where a row comes from.
    if cells.get("source") is not None and _first(cells, ("target", "targets")) is not None:
        found |= {key: cells[key] for key in _TRANSLATION if cells.get(key) is not None}
    if question is not None and found.get("answers"):
        found |= {key: cells[key] for key in ("rationale", "steps") if cells.get(key)}
    return found


def answers(cells: Mapping[str, Any], convention: Convention | None = None) -> dict[str, Any]:
    """The fields ``answers``, ``references`` and ``options`` of a row, as far as it has them.

    If several annotators answered, the most frequent answer becomes the training target and all become references.

    Args:
        cells: Cells of the row by column.
        convention: How the table's answers refer to options; by default inferred from this row alone.

    Raises:
        RowError: The options cannot be read, or an answer is not one of them.
    """
    convention = convention or Convention(lambda: [cells])
    options = choice_columns.options_of(cells)
    name, one, many = _given_answers(cells, is_open=options is None)
    found: dict[str, Any] = {}

    # With options, the training target is the text of the correct option, even if the table gives its letter or number.
    if options is not None:
        found["options"] = list(options.texts)
        if one is None:
            many = [convention.chosen(each, options, name) for each in many]
        else:
            one = convention.chosen(one, options, name)

    if one is not None:
        found["answers"] = [_number_as_text(one)]
        if many:
            found["references"] = many
    elif many:
        commonest, count = Counter(map(str, many)).most_common(1)[0]
        found["answers"] = many if count == 1 or None in many else [commonest]
        if count > 1:
            found["references"] = many
    return found


def _given_answers(cells: Mapping[str, Any], *, is_open: bool) -> tuple[str, Any, list[Any]]:
    """The column of the correct answer, the answer itself (None if there is no single one), and all annotators' answers."""
    given = cells.get("answers")
    many = given if isinstance(given, list) else []
    many = [one.get("answer") if isinstance(one, dict) else one for one in many]

    name = next((name for name in choice_columns.ANSWERS if not _is_empty(cells.get(name))), "answers")
    one = None if name == "answers" and isinstance(given, list) else cells.get(name)

    # If a table writes its options as one text, it also writes several answers to an open question as one text.
    if is_open and isinstance(one, str) and any(isinstance(cells.get(key), str) for key in _CHOICES):
        one = choice_columns.listed(one)

    if isinstance(one, list):
        many, one = many or one, None
    return name, None if _is_empty(one) else one, many


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number_as_text(answer: Any) -> Any:
    """Converts a number to text, without ``.0``; any other value is returned unchanged."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    return str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer


def _conversation(given: Any, column: str, num_images: int) -> dict[str, Any]:
    """The field ``turns`` of a conversation, with image numbers in place of placeholders, and ``tags`` if there are any."""
    if not isinstance(given, list) or not given:
        raise RowError("wrong_type", column, given, f"must be a list of turns (got {shown(given)}).")
    for index, one in enumerate(given):
        if not isinstance(one, dict):
            raise RowError("wrong_type", f"{column}[{index}]", one, f"must be a turn (got {shown(one)}).")

    marks = 0
    tags: dict[str, str] = {}
    if column == "texts":
        turns, tags = _cauldron_turns(given)
    else:
        turns = [_turn(one) for one in given]
        for turn in turns:
            # A placeholder is ordinary text in a row without images and in assistant turns.
            is_marked = bool(num_images) and turn["role"] == "user"
            turn["content"], marks = _pieces(turn["content"], marks, is_marked)

    # If there are no placeholders, put all images at the start of the first user turn.
    if not marks and num_images:
        first = next((turn for turn in turns if turn["role"] == "user"), turns[0])
        content = first["content"] if isinstance(first["content"], list) else [first["content"]]
        first["content"] = [*range(num_images), *content]

    return {"turns": turns, "tags": tags} if tags else {"turns": turns}


def _cauldron_turns(given: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Turns of a row of The Cauldron, whose entries are pairs of question and answer, and a ``source`` tag if it has one."""
    turns: list[dict[str, Any]] = []
    tags: dict[str, str] = {}
    for one in given:
        turns += [{"role": role, "content": one.get(role)} for role in ("user", "assistant")]
        if isinstance(one.get("source"), str) and one["source"]:
            tags.setdefault("source", one["source"])
    return turns, tags


def _turn(given: dict[str, Any]) -> dict[str, Any]:
    """Converts a turn in the style of OpenAI or ShareGPT to ``role`` and ``content``."""
    role = given.get("role") or given.get("from")
    content = given.get("content") if given.get("content") is not None else given.get("value")
    return {"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": content}


def _pieces(content: Any, marks: int, is_marked: bool) -> tuple[list[Any], int]:
    """Splits a turn's content into texts and image numbers.

    Args:
        content: The content: a text, or a list of parts.
        marks: Number of placeholders in earlier turns.
        is_marked: Whether ``<image>`` in a text is a placeholder.

    Returns:
        The pieces, and the number of placeholders including those in this turn.
    """
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

        # Line breaks next to a placeholder belong to it.
        parts = text.split(_MARK)
        for index, part in enumerate(parts):
            if index:
                pieces.append(marks)
                marks += 1
                part = part.lstrip("\n")
            if index + 1 < len(parts):
                part = part.rstrip("\n")
            if part.strip():
                pieces.append(part)

    return pieces, marks


def convention(
    files: Callable[[], Iterable[Path]], classes: Callable[[Path], Mapping[str, list[str]]]
) -> Convention:
    """The way in which the answers of several tables refer to options, inferred from all tables together.

    Args:
        files: Returns the paths of the parquet or Arrow files.
        classes: Returns the class names of a file's columns.
    """

    def rows_again() -> Iterator[Mapping[str, Any]]:
        for file in files():
            names = classes(file)
            wanted = choice_columns.columns(arrow_files.columns(file))
            for _, cells in arrow_files.rows(file, wanted):
                if not isinstance(cells, RowError):
                    yield {key: _class_name_or_none(key, value, names) for key, value in cells.items()}

    return Convention(rows_again)


def _class_name_or_none(key: str, value: Any, names: Mapping[str, list[str]]) -> Any:
    try:
        return _class_name(key, value, names)
    except RowError:
        return None


def rows(
    file: Path,
    label: str,
    split: str,
    classes: Mapping[str, list[str]],
    convention: Convention | None = None,
) -> Iterator[Row]:
    """Yields the rows of a table, mapped to the common fields.

    Args:
        file: A parquet or Arrow file.
        label: Name of the file in ids and keys.
        split: Split of the rows that have none of their own; may be empty.
        classes: Class names for each column that holds class numbers.
        convention: How the answers of the dataset's tables refer to options.
    """
    for number, cells in arrow_files.rows(file):
        values: Any = cells
        if not isinstance(cells, RowError):
            try:
                found = images(cells, f"{label}#{number}")
                values = fields(cells, num_images=len(found), names=classes, convention=convention)
                values["images"] = found
                values.setdefault("id", f"{label}#{number}")
                if split:
                    values.setdefault("split", split)
                if split == "test" and "question" in values and not values.get("answers"):
                    values["unlabelled"] = True
            except RowError as error:
                values = error
        yield Row(number, values, str(file))
