"""Reads multiple-choice tables: options in any of the usual columns, and answers given as text, letter or number.

Benchmarks on the Hub use many layouts. Options are a list (ScienceQA, A-OKVQA), a text that contains a list (MMMU), a
struct of texts and labels (ARC), a mapping of letters (MedXpertQA), or separate columns (MMBench's ``A`` to ``D``,
SEED-Bench's ``choice_a``). An answer is a letter, the option's text, or a number that counts from 0 or from 1. Which of the
two a table uses can only be seen from all its rows, since a single 1 could be either.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import string
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sightweave.data.reading.row_files import RowError, shown

_LISTS = ("options", "choices", "multiple_choices", "candidates", "answer_choices", "mc_options")
"""Columns that hold all options of a row; the first non-empty one is used."""
ANSWERS = (
    *("multiple_choice_answer", "answer", "response", "answerKey", "answer_key"),
    *("correct_answer", "correct_option", "correct_choice", "correct_choice_idx"),
    *("correct_idx", "correct_index", "answer_idx", "answer_index", "gt_idx", "label"),
)
"""Columns that hold the correct answer; the first non-empty one is used."""
_COLUMN = re.compile(
    r"(?:(?P<word>options?|choices?|opt|op|candidate|alternative)[ _-]?)?(?P<label>[A-Za-z]|\d{1,2})"
    r"|(?P<answer>answer|ans)[ _-]?(?P<letter>[A-Za-z])|a(?P<number>\d{1,2})"  # answer1 is an annotator's answer
)
"""Matches the name of a column for one option: ``A``, ``option_a``, ``choice0``, ``answer_a`` or ``a0``."""
_LETTER = re.compile(r"(?:(?:option|answer|choice)\s*:?\s*)?[(\[]?([A-Za-z]|\d{1,3})[)\].:]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z])[)\].:]\s+(\S.*)", re.DOTALL)
_MARKER = re.compile(r"(?:(?<=\s)|^|(?<=[;,|]))[(\[]?([A-Z])[)\].:]\s*(?=\S)")
_MAX_TEXT = 1 << 16
"""Maximum number of characters in a text that contains all options."""
_ALPHABET = tuple(string.ascii_uppercase)
_NUMBERS = ("from zero", "from one")
_BRACKETS = frozenset({"", "[", "]", "(", ")", ","})
"""Tokens that may occur between the values of a list."""


@dataclass(frozen=True, slots=True)
class Options:
    """The answer options of one row."""

    texts: tuple[Any, ...]
    """The options themselves, usually texts."""
    labels: tuple[str, ...]
    """Label of each option: its letter, or the number in its column's name."""
    columns: tuple[str, ...]
    """Columns that the options were read from."""


def columns(names: Iterable[str]) -> list[str]:
    """Names of a table's columns that hold options or the correct answer."""
    known = {*_LISTS, *ANSWERS, "answers"}
    return [name for name in names if name in known or _COLUMN.fullmatch(name)]


def options_of(cells: Mapping[str, Any]) -> Options | None:
    """Reads the answer options of a row; None if it has none.

    Raises:
        RowError: The column of options does not hold a list of options in any known form.
    """
    for name in _LISTS:
        value = cells.get(name)
        if not _is_missing(value):
            return _of_value(value, name)
    return _of_columns(cells)


def _of_value(value: Any, name: str) -> Options | None:
    """Reads all options from the value of a single column, which is a list, a text or a mapping."""
    labels: list[str] = []
    if isinstance(value, str):
        value = _parse_options(value, name)
    if isinstance(value, dict):
        value, labels = _of_mapping(value, name)
    if not isinstance(value, list | tuple):
        raise RowError("bad_options", name, value, f"must be a list of options (got {shown(value)}).")

    texts = list(value)
    if texts and all(isinstance(one, dict) for one in texts):
        texts, labels = _of_mappings(texts, name)
    labels = labels or _letters(len(texts))

    # Drop empty options, but keep the labels of the others.
    kept_texts, kept_labels = [], []
    for number, text in enumerate(texts):
        if not _is_missing(text):
            kept_texts.append(_number_as_text(text))
            kept_labels.append(labels[number])
    if not kept_texts:
        return None
    return Options(tuple(_without_letters(kept_texts)), tuple(kept_labels), (name,))


