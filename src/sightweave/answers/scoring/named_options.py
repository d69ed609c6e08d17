"""What metrics of multiple choice share: which option an answer names, and which options are right.

Letters are A, B, ... in the order of ``Sample.options``. Where an answer names no option, or several, no guess is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from sightweave.answers.scoring import ratios, unspaced_scripts
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.phrasing import stated_answers

_ENDS = (
    " \t\n.,:;!?\"'`*_$()[]{}\u3002\uff0c\u3001\uff01\uff1f"
    "\u300c\u300d\u300e\u300f\u201c\u201d\u2018\u2019\u00ab\u00bb\u3010\u3011"
)
_OPENS = r"[\s\"'`*_$(\[{<\u201c\u2018\u201e\u00ab\u300c\u300e\u3010]{0,9}"
"""Quotes, brackets and stars that may stand before a letter."""
_NOUNS = (
    r"(?:(?:the|die|la|le|l['\u2019])\s{0,3})?(?:(?:answer|option|choice|letter|Antwort|Buchstabe|r\u00e9ponse|lettre|choix"
    r"|\u9009\u9879|\u9078\u9805|\u9078\u629e\u80a2)\b\s{0,3}:?)?"
)
_NO_WORD = r"(?![A-Za-z0-9_\u00c0-\u024f]|['\u2019-][A-Za-z])"
_BECAUSE = r"(?:or|and|because|since|as|for|due|which|that|given|based|with|in|is|was|oder|und|weil|da|ou|et|car|parce)\b"
"""Words that may follow a letter but no article: ``A because``."""
_LETTER = (
    # A and I are words too: "the answer is A dog" names no letter.
    rf"(?:[(\[*]+([A-Za-z])(?:[)\]*]+|$)|([B-HJ-Z]){_NO_WORD}"
    rf"|([AI]){_NO_WORD}(?!\s+(?!{_BECAUSE})[a-z])|([a-z])\W*$)"
)
_AT_START = re.compile(rf"{_OPENS}(?i:{_NOUNS}){_OPENS}{_LETTER}")
"""A letter at the place where an answer is stated: ``B``, ``(b)``, ``option C``."""
_MARKED = re.compile(r"(?:^|(?<=\n))[ \t]*[(\[*]*([A-Za-z])(?:[)\].:*]+(?=\s|$)|[\u3001\u3002\uff0c])")
"""``A. red``, ``(b)``, ``**C**``: a letter at the start of a line, with a mark after it."""
_ALONE = re.compile(r"[^\w\n]*([A-Z]|(?<=[(\[*])[a-z](?=[)\]*]))[^\w\n]*$")
"""A line that is a letter and nothing else."""
_CALLED = re.compile(
    rf"(?i:\b(?:option|choice|letter|Buchstabe|lettre)\b|\u9009\u9879|\u9078\u9805|\u9078\u629e\u80a2)[\s:(\[*]*([A-Z]){_NO_WORD}"
    r"|(?i:\b(?:answer|option|choice|letter|Antwort|r\u00e9ponse)\b[\s:\u2013-]*"
    r"|\b(?:it|that)(?:\s+(?:is|was)|['\u2019]s)\s+|\b(?:c['\u2019]est|es\s+ist|das\s+ist)\s+|\b(?:so|therefore|thus|hence|also|donc)\b[\s,:]*)"
    + _LETTER
)
"""``Option (c)``, ``it is B``: a letter that is called one, without the word that it is the answer."""
_BOLD = re.compile(r"(?:\*\*\(?|__\(?|\()([A-Z])(?:\)?\*\*|\)?__|\))")
"""``**B**`` or ``(B)`` within a sentence."""
_CONFIRMED = re.compile(
    r"(?<![\w'])[(*\[]*([A-Z])[)*\]]*\s*(?:"
    r"(?:is|seems|must\s+be|would\s+be)\s+(?:the\s+|my\s+)?(?:most\s+|only\s+)?"
    r"(?:correct|right|best|true|answer|likely|accurate|appropriate|final)\b"
    r"|ist\s+(?:die\s+|eindeutig\s+)?(?:richtig|korrekt|L\u00f6sung|Antwort)"
    r"|est\s+(?:la\s+|le\s+)?(?:bonne|bon|correct|juste|exact|r\u00e9ponse)"
    r"|(?:\u9009\u9879|\u9078\u9805|\u9879|\u9805)?\s*(?:\u662f|\u4e3a|\u70ba)?\s*(?:\u6700\u4f73|\u6b63\u786e|\u6b63\u78ba|\u5bf9\u7684|\u5c0d\u7684)"
    r"|(?:\u304c|\u306f)\s*(?:\u6b63\u89e3|\u6b63\u3057\u3044|\u7b54\u3048|\u6b63\u7b54)|\s*\u3092\s*\u9078|\u3067\u3059|(?:w\u00e4hlen|nehmen)\b"
    r")"
)
"""``B is correct``: a letter, and after it that it is right."""
_ALSO = re.compile(
    r"\W*(?:\b(?i:or|and|oder|und|ou|et)\b|[,/&\u3001]|\u6216\u8005?|\u548c|\u3068)\W*?"
    r"(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z0-9_'\u2019]|\s+(?:is|was|are|shows?|has|would|ist|est)\b|\s+[a-z]))"
)
"""``or C``, right after a letter: two are named."""
_OR = re.compile(
    r"\W*(?:or|and|oder|und|ou|et|\u6216\u8005?)\b[\s,]*(?:the|die|la|that|my|correct|right)?\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"[^\w,;.\n]*(?:(?:is|was|would be|ist|est)?\s*(?:not\b|n't|isn't|wasn't|wrong|incorrect|false|falsch|nicht|faux|fausse)"
    r"|n['\u2019]est|\u662f?\u4e0d|\u662f?\u9519|\u662f?\u932f|\u306f\u9593\u9055)",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|none|cannot|without|nicht|kein|keine|ne|pas)\b|n['\u2019]t\b|\u4e0d\u662f|\u6ca1\u6709|\u6c92\u6709"
)
_SENTENCE_END = re.compile(
    r"[.!?;](?=\s|$)|[\n\u3002\uff1b]|(?<=\w),?\s(?:and\s+)?(?:not|rather\s+than|instead\s+of|nicht|et\s+non|pas)\b"
)
"""Where what is stated ends: "green, not red" states green."""
_MAX_STATED = 300
"""Characters of a sentence in which a stated option is looked for."""


def is_right(metric: str, answer: str | None, sample: Sample) -> bool:
    """Whether an answer names an option that is right; None names none.

    Raises:
        DataError: the sample has no options or over 26, or a reference that is none of them.
    """
    if not 0 < len(sample.options) <= len(ascii_uppercase):
        raise DataError(
            f"{metric}: sample {sample.id!r} has {len(sample.options)} options; the metric needs 1 to "
            f"{len(ascii_uppercase)}. For open questions use exact_match."
        )
    right = wanted(metric, sample)
    index = None if answer is None else choose(answer, sample.options)
    return index is not None and ratios.fold(sample.options[index]) in right


def wanted(metric: str, sample: Sample) -> set[str]:
    """Folded texts of the right options. A reference is the text of an option, or else its letter.

    Raises:
        DataError: a reference is none of the options.
    """
    texts = {ratios.fold(option) for option in sample.options}
    letters = dict(zip(ascii_uppercase, map(ratios.fold, sample.options), strict=False))
    found = set()
    for reference in sample.references:
        folded = ratios.fold(reference)
        text = folded if folded in texts else letters.get(folded.upper())
        if text is None:
            raise DataError(
                f"{metric}: reference {reference!r} of sample {sample.id!r} is not one of its options "
                f"{sample.options!r}, nor the letter of one."
            )
        found.add(text)
    return found


def choose(answer: str, options: Sequence[str]) -> int | None:
    """The number, from 0, of the one option that an answer names; None where it names none or several.

    In this order: the answer is an option's text; it is a letter; it states its answer (``the answer is B``, in a box or
    a tag, ``B is correct``, a last line that is a letter), by letter or text, where the last statement that can be read
    counts; it starts with a marked letter (``B. red``) or calls a single one by name (``option B``), and no other
    option's text follows at once; it mentions one option's text, at its start or without a negation. Options of one
    text count as one, the first.
    """
    same = _same(answer, options)
    if same:
        return _only(same, options)

    text = stated_answers.plain(answer)
    letter = _bare(text)
    if len(letter) == 1 and (number := _number(letter, options)) is not None:
        return number

    # What is stated as the answer counts more than what is discussed, and the last statement more than the others.
    stated = _by_statement(text, options)
    if stated:
        return _only(stated, options)
    called = _by_letter(text, options)
    return _only(called, options) if called else _mentioned(ratios.fold(text), options)


def _same(text: str, options: Sequence[str]) -> list[int]:
    """Numbers of the options whose text this is: as it is, or else without marks at the ends of both."""
    for form in (ratios.fold, _bare):
        said = form(text)
        same = [number for number, option in enumerate(options) if form(option) == said]
        if same:
            return same
    return []


def _by_statement(text: str, options: Sequence[str]) -> list[int]:
    """Numbers of the options that the last readable statement names; empty where nothing is stated."""
    found: list[tuple[int, int, stated_answers.Statement | None]]
    found = [(one.start, one.at, one) for one in stated_answers.statements(text)]
    found += [(one.start(), one.start(), None) for one in _CONFIRMED.finditer(text)]
    lines = text.rstrip().rpartition("\n")
    if lines[1] and _ALONE.match(lines[2]):
        found.append((len(lines[0]) + 1, len(lines[0]) + 1, None))
    found.sort(key=lambda one: one[1])

    named: list[int] = []
    later = -1
    for start, at, statement in reversed(found):
        if named and not _is_joined(text, at, later):
            break
        named += _stated_here(text, at, statement, options)
        later = start
    return named


def _is_joined(text: str, at: int, later: int) -> bool:
    """Whether only ``or`` or the like stands between the letter of one statement and the next statement."""
    letter = _AT_START.match(text, at)
    return letter is not None and _OR.fullmatch(text, letter.end(), max(later, letter.end())) is not None


def _stated_here(
    text: str, at: int, statement: stated_answers.Statement | None, options: Sequence[str]
) -> list[int]:
    """Numbers of the options that one statement names, by letter or else by text."""
    if statement is not None and statement.is_enclosed:
        text, at = statement.text, 0  # nothing else of the text belongs to it
    letter = _AT_START.match(text, at)
    if letter and not _DENIED.match(text, letter.end()):
        named = _named(text, letter, options)
        if named:
            return named
    said = text[at : at + _MAX_STATED]
    same = _same(said, options)  # an option may hold the end of a sentence: "9 a.m."
    if same:
        return same
    end = _SENTENCE_END.search(said)
    chosen = _mentioned(ratios.fold(said[: end.start()] if end else said), options)
    return [] if chosen is None else [chosen]


def _by_letter(text: str, options: Sequence[str]) -> list[int]:
    """Numbers of all options that are called by their letter; where a text contradicts the letter, both."""
    marked = list(_MARKED.finditer(text))
    if not marked or marked[0].start() > 0:
        marked = [call for pattern in (_CALLED, _BOLD) for call in pattern.finditer(text)]
    named: list[int] = []
    for call in marked:
        if not _DENIED.match(text, call.end()):
            named += _named(text, call, options)
    return named


def _named(text: str, call: re.Match[str], options: Sequence[str]) -> list[int]:
    """The option of a letter that was found, and others that are named with it or contradict it."""
    number = _number(next(group for group in call.groups() if group), options)
    if number is None:
        return []
    named = []
    also = _ALSO.match(text, call.end())
    if also and (other := _number(also[1] or also[2], options)) is not None:
        named.append(other)
    rest = ratios.fold(text[call.end() :]).lstrip(_ENDS)
    lengths = [found.end() if (found := _whole(option).match(rest)) else 0 for option in options]
    if any(length and _DENIED.match(rest, length) for length in lengths):
        return []  # "A. red is wrong"
    follows = [place for place, length in enumerate(lengths) if length and length == max(lengths)]
    return [*named, number] if number in follows else [*named, number, *follows]


def _number(letter: str, options: Sequence[str]) -> int | None:
    """The option of a letter; where options are letters themselves, the one that is this letter."""
    texts = [_bare(option) for option in options]
    if ratios.fold(letter) in texts:
        return texts.index(ratios.fold(letter))
    number = ascii_uppercase.index(letter.upper()) if letter.upper() in ascii_uppercase else len(options)
    return number if number < len(options) else None


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
    return min(numbers) if len({ratios.fold(options[number]) for number in numbers}) == 1 else None


def _bare(text: str) -> str:
    """Folded, without marks at the ends; what is nothing but marks stays."""
    folded = ratios.fold(text)
    return folded.strip(_ENDS) or folded


def _whole(option: str) -> re.Pattern[str]:
    """Finds an option's text as whole words: not ``red`` in ``reddish`` or ``red-brown``, not ``3`` in ``3.5``."""
    text = _bare(option)
    if not text:
        return re.compile("(?!)")  # an option without a text is nowhere
    # Scripts without spaces have no ends of words to look for.
    before = "" if unspaced_scripts.LETTER.match(text[0]) else r"(?<![\w-])"
    after = "" if unspaced_scripts.LETTER.match(text[-1]) else r"(?![\w-])"
    return re.compile(rf"{before}(?<!\d[.,]){re.escape(text)}{after}(?![.,]\d)")
