"""Builds records from rows of common fields, and checks the fields. Every dataset format maps its rows to these fields.

A row may have the fields of several tasks::

    caption | captions                                             (optional: prompt)
    question, answer | answers                                     (optional: options, rationale | steps, type)
    source, target | targets, source_language, target_language
    turns                                                          (a conversation)
    task, and the fields of that task's Record                     (any other task)

with ``images`` (any number), and optionally ``id``, ``split``, ``tags``, ``regions``, ``quality`` and, if the task uses it,
``target_image``.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sightweave.core.errors import did_you_mean
from sightweave.core.types import Medium, Region, group_of
from sightweave.data.reading import image_marks
from sightweave.data.reading.dataset import Record, task_of
from sightweave.data.reading.row_files import RowError, shown
from sightweave.data.reading.splits import split_name
from sightweave.data.tasks import captioning, conversation, reasoning, translation, vqa
from sightweave.data.tasks._base import COMMON, record_class

FIELDS = (
    *("image", "images", "id", "split", "tags", "type", "prompt", "caption", "captions"),
    *("question", "answer", "answers", "references", "options", "rationale", "steps"),
    *("source", "target", "targets", "source_language", "target_language"),
    *("turns", "regions", "quality", "target_image"),
)
"""Names of the common fields that a row may have."""
_FIELD_PREFIXES = tuple(f"{field}_" for field in FIELDS)
_BY_COLUMNS = (
    *(captioning.Record, vqa.Record, reasoning.Record),
    *(translation.Record, conversation.Record),
)
"""Record classes of the tasks that are recognised by a row's columns; their names in a ``task`` column have no effect."""
ROLES = ("system", "user", "assistant")
_NOT_A_LIST = "must be a list of texts (got {})."
_CommonFields = Mapping[str, Any]


def _columns_present(values: Mapping[str, Any]) -> str:
    names = [str(name) for name in values if name != "unread"]
    return f"The row has: {', '.join(names) or 'nothing'}."


def check_fields(values: Mapping[str, Any]) -> list[str]:
    """Returns the names of the columns that are not read.

    Raises:
        RowError: A column name looks like a misspelling of a known field.
    """
    ignored = []
    known = {*FIELDS, *_task_columns(values)}

    for key in values:
        if key in known:
            continue

        # ``question_id`` and ``image_width`` are other columns, but ``captoin`` is a misspelling.
        name = str(key)
        is_other = name.startswith(_FIELD_PREFIXES)
        if not is_other and difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.8):
            message = f"unknown field. {did_you_mean(name, FIELDS)}"
            raise RowError("unknown_field", name, values[key], message)
        ignored.append(name)

    return ignored


def records(
    values: Mapping[str, Any], images: Sequence[Medium], name: str, *, labelled: bool
) -> list[Record]:
    """Builds all records of one row, one for each task whose fields it has.

    Args:
        values: The row, with the fields in `FIELDS`.
        images: Images of the row; the last one is its ``target_image``, if it has that field.
        name: Id to use if the row has none of its own.
        labelled: Whether the row must have a training target.

    Raises:
        RowError: A required field is missing, or a field is empty or has the wrong type.
    """
    name = _row_id(values, name)
    target_image = None
    if values.get("target_image") is not None:
        *images, target_image = images
    common: dict[str, Any] = {
        "id": name,
        "images": tuple(images),
        "group": group_of(tuple(images), name),
        "split": split_name(values["split"]) if values.get("split") is not None else "train",
        "tags": _tags(values),
        "regions": _regions(values),
    }
    if not images:
        image_marks.check(values, _user_texts(values))

    # A row that names a task in its ``task`` column becomes a record of that task only.
    task_class = _named_task_class(values)
    if task_class is not None:
        return [_record_of_task(task_class, values, common, target_image)]

    # Any other row becomes a record for each task whose fields are present.
    made: list[Record] = []
    for make in (_captioning, _question, _translation, _conversation):
        record = make(values, common, labelled)
        if record is not None:
            made.append(record)
    if not made:
        message = (
            "nothing to train on; add caption, question and answer, or source and target. "
            f"{_columns_present(values)}"
        )
        raise RowError("missing_field", "", list(values), message)

    if len(made) == 1:
        return made
    return [replace(record, id=f"{name}#{task_of(record)}") for record in made]


