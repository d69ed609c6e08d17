"""Multiple choice in tables: options in whatever columns they are, and answers by text, letter or number.

Benchmarks on the Hub agree on no layout. Options are a list (ScienceQA, A-OKVQA), a text that holds a list (MMMU), a
struct of texts and labels (ARC), a mapping of letters (MedXpertQA), or a column for each (MMBench's ``A`` to ``D``,
SEED-Bench's ``choice_a``). An answer is a letter, the option's text, or a number from 0 or from 1, which only the whole
table tells apart: a single 1 could be either.
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
"""Columns that hold all options of a row; the first that is filled is taken."""
ANSWERS = (
    *(
        "multiple_choice_answer",
        "answer",
        "response",
        "answerKey",
        "answer_key",
        "correct_answer",
        "correct_option",
    ),
    *(
        "correct_choice",
        "correct_choice_idx",
        "correct_idx",
        "correct_index",
        "answer_idx",
        "answer_index",
        "gt_idx",
    ),
    "label",
)
"""Columns that hold the one right answer; the first that is filled is taken."""
_COLUMN = re.compile(
    r"(?:(?P<word>options?|choices?|opt|op|candidate|alternative)[ _-]?)?(?P<label>[A-Za-z]|\d{1,2})"
    r"|(?P<answer>answer|ans)[ _-]?(?P<letter>[A-Za-z])|a(?P<number>\d{1,2})"  # answer1 is one person's answer
)
"""A column for one option: ``A``, ``option_a``, ``choice0``, ``answer_a`` or ``a0``."""
_LETTER = re.compile(r"(?:(?:option|answer|choice)\s*:?\s*)?[(\[]?([A-Za-z]|\d{1,3})[)\].:]?", re.IGNORECASE)
_LETTER_AND_TEXT = re.compile(r"[(\[]?([A-Za-z])[)\].:]\s+(\S.*)", re.DOTALL)
_MARKER = re.compile(r"(?:(?<=\s)|^|(?<=[;,|]))[(\[]?([A-Z])[)\].:]\s*(?=\S)")
_MAX_TEXT = 1 << 16
"""Characters of a text that holds options."""
_ALPHABET = tuple(string.ascii_uppercase)
_NUMBERS = ("from zero", "from one")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one row."""

    texts: tuple[Any, ...]
    labels: tuple[str, ...]
    """What each is called: its letter, or the number in its column's name."""
    columns: tuple[str, ...]
    """Where they were found."""


def columns(names: Iterable[str]) -> list[str]:
    """Those of a table's columns that say something about options and the right one."""
    return [name for name in names if name in (*_LISTS, *ANSWERS, "answers") or _COLUMN.fullmatch(name)]


def options_of(cells: Mapping[str, Any]) -> Options | None:
    """The options of a row; None where it has none.

    Raises:
        RowError: a text in which no list of options is found, or something else that holds none.
    """
    for name in _LISTS:
        value = cells.get(name)
        if not _is_missing(value):
            return _of_value(value, name)
    return _of_columns(cells)


def _of_value(value: Any, name: str) -> Options | None:
    """Options that stand together: in a list, a text or a mapping."""
    labels: list[str] = []
    if isinstance(value, str):
        value = _listed(value, name)
    if isinstance(value, dict):
        value, labels = _of_mapping(value, name)
    if not isinstance(value, list | tuple):
        raise RowError("bad_options", name, value, f"must be a list of options (got {shown(value)}).")

    texts = list(value)
    if texts and all(isinstance(one, dict) for one in texts):
        texts, labels = _of_mappings(texts, name)
    labels = labels or _letters(len(texts))
    kept = [number for number, text in enumerate(texts) if not _is_missing(text)]
    texts, labels = [texts[number] for number in kept], [labels[number] for number in kept]
    if not texts:
        return None
    texts = [int(one) if isinstance(one, float) and one.is_integer() else one for one in texts]
    texts = [str(one) if isinstance(one, int | float) and not isinstance(one, bool) else one for one in texts]
    return Options(tuple(_without_letters(texts)), tuple(labels), (name,))


