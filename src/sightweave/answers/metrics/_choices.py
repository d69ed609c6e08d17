"""What metrics of multiple choice share: which option an answer names, and which options are right.

Letters are A, B, ... in the order of ``Sample.options``. Where an answer names no option, or several, no guess is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from sightweave.answers.metrics import _shares
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

_ENDS = " \t\n.,:;!?\"'`*()[]{}"
_MARKED = re.compile(r"[(\[*]*([A-Za-z])[)\].:*]+(?=\s|$)")
"""``A. red``, ``(b)``, ``**C**``: a letter at the start, with a mark after it."""
_CALLED = re.compile(
    r"\b(?i:answer|option|choice)\b(?:\s+(?i:is|would be))?[\s:]*"
    # A and I are words too: "the answer is A dog" names no letter.
    r"(?:[(\[*]+([A-Za-z])[)\]*]+|([B-HJ-Z])(?![\w'])|([AI])(?![\w']|\s+(?!or\b|and\b)[a-z])|([a-z])\W*$)"
)
"""``The answer is B``, ``Option (c)``."""
_ALSO = re.compile(r"\W*(?:\b(?i:or|and)\b|[,/&])\W*?(?:\(([A-Za-z])\)|([A-Z])(?![\w']))")
"""``or C``, right after a letter: two are named."""
_DENIED = re.compile(
    r"\W*(?:is|was|would be)?\s*(?:not\b|n't|isn't|wasn't|wrong|incorrect|false)", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:no|not|never|neither|nor|none|cannot|without)\b|n['\u2019]t\b")


def is_right(metric: str, answer: str | None, sample: Sample) -> bool:
    """Whether an answer names an option that is right; None names none.

    Raises:
        DataError: the sample has no options or over 26, or a reference that is none of them.
    """
    if not 0 < len(sample.options) <= len(ascii_uppercase):
        raise DataError(
            f"{metric}: sample {sample.id!r} has {len(sample.options)} options; it needs 1 to "
            f"{len(ascii_uppercase)}. For open questions use exact_match."
        )
    right = wanted(metric, sample)
    index = None if answer is None else choose(answer, sample.options)
    return index is not None and _shares.fold(sample.options[index]) in right


def wanted(metric: str, sample: Sample) -> set[str]:
    """Folded texts of the right options. A reference is the text of an option, or else its letter.

    Raises:
        DataError: a reference is none of the options.
    """
    texts = {_shares.fold(option) for option in sample.options}
    letters = dict(zip(ascii_uppercase, map(_shares.fold, sample.options), strict=False))
    found = set()
    for reference in sample.references:
        folded = _shares.fold(reference)
        text = folded if folded in texts else letters.get(folded.upper())
        if text is None:
            raise DataError(
                f"{metric}: reference {reference!r} of sample {sample.id!r} is none of its options "
                f"{sample.options!r}, nor the letter of one."
            )
        found.add(text)
    return found


def choose(answer: str, options: Sequence[str]) -> int | None:
    """The number, from 0, of the one option that an answer names; None where it names none or several.

    In this order: the answer is an option's text; it is a letter; it starts with a marked letter (``B. red``) or calls
    one by name (``the answer is B``), and no other option's text follows at once; it mentions one option's text,
    at its start or without a negation. Options of one text count as one, the first.
    """
    for form in (_shares.fold, _bare):
        said = form(answer)
        same = [number for number, option in enumerate(options) if form(option) == said]
        if same:
            return _only(same, options)
    text = " ".join(answer.split())
    letter = _bare(text).upper()
    if len(letter) == 1 and letter in ascii_uppercase[: len(options)]:
        return ascii_uppercase.index(letter)
    named = _by_letter(text, options)
    return _only(named, options) if named else _mentioned(_shares.fold(answer), options)


def _by_letter(text: str, options: Sequence[str]) -> list[int]:
    """Numbers of all options that are called by their letter; where a text contradicts the letter, both."""
    marked = _MARKED.match(text)
    calls = (
        [marked]
        if marked
        else [call for call in _CALLED.finditer(text) if not _DENIED.match(text, call.end())]
    )
    named = []
    for call in calls:
        letter = next(group for group in call.groups() if group).upper()
        if letter not in ascii_uppercase[: len(options)]:
            continue
        also = _ALSO.match(text, call.end())
        if also and (other := (also[1] or also[2]).upper()) in ascii_uppercase[: len(options)]:
            named.append(ascii_uppercase.index(other))
        number = ascii_uppercase.index(letter)
        rest = _shares.fold(text[call.end() :]).lstrip(_ENDS)
        lengths = [found.end() if (found := _whole(option).match(rest)) else 0 for option in options]
        follows = [place for place, length in enumerate(lengths) if length and length == max(lengths)]
        named += [number] if number in follows else [number, *follows]
    return named


def _mentioned(text: str, options: Sequence[str]) -> int | None:
    spans = [
        (found.start(), found.end(), number)
        for number, option in enumerate(options)
        if not (len(_bare(option)) == 1 and _bare(option).isalpha())  # "a" is a word of most sentences
        for found in _whole(option).finditer(text)
    ]
    # "red" inside "dark red" is no mention of its own.
    spans = [
        span
        for span in spans
        if not any(o[0] <= span[0] and span[1] <= o[1] and o[1] - o[0] > span[1] - span[0] for o in spans)
    ]
    if not spans:
        return None
    first = min(start for start, _, _ in spans)
    if text[:first].strip(_ENDS):
        outside = [
            found
            for found in _NEGATION.finditer(text)
            if not any(start <= found.start() < end for start, end, _ in spans)
        ]
        if outside:
            return None
    return _only([number for _, _, number in spans], options)


def _only(numbers: Sequence[int], options: Sequence[str]) -> int | None:
    """The first of them if all have one text."""
    return min(numbers) if len({_shares.fold(options[number]) for number in numbers}) == 1 else None


def _bare(text: str) -> str:
    """Folded, without marks at the ends; what is nothing but marks stays."""
    folded = _shares.fold(text)
    return folded.strip(_ENDS) or folded


def _whole(option: str) -> re.Pattern[str]:
    """Finds an option's text as whole words: not ``red`` in ``reddish`` or ``red-brown``, not ``3`` in ``3.5``."""
    text = re.escape(_bare(option)) or "(?!)"  # an option without a text is nowhere
    return re.compile(rf"(?<![\w-])(?<!\d[.,]){text}(?![\w-])(?![.,]\d)")