def _row_id(values: Mapping[str, Any], default: str) -> str:
    given = values.get("id")
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise RowError("wrong_type", "id", given, f"must be text or a whole number (got {shown(given)}).")
    return str(given)


def _user_texts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the field name and text of each user text, in which a placeholder refers to an image (unlike in an answer)."""
    for field in ("prompt", "question"):
        if isinstance(values.get(field), str):
            yield field, values[field]

    turns = values.get("turns")
    for number, turn in enumerate(turns if isinstance(turns, list | tuple) else ()):
        if not isinstance(turn, Mapping) or turn.get("role") != "user":
            continue
        content = turn.get("content")
        for piece in content if isinstance(content, list | tuple) else [content]:
            if isinstance(piece, str):
                yield f"turns[{number}]", piece


def _named_task_class(values: Mapping[str, Any]) -> type | None:
    """Record class of the task in a row's ``task`` column; None if there is none, or if its columns identify the task."""
    task = values.get("task")
    found = record_class(task) if isinstance(task, str) else None
    return None if found in _BY_COLUMNS else found


def _task_columns(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the additional columns that are read if the row names a task."""
    task_class = _named_task_class(values)
    return () if task_class is None else ("task", *_task_fields(task_class))


@cache
def _task_fields(record_type: type) -> dict[str, tuple[Field[Any], TypeAdapter[Any]]]:
    """The task-specific fields of a record class by name, each with a validator for its values."""
    hints = get_type_hints(record_type)
    found = {}
    for field in fields(record_type):
        if field.name not in (*COMMON, "target_image"):
            found[field.name] = (field, TypeAdapter(hints[field.name]))
    return found


def _record_of_task(
    record_type: type, values: Mapping[str, Any], common: _CommonFields, target_image: Medium | None
) -> Record:
    """Builds the record of a row that names its task."""
    found: dict[str, Any] = {}
    if target_image is not None and "target_image" in getattr(record_type, "__dataclass_fields__", ()):
        found["target_image"] = target_image
    for name, (field, validator) in _task_fields(record_type).items():
        value = values.get(name)
        if value is None:
            if field.default is MISSING and field.default_factory is MISSING:
                message = f"missing; task {values['task']!r} needs it. {_columns_present(values)}"
                raise RowError("missing_field", name, None, message)
            continue

        try:
            found[name] = validator.validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise RowError("wrong_type", name, value, f"{message} (got {shown(value)}).") from None

    made: Record = record_type(**common, **found)
    return made


def check_record(record: Record) -> None:
    """Checks the field types of a record that was made in Python, where a string can be mistaken for a list of letters.

    Raises:
        RowError: A field is not a string, or not a list of strings, although its type says so.
    """
    for name, hint in _field_types(type(record)).items():
        value = getattr(record, name)
        if hint is str and not isinstance(value, str):
            raise RowError("wrong_type", name, value, f"must be text (got {shown(value)}).")
        if get_origin(hint) is not tuple:
            continue

        if not isinstance(value, list | tuple):
            raise RowError("wrong_type", name, value, f"must be a list (got {shown(value)}).")
        if get_args(hint)[0] is str and not all(isinstance(one, str) for one in value):
            raise RowError("wrong_type", name, value, _NOT_A_LIST.format(shown(value)))

    _regions({"regions": record.regions})


@cache
def _field_types(record_type: type) -> dict[str, Any]:
    hints = get_type_hints(record_type)
    return {field.name: hints[field.name] for field in fields(record_type)}


def _captioning(values: Mapping[str, Any], common: _CommonFields, labelled: bool) -> captioning.Record | None:
    captions = _texts(values, "caption", "captions")
    prompt = _text(values, "prompt")
    if not captions:
        is_of_another_task = any(values.get(key) is not None for key in ("question", "source", "turns"))
        if labelled or is_of_another_task:
            return None

    if not common["images"]:
        message = f"a caption needs an image. {_columns_present(values)}"
        raise RowError("missing_field", "image", None, message)
    return captioning.Record(**common, captions=captions, prompt=prompt)


def _question(
    values: Mapping[str, Any], common: _CommonFields, labelled: bool
) -> vqa.Record | reasoning.Record | None:
    question = _text(values, "question")
    answers = _texts(values, "answer", "answers")
    options = _texts(values, None, "options")
    references = _references(values)
    rationale = " ".join(_texts(values, "rationale", "steps"))

    # A question needs an answer, and an answer needs a question.
    if not question:
        for field in ("answer", "answers", "options", "rationale", "steps"):
            if values.get(field) is not None:
                message = f"missing, although there is {field!r}. {_columns_present(values)}"
                raise RowError("missing_field", "question", None, message)
        return None
    if not answers and labelled:
        message = f"missing, although there is a question. {_columns_present(values)}"
        raise RowError("missing_field", "answer", None, message)

    # A question with a rationale is a reasoning task.
    if rationale:
        return reasoning.Record(
            **common,
            question=question,
            answers=answers,
            options=options,
            rationale=rationale,
            references=references,
        )
    return vqa.Record(**common, question=question, answers=answers, options=options, references=references)


def _references(values: Mapping[str, Any]) -> tuple[str, ...]:
    """All non-empty reference answers, including duplicates, since some metrics count annotators."""
    given = values.get("references")
    if given is None:
        return ()
    found = given if isinstance(given, list | tuple) else [given]
    return tuple(_text_or_scalar(one, "references") for one in found if one != "")


def _translation(
    values: Mapping[str, Any], common: _CommonFields, labelled: bool
) -> translation.Record | None:
    source = _text(values, "source")
    targets = _texts(values, "target", "targets")
    source_language = _text(values, "source_language")
    target_language = _text(values, "target_language")
    found: dict[str, object] = {
        "source": source,
        "target": targets,
        "source_language": source_language,
        "target_language": target_language,
    }
    present = [key for key, value in found.items() if value]
    if not present:
        return None

    # If one of the fields is present, all are required.
    for field, value in found.items():
        is_required = labelled or field != "target"
        if not value and is_required:
            message = f"missing, although there is {present[0]!r}. {_columns_present(values)}"
            raise RowError("missing_field", field, None, message)

    return translation.Record(
        **common,
        source=source,
        targets=targets,
        source_language=source_language,
        target_language=target_language,
    )


def _conversation(
    values: Mapping[str, Any], common: _CommonFields, labelled: bool
) -> conversation.Record | None:
    given = values.get("turns")
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not given:
        raise RowError("wrong_type", "turns", given, f"must be a list of turns (got {shown(given)}).")

    # Read the turns, and collect what is checked below.
    turns = []
    image_numbers: list[int] = []
    has_target = False
    for number, values_of_turn in enumerate(given):
        turn = _turn(values_of_turn, number)
        turns.append(turn)
        image_numbers += [piece for piece in turn.content if isinstance(piece, int)]
        has_target = has_target or (turn.role == "assistant" and turn.learn)

    # Each image must be used exactly once.
    count = len(common["images"])
    if sorted(image_numbers) != list(range(count)):
        both = f"{len(image_numbers)} placeholders, {count} images"
        message = (
            f"{len(image_numbers)} image placeholders in the turns but {count} images; each image needs one."
        )
        raise RowError("image_marks", "turns", both, message)

    # For training, the last turn must be an assistant turn.
    if labelled and not has_target:
        raise RowError("missing_field", "turns", None, "no assistant turn, so nothing to train on.")
    if labelled and turns[-1].role != "assistant":
        raise RowError("turn_order", "turns", turns[-1].role, "the last turn is not an assistant turn.")
    return conversation.Record(**common, turns=tuple(turns))


def _turn(values: Any, number: int) -> conversation.Turn:
    field = f"turns[{number}]"
    if not isinstance(values, Mapping) or "role" not in values or "content" not in values:
        raise RowError("wrong_type", field, values, f"must have role and content (got {shown(values)}).")
    role = values["role"]
    if role not in ROLES:
        message = f"unknown role {shown(role)}. {did_you_mean(str(role), ROLES)}"
        raise RowError("bad_role", field, role, message)

    given = values["content"]
    pieces: list[str | int] = []
    for piece in given if isinstance(given, list | tuple) else [given]:
        if isinstance(piece, int) and not isinstance(piece, bool):
            pieces.append(piece)
        elif isinstance(piece, str) and not piece.strip() and role != "assistant":
            continue  # white space between two image placeholders
        else:
            pieces.append(_nonempty_text(piece, field))
    if not pieces:
        raise RowError("empty_field", field, given, f"the {role} turn is empty.")

    return conversation.Turn(role, tuple(pieces), values.get("learn", True) is not False)


def _regions(values: Mapping[str, Any]) -> tuple[Region, ...]:
    """The row's regions, whose boxes are clipped to the image; regions without area or words are skipped."""
    given = values.get("regions")
    if given is not None and not isinstance(given, list | tuple):
        raise RowError("wrong_type", "regions", given, f"must be a list of regions (got {shown(given)}).")

    regions = []
    for number, one in enumerate(given or ()):
        region = _region(one, f"regions[{number}]")
        if region is not None:
            regions.append(region)
    return tuple(regions)


def _region(given: Any, field: str) -> Region | None:
    """One region; None if its box has no area or there are no words for it."""
    if isinstance(given, Region):
        words: Any = given.words  # made in Python, where nothing checks the type
        if isinstance(words, str):
            raise RowError("wrong_type", f"{field}.words", words, _NOT_A_LIST.format(shown(words)))
        return given

    box = given.get("box") if isinstance(given, Mapping) else None
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise RowError("wrong_type", field, given, f"must have a box of four numbers (got {shown(given)}).")
    if not all(isinstance(x, int | float) and abs(x) < math.inf for x in box):
        message = f"a box must be left, top, right, bottom (got {shown(box)})."
        raise RowError("wrong_type", field, box, message)

    left, top, right, bottom = (float(min(max(x, 0), 1)) for x in box)
    words = given.get("words")
    if words is None:
        words = []
    elif not isinstance(words, list | tuple):
        words = [words]
    if left >= right or top >= bottom or not words:
        return None
    return Region((left, top, right, bottom), tuple(_text_or_scalar(word, field) for word in words))


def _nonempty_text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise RowError("wrong_type", field, value, f"must be text (got {shown(value)}).")
    if not value.strip():
        raise RowError("empty_field", field, value, f"is empty (got {shown(value)}).")

    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"{value[error.start]!a}"
        raise RowError("bad_text", field, half, f"contains an unpaired surrogate ({half}).") from None
    return value


def _text_or_scalar(value: Any, field: str) -> str:
    """A non-empty text; numbers and Booleans, which answers often are, are converted to text."""
    return _nonempty_text(text_of_scalar(value), field)


def text_of_scalar(value: Any) -> Any:
    """Converts a finite number or Boolean to text; any other value is returned unchanged.

    5.0 becomes ``5``, because a table stores integers as floats if some values in the column are missing.
    """
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return value
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python is willing to convert
            return value
    return value


def most_given(answers: Sequence[Any]) -> list[str]:
    """A list with the most frequent answer (the first one in a tie), for training; an empty list if there are no answers."""
    texts = []
    for answer in answers:
        text = text_of_scalar(answer)
        if isinstance(text, str) and text.strip():
            texts.append(text)
    return [Counter(texts).most_common(1)[0][0]] if texts else []


def _text(values: Mapping[str, Any], field: str) -> str:
    """The text of an optional field; empty if the field is missing."""
    value = values.get(field)
    return "" if value is None else _nonempty_text(value, field)


def _texts(values: Mapping[str, Any], one: str | None, many: str) -> tuple[str, ...]:
    """The texts in a field and in its plural form, either of which may be a text or a list.

    Args:
        values: The row.
        one: Name of the field; None if it only has a plural form.
        many: Plural name of the field. Duplicates are removed, except among ``steps``.
    """
    found: list[str] = []
    for field in (one, many):
        value = text_of_scalar(values.get(field)) if field else None
        if field is None or value is None:
            continue

        if isinstance(value, list | tuple):
            if not value:
                raise RowError("empty_field", field, value, "is an empty list.")
            found += [_text_or_scalar(item, field) for item in value]
        elif isinstance(value, str):
            found.append(_nonempty_text(value, field))
        else:
            message = f"must be text or a list of texts (got {shown(value)})."
            raise RowError("wrong_type", field, value, message)

    return tuple(found) if many == "steps" else tuple(dict.fromkeys(found))


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    tags = values.get("tags")
    found: dict[str, str] = {}
    if tags is not None:
        if not isinstance(tags, Mapping):
            message = f"must be a mapping of names to texts (got {shown(tags)})."
            raise RowError("wrong_type", "tags", tags, message)
        for key, value in tags.items():
            found[_nonempty_text(key, "tags")] = _text_or_scalar(value, f"tags.{key}")

    if values.get("type") is not None:
        found["type"] = _text_or_scalar(values["type"], "type")
    return found