def _of_mapping(value: Mapping[str, Any], name: str) -> tuple[list[Any], list[str]]:
    """Options of ``{"text": [...], "label": [...]}`` or of ``{"A": ..., "B": ...}``, with their labels."""
    texts = next((value[key] for key in ("text", "texts", "options", "choices") if key in value), None)
    if isinstance(texts, list):
        labels = next((value[key] for key in ("label", "labels", "key") if key in value), None)
        if not isinstance(labels, list) or len(labels) != len(texts):
            return texts, []
        return texts, [str(one) for one in labels]
    filled = {str(key): one for key, one in value.items() if not _is_missing(one)}
    if not all(len(key) <= 2 for key in filled):
        raise RowError("bad_options", name, value, f"options with unknown names ({', '.join(filled)}).")
    return list(filled.values()), list(filled)


def _of_mappings(values: Sequence[Mapping[str, Any]], name: str) -> tuple[list[Any], list[str]]:
    """Options of ``[{"label": "A", "text": ...}, ...]``, with their labels."""
    texts, labels = [], []
    for one in values:
        text = next(
            (one[key] for key in ("text", "value", "content", "option", "answer") if key in one), None
        )
        if text is None:
            raise RowError("bad_options", name, one, f"an option without a text (got {shown(dict(one))}).")
        label = next((one[key] for key in ("label", "key", "id", "letter") if key in one), None)
        texts.append(text)
        labels += [] if label is None else [str(label)]
    return texts, labels if len(labels) == len(texts) else []


def _of_columns(cells: Mapping[str, Any]) -> Options | None:
    """Options of a row with a column for each of them; a column between may be empty."""
    found: dict[str, dict[str, str]] = {}
    for name in cells:
        match = _COLUMN.fullmatch(name)
        if match is not None:
            word = match["word"] or match["answer"] or ""
            label = match["label"] or match["letter"] or match["number"]
            # A lone digit is no option's name, and neither is a lone small letter.
            if word or match["number"] or label.isupper():
                found.setdefault(f"{word}{'0' if label.isdigit() else 'a'}", {})[label.upper()] = name
    for named in found.values():
        labels = sorted(named, key=lambda label: (len(label), label))
        if len(labels) < 2 or labels[0] not in ("A", "0", "1") or not _is_row(labels):
            continue
        filled = [label for label in labels if not _is_missing(cells[named[label]])]
        if filled:
            texts = [cells[named[label]] for label in filled]
            texts = [str(one) if isinstance(one, int | float) else one for one in texts]
            return Options(tuple(texts), tuple(filled), tuple(named.values()))
    return None


def _is_row(labels: Sequence[str]) -> bool:
    """Whether letters or numbers follow one another; a few may be missing, since CSV files drop empty cells."""
    numbers = [int(label) if label.isdigit() else ord(label) for label in labels]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    return missing < len(numbers)


def _is_missing(value: Any) -> bool:
    """Whether a cell is empty; tables that went through pandas say so by ``nan``."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and (not value.strip() or value.strip() == "nan"))


def _listed(text: str, name: str) -> Any:
    """The options in a text: a list as JSON, Python or numpy writes it, lines, or ``A. cat B. dog``.

    Raises:
        RowError: none of these.
    """
    text = text.strip()
    if len(text) > _MAX_TEXT:
        message = f"{len(text)} characters of options; the maximum is {_MAX_TEXT}."
        raise RowError("bad_options", name, text, message)
    if text[:1] in "[{(":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = _python_mapping(text) if text[0] == "{" else _python_list(text)
        if isinstance(found, list | dict):
            return found

    marks = list(_MARKER.finditer(text))
    letters = [mark[1] for mark in marks]
    if len(marks) > 1 and marks[0].start() == 0 and letters == _letters(len(marks)):
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        pieces = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
        return [piece.strip().rstrip(";|,").rstrip() for piece in pieces]
    for mark in ("\n", "|"):
        pieces = [piece.strip() for piece in text.split(mark) if piece.strip()]
        if len(pieces) > 1:
            return pieces
    message = f"a string without a list of options (got {shown(text)}); write a JSON list."
    raise RowError("bad_options", name, text, message)


def listed(text: str) -> Any:
    """The texts of a list that is written as one text, or the text as it is."""
    found = _python_list(text.strip()) if text.lstrip().startswith("[") and len(text) <= _MAX_TEXT else None
    return [str(one) for one in found] if found else text


def _python_list(text: str) -> list[Any] | None:
    """The texts and numbers of a list as Python or numpy writes it (numpy has no commas); None for anything else."""
    if not text.startswith(("[", "(")):
        return None
    found: list[Any] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            is_value = token.type in (tokenize.STRING, tokenize.NUMBER)
            value = ast.literal_eval(token.string) if is_value else None
            is_bracket = token.string in ("", "[", "]", "(", ")", ",") or token.string.isspace()
            if is_value and isinstance(value, str | int | float):
                found.append(value)
            elif not is_bracket:  # a name, an operator, bytes
                return None
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return found


def _python_mapping(text: str) -> Any:
    """A mapping as Python writes it; None for anything else."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _letters(count: int) -> list[str]:
    return [_ALPHABET[number] if number < len(_ALPHABET) else str(number) for number in range(count)]