def _number_as_text(value: Any) -> Any:
    """Converts a number to text, without ``.0``; any other value is returned unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _first_present(values: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first key in `keys` that the mapping contains; None if it contains none of them."""
    return next((values[key] for key in keys if key in values), None)


def _of_mapping(value: Mapping[str, Any], name: str) -> tuple[list[Any], list[str]]:
    """Reads ``{"text": [...], "label": [...]}`` or ``{"A": ..., "B": ...}``; returns the options and their labels."""
    texts = _first_present(value, ("text", "texts", "options", "choices"))
    if isinstance(texts, list):
        labels = _first_present(value, ("label", "labels", "key"))
        if not isinstance(labels, list) or len(labels) != len(texts):
            return texts, []
        return texts, [str(one) for one in labels]

    filled = {str(key): one for key, one in value.items() if not _is_missing(one)}
    if max(map(len, filled), default=0) > 2:
        message = f"options with unknown names ({', '.join(filled)}); use letters such as A and B."
        raise RowError("bad_options", name, value, message)
    return list(filled.values()), list(filled)


def _of_mappings(values: Sequence[Mapping[str, Any]], name: str) -> tuple[list[Any], list[str]]:
    """Reads ``[{"label": "A", "text": ...}, ...]``; returns the options, and their labels if all have one."""
    texts, labels = [], []
    for one in values:
        text = _first_present(one, ("text", "value", "content", "option", "answer"))
        if text is None:
            raise RowError("bad_options", name, one, f"an option without a text (got {shown(dict(one))}).")
        texts.append(text)

        label = _first_present(one, ("label", "key", "id", "letter"))
        if label is not None:
            labels.append(str(label))

    return texts, labels if len(labels) == len(texts) else []


def _of_columns(cells: Mapping[str, Any]) -> Options | None:
    """Reads options from separate columns such as ``A``, ``B``, ``C``; empty columns are skipped."""
    for columns_by_label in _option_columns(cells):
        labels = sorted(columns_by_label, key=lambda label: (len(label), label))
        if len(labels) < 2 or labels[0] not in ("A", "0", "1") or not _is_sequence(labels):
            continue

        texts, filled = [], []
        for label in labels:
            value = cells[columns_by_label[label]]
            if not _is_missing(value):
                texts.append(str(value) if isinstance(value, int | float) else value)
                filled.append(label)
        if filled:
            return Options(tuple(texts), tuple(filled), tuple(columns_by_label.values()))
    return None


