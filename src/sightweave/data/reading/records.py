"""A row's values -> records: every format translates its rows into these fields, and here they are checked once.

A row may hold several of::

    caption | captions                                             (optional: prompt)
    question, answer | answers                                     (optional: options, rationale | steps, type)
    source, target | targets, source_language, target_language
    turns                                                          (a conversation)
    task, and the fields of that task's Record                     (any other task)

with ``images`` (any number), and optionally ``id``, ``split``, ``tags``, ``regions`` and ``quality``.
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
    *("turns", "regions", "quality"),
)
"""What a row may hold."""
_BY_COLUMNS = (
    *(captioning.Record, vqa.Record, reasoning.Record),
    *(translation.Record, conversation.Record),
)
"""Records that are known by a row's columns, whatever its column ``task`` says."""
ROLES = ("system", "user", "assistant")
_NO_LIST = "must be a list of texts (got {})."
_Settings = Mapping[str, Any]


def _near(values: Mapping[str, Any]) -> str:
    names = [str(name) for name in values if name != "unread"]
    return f"The row has: {', '.join(names) or 'nothing'}."


def check_fields(values: Mapping[str, Any]) -> list[str]:
    """Names of columns that are not read.

    Raises:
        RowError: a name that is a slip of the finger for one that is.
    """
    ignored = []
    known = {*FIELDS, *_own_fields(values)}
    for key in values:
        if key in known:
            continue
        # ``question_id`` or ``image_width`` is another column, ``captoin`` a slip of the finger.
        is_other = any(str(key).startswith(f"{field}_") for field in FIELDS)
        if not is_other and difflib.get_close_matches(str(key), FIELDS, n=1, cutoff=0.8):
            raise RowError(
                "unknown_field", str(key), values[key], f"unknown field. {did_you_mean(str(key), FIELDS)}"
            )
        ignored.append(str(key))
    return ignored


def records(
    values: Mapping[str, Any], images: Sequence[Medium], name: str, *, labelled: bool
) -> list[Record]:
    """All records of one row.

    Args:
        values: As `FIELDS` says.
        images: The row's pictures.
        name: The row's id where it has none of its own.
        labelled: Whether there must be something to learn.

    Raises:
        RowError: a field is missing, empty, of the wrong type, or without its partner.
    """
    identity = values.get("id")
    if identity is not None:
        if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
            raise RowError(
                "wrong_type", "id", identity, f"must be text or a whole number (got {shown(identity)})."
            )
        name = str(identity)
    common: dict[str, Any] = {
        "images": tuple(images),
        "group": group_of(tuple(images), name),
        "split": split_name(values["split"]) if values.get("split") is not None else "train",
        "tags": _tags(values),
        "regions": _regions(values),
    }
    if not images:
        image_marks.check(values, _asked(values))
    if own := _own_class(values):
        return [_of_task(own, values, {**common, "id": name})]
    made: list[Record] = [
        record
        for make in (_captioning, _question, _translation, _conversation)
        if (record := make(values, {**common, "id": name}, labelled)) is not None
    ]
    if not made:
        raise RowError(
            "missing_field",
            "",
            list(values),
            f"nothing to train on; add caption, question and answer, or source and target. {_near(values)}",
        )
    if len(made) == 1:
        return made
    kinds = [task_of(record) for record in made]
    return [replace(record, id=f"{name}#{kind}") for record, kind in zip(made, kinds, strict=True)]