def _without_letters(texts: list[Any]) -> list[Any]:
    """Texts without the letter that stands before each: ``(A) cat`` is the cat."""
    found = [_LETTER_AND_TEXT.fullmatch(one) if isinstance(one, str) else None for one in texts]
    matches = [match for match in found if match is not None]
    is_lettered = len(matches) == len(texts) > 1 and [match[1] for match in matches] == _letters(len(texts))
    return [match[2] for match in matches] if is_lettered else texts


class Convention:
    """How the answers of a table name their options, learnt from all of its rows.

    Args:
        rows: Gives the rows once more, with at least their options and answers; called when a row can be read in two
            ways, and never otherwise.
    """

    def __init__(self, rows: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._rows = rows

    @cached_property
    def counts(self) -> Counter[str]:
        """How many rows each way of reading an answer explains."""
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
        """The text of the option that an answer names.

        Raises:
            RowError: it names none, or one of two and no row of the table says which.
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

        # Of several readings, that counts which explains most of the table; a text is worth more than its number.
        order = ("text", "label", *_NUMBERS)
        best = max(readings, key=lambda way: (self.counts[way], -order.index(way)))
        is_open = best in _NUMBERS and self.counts[_NUMBERS[0]] == self.counts[_NUMBERS[1]]
        if is_open and not column.endswith(("idx", "index")):
            message = (
                f"{shown(answer)} may count from 0 or from 1, and no row of the table settles it (with 0, or with "
                "the number of "
                "options); write the option's text or its letter."
            )
            raise RowError("bad_answer", column, answer, message)
        return options.texts[readings[_NUMBERS[0] if is_open else best]]


def _readings(answer: Any, options: Options) -> dict[str, int]:
    """What an answer may mean, each with the number of its option."""
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    said = str(answer).strip()
    found: dict[str, int] = {}
    same = [number for number, text in enumerate(options.texts) if _fold(text) == _fold(said)]
    exact = [number for number in same if str(options.texts[number]).strip() == said]
    if len(exact or same) == 1:
        found["text"] = (exact or same)[0]

    call = _LETTER.fullmatch(said) if not isinstance(answer, bool) else None
    both = _LETTER_AND_TEXT.fullmatch(said)
    label = call[1].upper() if call else both[1].upper() if both else ""
    labels = [one.upper() for one in options.labels]
    if label in labels:
        number = labels.index(label)
        if both is None or _fold(options.texts[number]) == _fold(both[2]):
            found["label"] = number
    if label.isdigit():
        # Where an option between is empty, the others keep their numbers.
        places = [ord(one) - ord("A") if one in _ALPHABET else number for number, one in enumerate(labels)]
        for way, number in zip(_NUMBERS, (int(label), int(label) - 1), strict=True):
            if number in places:
                found[way] = places.index(number)
    return found


def _fold(text: Any) -> str:
    return " ".join(str(text).split()).rstrip(".").lower()


def resolved(cells: Mapping[str, Any], convention: Convention) -> dict[str, Any]:
    """A row of the common fields with its options as a list, and each answer as the option's text.

    Raises:
        RowError: as `options_of` and `Convention.chosen`.
    """
    options = options_of(cells) if cells.get("question") is not None else None
    if options is None:
        is_empty = "options" in cells and isinstance(cells["options"], str)
        return {name: value for name, value in cells.items() if name != "options" or not is_empty}
    found = {name: value for name, value in cells.items() if name not in options.columns}
    found["options"] = list(options.texts)
    for name in ("answer", "answers"):
        value = found.get(name)
        if isinstance(value, list) and value:
            found[name] = [convention.chosen(value[0], options, name)]
            found[name] += [_chosen_or_kept(one, options, convention, name) for one in value[1:]]
        elif not _is_missing(value):
            found[name] = convention.chosen(value, options, name)
    return found


def _chosen_or_kept(answer: Any, options: Options, convention: Convention, column: str) -> Any:
    """The option that an answer names, or the answer as it is: beside the first one, other words may be right too."""
    try:
        return convention.chosen(answer, options, column)
    except RowError:
        return answer