def _option_columns(names: Iterable[str]) -> Iterable[dict[str, str]]:
    """Finds columns that are named like options; returns, for each naming style, the columns by label."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    for name in names:
        match = _COLUMN.fullmatch(name)
        if match is None:
            continue

        word = match["word"] or match["answer"] or ""
        label = match["label"] or match["letter"] or match["number"]
        # A lone digit or lower-case letter is not the name of an option.
        if word or match["number"] or label.isupper():
            found.setdefault((word, label.isdigit()), {})[label.upper()] = name
    return found.values()


def _is_sequence(labels: Sequence[str]) -> bool:
    """Whether sorted labels are consecutive; some may be missing, since empty cells of CSV files are dropped."""
    numbers = [int(label) if label.isdigit() else ord(label) for label in labels]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    return missing < len(numbers)


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty; pandas writes missing values as ``nan``."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip() in ("", "nan"))


def _parse_options(text: str, name: str) -> Any:
    """Parses a text that contains all options: a JSON, Python or numpy list, one option per line, or ``A. cat B. dog``.

    Raises:
        RowError: The text has none of these forms.
    """
    text = text.strip()
    if len(text) > _MAX_TEXT:
        message = f"{len(text)} characters of options; the maximum is {_MAX_TEXT}."
        raise RowError("bad_options", name, text, message)

    found = _parse_brackets(text)
    if found is None:
        found = _split_at_letters(text)
    if found is None:
        found = _split_at(text, "\n") or _split_at(text, "|")
    if found is None:
        message = f"a string without a list of options (got {shown(text)}); write a JSON list."
        raise RowError("bad_options", name, text, message)
    return found


def _parse_brackets(text: str) -> list[Any] | dict[str, Any] | None:
    """Parses a list or mapping in JSON, Python or numpy notation; None for any other text."""
    if text[:1] not in ("[", "{", "("):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_mapping(text) if text[0] == "{" else _python_list(text)
    return found if isinstance(found, list | dict) else None


def _split_at_letters(text: str) -> list[str] | None:
    """Parses options of the form ``A. cat B. dog``; None if the text does not have consecutive letters from A."""
    marks = list(_MARKER.finditer(text))
    letters = [mark[1] for mark in marks]
    if len(marks) < 2 or marks[0].start() != 0 or letters != _letters(len(marks)):
        return None

    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = []
    for mark, end in zip(marks, ends, strict=True):
        piece = text[mark.end() : end].strip()
        found.append(piece.rstrip(";|,").rstrip())
    return found


def _split_at(text: str, separator: str) -> list[str] | None:
    """The non-empty pieces between separators; None if there are fewer than two."""
    pieces = [piece.strip() for piece in text.split(separator) if piece.strip()]
    return pieces if len(pieces) > 1 else None


def listed(text: str) -> Any:
    """Parses a text that is a list in Python or numpy notation into a list of texts; any other text is unchanged."""
    is_list = text.lstrip().startswith("[") and len(text) <= _MAX_TEXT
    found = _python_list(text.strip()) if is_list else None
    return [str(one) for one in found] if found else text


def _python_list(text: str) -> list[Any] | None:
    """Parses a list of texts and numbers in Python or numpy notation (numpy writes no commas); None if it is not one."""
    if not text.startswith(("[", "(")):
        return None
    found: list[Any] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            is_value = token.type in (tokenize.STRING, tokenize.NUMBER)
            value = ast.literal_eval(token.string) if is_value else None
            if is_value and isinstance(value, str | int | float):
                found.append(value)
            elif token.string not in _BRACKETS and not token.string.isspace():  # a name, an operator, bytes
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return found


def _python_mapping(text: str) -> Any:
    """Parses a mapping in Python notation; None if it is not one."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _letters(count: int) -> list[str]:
    """Default labels for a number of options: letters, and after ``Z`` numbers."""
    return [_ALPHABET[number] if number < len(_ALPHABET) else str(number) for number in range(count)]


def _without_letters(texts: list[Any]) -> list[Any]:
    """Removes the letters from options such as ``(A) cat``, if every option starts with its own letter."""
    letters, bare = [], []
    for text in texts:
        match = _LETTER_AND_TEXT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return texts
        letters.append(match[1])
        bare.append(match[2])
    return bare if len(texts) > 1 and letters == _letters(len(texts)) else texts