def _asked(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Texts of whoever asks, with their fields: there a mark means a picture, and in an answer it is a word."""
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


def _own_class(values: Mapping[str, Any]) -> type | None:
    """The records of the task that a row names, where its columns alone would not say which they are."""
    task = values.get("task")
    found = record_class(task) if isinstance(task, str) else None
    return None if found in _BY_COLUMNS else found


def _own_fields(values: Mapping[str, Any]) -> tuple[str, ...]:
    own = _own_class(values)
    return () if own is None else ("task", *_types_of(own))


@cache
def _types_of(kind: type) -> dict[str, tuple[Field[Any], TypeAdapter[Any]]]:
    """The fields that only this task's records have, each with what checks a value for it."""
    hints = get_type_hints(kind)
    own = [one for one in fields(kind) if one.name not in COMMON]
    return {one.name: (one, TypeAdapter(hints[one.name])) for one in own}


def _of_task(kind: type, values: Mapping[str, Any], common: _Settings) -> Record:
    """The record of a row that names its task."""
    found = {}
    for name, (field, checks) in _types_of(kind).items():
        value = values.get(name)
        if value is None and field.default is MISSING and field.default_factory is MISSING:
            raise RowError(
                "missing_field", name, None, f"missing; task {values['task']!r} needs it. {_near(values)}"
            )
        if value is None:
            continue
        try:
            found[name] = checks.validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise RowError("wrong_type", name, value, f"{message} (got {shown(value)}).") from None
    made: Record = kind(**common, **found)
    return made


def check_record(record: Record) -> None:
    """Looks over a record that was made in Python, where nothing keeps a text from standing in for a list of letters.

    Raises:
        RowError: a field that is no text, or no list of texts, where its task wants one.
    """
    for name, hint in _hints_of(type(record)).items():
        value = getattr(record, name)
        if hint is str and not isinstance(value, str):
            raise RowError("wrong_type", name, value, f"must be text (got {shown(value)}).")
        if get_origin(hint) is not tuple:
            continue
        if not isinstance(value, list | tuple):
            raise RowError("wrong_type", name, value, f"must be a list (got {shown(value)}).")
        if get_args(hint)[0] is str and not all(isinstance(one, str) for one in value):
            raise RowError("wrong_type", name, value, _NO_LIST.format(shown(value)))
    _regions({"regions": record.regions})


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _captioning(values: Mapping[str, Any], common: _Settings, labelled: bool) -> captioning.Record | None:
    captions = _several(values, "caption", "captions")
    prompt = _text(values, "prompt")
    others = ("question", "source", "turns")
    if not captions and (labelled or any(values.get(key) is not None for key in others)):
        return None
    if not common["images"]:
        raise RowError("missing_field", "image", None, f"a caption needs an image. {_near(values)}")
    return captioning.Record(**common, captions=captions, prompt=prompt)


def _question(
    values: Mapping[str, Any], common: _Settings, labelled: bool
) -> vqa.Record | reasoning.Record | None:
    question = _text(values, "question")
    answers = _several(values, "answer", "answers")
    options = _several(values, None, "options")
    references = _references(values)
    rationale = " ".join(_several(values, "rationale", "steps"))
    if not question:
        for field in ("answer", "answers", "options", "rationale", "steps"):
            if values.get(field) is not None:
                raise RowError(
                    "missing_field",
                    "question",
                    None,
                    f"missing, although there is {field!r}. {_near(values)}",
                )
        return None
    if not answers and labelled:
        raise RowError(
            "missing_field", "answer", None, f"missing, although there is a question. {_near(values)}"
        )
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
    """All right answers, equal ones included, since metrics count people; those who gave none are left out."""
    given = values.get("references")
    if given is None:
        return ()
    found = given if isinstance(given, list | tuple) else [given]
    return tuple(_said(one, "references") for one in found if one != "")


def _translation(values: Mapping[str, Any], common: _Settings, labelled: bool) -> translation.Record | None:
    source = _text(values, "source")
    targets = _several(values, "target", "targets")
    languages = {key: _text(values, key) for key in ("source_language", "target_language")}
    found: dict[str, object] = {"source": source, "target": targets, **languages}
    if not any(found.values()):
        return None
    for field, value in found.items():
        if not value and (labelled or field != "target"):
            have = next(key for key, value in found.items() if value)
            raise RowError(
                "missing_field", field, None, f"missing, although there is {have!r}. {_near(values)}"
            )
    return translation.Record(
        **common,
        source=source,
        targets=targets,
        source_language=languages["source_language"],
        target_language=languages["target_language"],
    )


def _conversation(values: Mapping[str, Any], common: _Settings, labelled: bool) -> conversation.Record | None:
    given = values.get("turns")
    if given is None:
        return None
    if not isinstance(given, list | tuple) or not given:
        raise RowError("wrong_type", "turns", given, f"must be a list of turns (got {shown(given)}).")
    turns = tuple(_turn(turn, number) for number, turn in enumerate(given))
    named = [one for turn in turns for one in turn.content if isinstance(one, int)]
    count = len(common["images"])
    if sorted(named) != list(range(count)):
        raise RowError(
            "image_marks",
            "turns",
            f"{len(named)} placeholders, {count} images",
            f"{len(named)} image placeholders in the turns but {count} images; each image needs one.",
        )
    answers = [turn for turn in turns if turn.role == "assistant"]
    if labelled and not any(turn.learn for turn in answers):
        raise RowError("missing_field", "turns", None, "no assistant turn, so nothing to train on.")
    if labelled and turns[-1].role != "assistant":
        raise RowError("turn_order", "turns", turns[-1].role, "the last turn is not an assistant turn.")
    return conversation.Record(**common, turns=turns)


def _turn(values: Any, number: int) -> conversation.Turn:
    field = f"turns[{number}]"
    if not isinstance(values, Mapping) or "role" not in values or "content" not in values:
        raise RowError("wrong_type", field, values, f"must have role and content (got {shown(values)}).")
    role = values["role"]
    if role not in ROLES:
        raise RowError(
            "bad_role", field, role, f"unknown role {shown(role)}. {did_you_mean(str(role), ROLES)}"
        )
    given = values["content"]
    pieces: list[str | int] = []
    for piece in given if isinstance(given, list | tuple) else [given]:
        if isinstance(piece, int) and not isinstance(piece, bool):
            pieces.append(piece)
        elif isinstance(piece, str) and not piece.strip() and role != "assistant":
            continue  # what stands between two image marks
        else:
            pieces.append(_string(piece, field))
    if not pieces:
        raise RowError("empty_field", field, given, f"the {role} turn is empty.")
    return conversation.Turn(role, tuple(pieces), values.get("learn", True) is not False)


def _regions(values: Mapping[str, Any]) -> tuple[Region, ...]:
    """Boxes with words; boxes are fractions of the picture, cut at its edges. A box without area is left out."""
    given = values.get("regions")
    if given is not None and not isinstance(given, list | tuple):
        raise RowError("wrong_type", "regions", given, f"must be a list of regions (got {shown(given)}).")

    regions = []
    for number, one in enumerate(given or ()):
        field = f"regions[{number}]"
        if isinstance(one, Region):
            words: Any = one.words  # made in Python, where nothing checks it
            if isinstance(words, str):
                raise RowError("wrong_type", f"{field}.words", words, _NO_LIST.format(shown(words)))
            regions.append(one)
            continue
        if (
            not isinstance(one, Mapping)
            or not isinstance(one.get("box"), list | tuple)
            or len(one["box"]) != 4
        ):
            raise RowError("wrong_type", field, one, f"must have a box of four numbers (got {shown(one)}).")
        box = one["box"]
        if not all(isinstance(x, int | float) and abs(x) < math.inf for x in box):
            raise RowError(
                "wrong_type", field, box, f"a box must be left, top, right, bottom (got {shown(box)})."
            )
        left, top, right, bottom = (float(min(max(x, 0), 1)) for x in box)
        words = one.get("words")
        words = words if isinstance(words, list | tuple) else [] if words is None else [words]
        if left < right and top < bottom and words:
            regions.append(Region((left, top, right, bottom), tuple(_said(w, field) for w in words)))
    return tuple(regions)


def _string(value: Any, field: str) -> str:
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


def _said(value: Any, field: str) -> str:
    """The same where a number or a truth value may stand for the text that says it, as among answers."""
    return _string(text_of_scalar(value), field)


def text_of_scalar(value: Any) -> Any:
    """``5`` for 5 and for 5.0 (as tables have whole numbers where some are missing), ``True`` for True; else the value."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return value if not math.isfinite(value) else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # more digits than Python writes
            return value
    return value


def most_given(answers: Sequence[Any]) -> list[str]:
    """The answer to learn where many people answered: the first of those given most often; none where nobody did."""
    texts = [text for text in map(text_of_scalar, answers) if isinstance(text, str) and text.strip()]
    return [Counter(texts).most_common(1)[0][0]] if texts else []


def _text(values: Mapping[str, Any], field: str) -> str:
    value = values.get(field)
    return "" if value is None else _string(value, field)


def _several(values: Mapping[str, Any], one: str | None, many: str) -> tuple[str, ...]:
    """The texts of a field and of its plural; either may be one text or a list."""
    found: list[str] = []
    for field in (one, many):
        value = text_of_scalar(values.get(field)) if field else None
        if field is None or value is None:
            continue
        if isinstance(value, list | tuple):
            if not value:
                raise RowError("empty_field", field, value, "is an empty list.")
            found += [_said(item, field) for item in value]
        elif isinstance(value, str):
            found.append(_string(value, field))
        else:
            raise RowError(
                "wrong_type", field, value, f"must be text or a list of texts (got {shown(value)})."
            )
    return tuple(dict.fromkeys(found)) if many != "steps" else tuple(found)


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    tags = values.get("tags")
    result: dict[str, str] = {}
    if tags is not None:
        if not isinstance(tags, Mapping):
            raise RowError(
                "wrong_type", "tags", tags, f"must be a mapping of names to texts (got {shown(tags)})."
            )
        result = {_string(key, "tags"): _said(value, f"tags.{key}") for key, value in tags.items()}
    if values.get("type") is not None:
        result["type"] = _said(values["type"], "type")
    return result