class Convention:
    """The way in which a table's answers refer to options (text, label, or number), inferred from all of its rows.

    Args:
        rows: Returns an iterator over all rows, with at least their options and answers. It is called only when an answer
            is ambiguous.
    """

    def __init__(self, rows: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._rows = rows

    @cached_property
    def counts(self) -> Counter[str]:
        """Number of rows whose answer is valid under each interpretation, such as ``label`` or ``from zero``."""
        found: Counter[str] = Counter()
        for cells in self._rows():
            try:
                options = options_of(cells)
            except RowError:
                continue
            answer = next((cells[name] for name in ANSWERS if not _is_missing(cells.get(name))), None)
            if options is not None and answer is not None:
                found.update(_readings(answer, options).keys())
        return found

    def chosen(self, answer: Any, options: Options, column: str = "answer") -> Any:
        """The text of the option that an answer refers to.

        Args:
            answer: The answer of a row.
            options: The row's options.
            column: Name of the answer's column, for messages.

        Raises:
            RowError: The answer matches no option, or it could count from 0 or from 1 and no row of the table tells which.
        """
        readings = _readings(answer, options)
        if not readings:
            message = (
                f"{shown(answer)} is not one of the {len(options.texts)} options (a text, a letter from "
                f"{options.labels[0]}, or a number)."
            )
            raise RowError("bad_answer", column, answer, message)
        if len(set(readings.values())) == 1:
            return options.texts[next(iter(readings.values()))]

        # Choose the interpretation that fits most rows of the table; in a tie, text before label before number.
        order = ("text", "label", *_NUMBERS)
        best = max(readings, key=lambda way: (self.counts[way], -order.index(way)))

        # A tie between counting from 0 and from 1 is an error, unless the column is named as an index.
        is_tied = best in _NUMBERS and self.counts[_NUMBERS[0]] == self.counts[_NUMBERS[1]]
        if is_tied and not column.endswith(("idx", "index")):
            message = (
                f"{shown(answer)} may count from 0 or from 1, and no row of the table settles it (with 0, or with "
                "the number of options); write the option's text or its letter."
            )
            raise RowError("bad_answer", column, answer, message)
        return options.texts[readings[_NUMBERS[0] if is_tied else best]]


def _readings(answer: Any, options: Options) -> dict[str, int]:
    """All possible interpretations of an answer, each with the index of the option that it refers to."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    given = str(answer).strip()
    found: dict[str, int] = {}

    # As the text of an option: exactly, or else without regard to case, white space and a full stop.
    number = _index_of_text(given, options.texts)
    if number is not None:
        found["text"] = number

    # As a label, alone or followed by the option's text.
    label_alone = _LETTER.fullmatch(given) if not isinstance(answer, bool) else None
    label_and_text = _LETTER_AND_TEXT.fullmatch(given)
    match = label_alone or label_and_text
    label = match[1].upper() if match else ""
    labels = [one.upper() for one in options.labels]
    if label in labels:
        number = labels.index(label)
        if label_and_text is None or _fold(options.texts[number]) == _fold(label_and_text[2]):
            found["label"] = number

    # As a number, counted from 0 or from 1. Empty options count too: the others keep their numbers.
    if label.isdigit():
        numbers = [ord(one) - ord("A") if one in _ALPHABET else index for index, one in enumerate(labels)]
        for way, wanted in zip(_NUMBERS, (int(label), int(label) - 1), strict=True):
            if wanted in numbers:
                found[way] = numbers.index(wanted)
    return found


def _index_of_text(given: str, texts: Sequence[Any]) -> int | None:
    """Index of the only option with this text; None if there is none or several have it."""
    folded = _fold(given)
    same = [number for number, text in enumerate(texts) if _fold(text) == folded]
    exact = [number for number in same if str(texts[number]).strip() == given]
    found = exact or same
    return found[0] if len(found) == 1 else None


def _fold(text: Any) -> str:
    return " ".join(str(text).split()).rstrip(".").lower()


def resolved(cells: Mapping[str, Any], convention: Convention) -> dict[str, Any]:
    """Converts the options of a row of common fields to a list, and its answers to the texts of options.

    Raises:
        RowError: As for `options_of` and `Convention.chosen`.
    """
    options = options_of(cells) if cells.get("question") is not None else None
    found = dict(cells)
    if options is None:
        if isinstance(found.get("options"), str):  # an empty text
            del found["options"]
        return found

    for name in options.columns:
        found.pop(name, None)
    found["options"] = list(options.texts)

    for name in ("answer", "answers"):
        value = found.get(name)
        if isinstance(value, list) and value:
            first, *others = value
            chosen = [convention.chosen(first, options, name)]
            chosen += [_chosen_or_unchanged(one, options, convention, name) for one in others]
            found[name] = chosen
        elif not _is_missing(value):
            found[name] = convention.chosen(value, options, name)
    return found


def _chosen_or_unchanged(answer: Any, options: Options, convention: Convention, column: str) -> Any:
    """The option that an answer refers to, or the answer itself; used for additional answers, which need not be options."""
    try:
        return convention.chosen(answer, options, column)
    except RowError:
        return answer
