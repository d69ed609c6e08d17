"""Shared by the multiple-choice metrics: which option an answer names, and which options are right.

Letters are A, B, ... in the order of ``Sample.options``. An answer that names no option, or several, is not guessed at.
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
"""Quotes, brackets and stars that may precede a letter."""
_NOUNS = (
    r"(?:(?:the|die|la|le|l['\u2019])\s{0,3})?(?:(?:answer|option|choice|letter|Antwort|Buchstabe|r\u00e9ponse|lettre|choix"
    r"|\u9009\u9879|\u9078\u9805|\u9078\u629e\u80a2)\b\s{0,3}:?)?"
)
_NO_WORD = r"(?![A-Za-z0-9_\u00c0-\u024f]|['\u2019-][A-Za-z])"
_BECAUSE = r"(?:or|and|because|since|as|for|due|which|that|given|based|with|in|is|was|oder|und|weil|da|ou|et|car|parce)\b"
"""Words that may follow a letter but not an article: ``A because``."""
_LETTER = (
    # A and I are words too: "the answer is A dog" names no letter.
    rf"(?:[(\[*]+([A-Za-z])(?:[)\]*]+|$)|([B-HJ-Z]){_NO_WORD}"
    rf"|([AI]){_NO_WORD}(?!\s+(?!{_BECAUSE})[a-z])|([a-z])\W*$)"
)
_AT_START = re.compile(rf"{_OPENS}(?i:{_NOUNS}){_OPENS}{_LETTER}")
"""A letter where an answer is stated: ``B``, ``(b)``, ``option C``."""
_MARKED = re.compile(r"(?:^|(?<=\n))[ \t]*[(\[*]*([A-Za-z])(?:[)\].:*]+(?=\s|$)|[\u3001\u3002\uff0c])")
"""``A. red``, ``(b)``, ``**C**``: a letter at the start of a line, followed by punctuation."""
_ALONE = re.compile(r"[^\w\n]*([A-Z]|(?<=[(\[*])[a-z](?=[)\]*]))[^\w\n]*$")
"""A line that consists of a single letter."""
_CALLED = re.compile(
    rf"(?i:\b(?:option|choice|letter|Buchstabe|lettre)\b|\u9009\u9879|\u9078\u9805|\u9078\u629e\u80a2)[\s:(\[*]*([A-Z]){_NO_WORD}"
    r"|(?i:\b(?:answer|option|choice|letter|Antwort|r\u00e9ponse)\b[\s:\u2013-]*"
    r"|\b(?:it|that)(?:\s+(?:is|was)|['\u2019]s)\s+|\b(?:c['\u2019]est|es\s+ist|das\s+ist)\s+|\b(?:so|therefore|thus|hence|also|donc)\b[\s,:]*)"
    + _LETTER
)
"""``Option (c)``, ``it is B``: a letter that is referred to as an option but not stated as the answer."""
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
"""``B is correct``: a letter followed by a statement that it is right."""
_ALSO = re.compile(
    r"\W*(?:\b(?i:or|and|oder|und|ou|et)\b|[,/&\u3001]|\u6216\u8005?|\u548c|\u3068)\W*?"
    r"(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z0-9_'\u2019]|\s+(?:is|was|are|shows?|has|would|ist|est)\b|\s+[a-z]))"
)
"""``or C`` right after a letter, which names a second option."""
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
"""The end of a statement: "green, not red" states green."""
_MAX_STATED = 300
"""Maximum number of characters of a statement that are searched for an option."""

_Span = tuple[int, int, int]
"""Start, end and index of an option that is mentioned in a text."""


def is_right(metric: str, answer: str | None, sample: Sample) -> bool:
    """Whether an answer names a right option; an answer of None names no option.

    Raises:
        DataError: the sample has no options, more than 26, or a reference that is not one of them.
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
    """Folded texts of the right options; each reference may be the text of an option or its letter.

    Raises:
        DataError: a reference is not one of the options.
    """
    texts = list(map(ratios.fold, sample.options))
    letters = dict(zip(ascii_uppercase, texts, strict=False))

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
    """The index of the one option that an answer names; None if it names none or several.

    The first of these rules that applies decides:

    1. The answer is the text of an option, or a single letter.
    2. It states its answer by letter or text: ``the answer is B``, in a box or a tag, ``B is correct``, or a last line
       that is a letter. The last readable statement counts.
    3. It starts with a marked letter (``B. red``) or refers to an option by its letter (``option B``), and the text of
       no other option follows immediately.
    4. It mentions the text of one option, at its start or without a negation.

    Options with the same text count as one: the first.
    """
    same = _same(answer, options)
    if same:
        return _only(same, options)

    text = stated_answers.plain(answer)
    letter = _bare(text)
    number = _number(letter, options) if len(letter) == 1 else None
    if number is not None:
        return number

    # Check statements first: other options are often discussed before the answer is stated.
    stated = _by_statement(text, options)
    if stated:
        return _only(stated, options)

    called = _by_letter(text, options)
    return _only(called, options) if called else _mentioned(ratios.fold(text), options)


def _same(text: str, options: Sequence[str]) -> list[int]:
    """Indices of the options that equal a text: exactly, or if none does, without punctuation at the ends of both."""
    for form in (ratios.fold, _bare):
        wanted_text = form(text)
        same = [number for number, option in enumerate(options) if form(option) == wanted_text]
        if same:
            return same

    return []


def _by_statement(text: str, options: Sequence[str]) -> list[int]:
    """Indices of the options that the last readable statement names; empty if nothing is stated."""
    # Statements of all three kinds, each with its start and the position of its answer.
    found: list[tuple[int, int, stated_answers.Statement | None]]
    found = [(one.start, one.at, one) for one in stated_answers.statements(text)]
    found += [(one.start(), one.start(), None) for one in _CONFIRMED.finditer(text)]

    before, newline, last_line = text.rstrip().rpartition("\n")
    if newline and _ALONE.match(last_line):
        found.append((len(before) + 1, len(before) + 1, None))
    found.sort(key=lambda one: one[1])

    # Use the last readable statement and those joined to it ("the answer is A or the answer is B").
    named: list[int] = []
    later = -1
    for start, at, statement in reversed(found):
        if named and not _is_joined(text, at, later):
            break
        named += _stated_here(text, at, statement, options)
        later = start

    return named


def _is_joined(text: str, at: int, later: int) -> bool:
    """Whether only ``or`` or a similar word is between the letter of one statement and the next statement."""
    letter = _AT_START.match(text, at)
    return letter is not None and _OR.fullmatch(text, letter.end(), max(later, letter.end())) is not None


def _stated_here(
    text: str, at: int, statement: stated_answers.Statement | None, options: Sequence[str]
) -> list[int]:
    """Indices of the options that one statement names, by letter or else by text."""
    if statement is not None and statement.is_enclosed:
        text, at = statement.text, 0  # the text outside the box or tag is not part of the answer

    letter = _AT_START.match(text, at)
    if letter and not _DENIED.match(text, letter.end()):
        named = _named(text, letter, options)
        if named:
            return named

    stated = text[at : at + _MAX_STATED]
    same = _same(stated, options)  # an option may contain the end of a sentence: "9 a.m."
    if same:
        return same

    end = _SENTENCE_END.search(stated)
    chosen = _mentioned(ratios.fold(stated[: end.start()] if end else stated), options)
    return [] if chosen is None else [chosen]


def _by_letter(text: str, options: Sequence[str]) -> list[int]:
    """Indices of all options that a text refers to by letter.

    If a letter is followed by the text of another option, both options are included.
    """
    calls = list(_MARKED.finditer(text))
    if not calls or calls[0].start() > 0:
        calls = [*_CALLED.finditer(text), *_BOLD.finditer(text)]

    named: list[int] = []
    for call in calls:
        if not _DENIED.match(text, call.end()):
            named += _named(text, call, options)

    return named


def _named(text: str, call: re.Match[str], options: Sequence[str]) -> list[int]:
    """Indices of the option with the matched letter and of others that are named with it or contradict it."""
    number = _number(next(filter(None, call.groups())), options)
    if number is None:
        return []

    named = []
    also = _ALSO.match(text, call.end())
    other = _number(also[1] or also[2], options) if also else None
    if other is not None:
        named.append(other)
    named.append(number)

    # The text after the letter must not be that of another option: "A. red". The longest matching text counts.
    rest = ratios.fold(text[call.end() :]).lstrip(_ENDS)
    lengths = []
    for option in options:
        match = _whole(option).match(rest)
        lengths.append(match.end() if match else 0)
    if any(length and _DENIED.match(rest, length) for length in lengths):
        return []  # "A. red is wrong"

    longest = max(lengths)
    follows = [place for place, length in enumerate(lengths) if length and length == longest]
    return named if number in follows else [*named, *follows]


def _number(letter: str, options: Sequence[str]) -> int | None:
    """The index of the option with this letter; if the options are themselves letters, of the option that equals it."""
    texts = list(map(_bare, options))
    if ratios.fold(letter) in texts:
        return texts.index(ratios.fold(letter))

    number = ascii_uppercase.index(letter.upper()) if letter.upper() in ascii_uppercase else len(options)
    return number if number < len(options) else None


def _mentioned(text: str, options: Sequence[str]) -> int | None:
    """The index of the one option that a text mentions, at its start or without a negation; else None."""
    spans = _outermost(_mentions(text, options))
    if not spans:
        return None

    first = min(start for start, _, _ in spans)
    is_at_start = not text[:first].strip(_ENDS)
    if not is_at_start and _is_negated(text, spans):
        return None

    return _only([number for _, _, number in spans], options)


def _mentions(text: str, options: Sequence[str]) -> list[_Span]:
    """Every occurrence of every option in a text."""
    spans = []
    for number, option in enumerate(options):
        bare = _bare(option)
        if len(bare) == 1 and bare.isalpha():
            continue  # "a" occurs in most sentences, so a single letter is not searched for
        spans += [(found.start(), found.end(), number) for found in _whole(option).finditer(text)]

    return spans


def _outermost(spans: Sequence[_Span]) -> list[_Span]:
    """Removes spans inside longer ones: "red" in "dark red" does not count as a mention."""
    kept = []
    for span in spans:
        start, end, _ = span
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in spans):
            kept.append(span)

    return kept


def _is_negated(text: str, spans: Sequence[_Span]) -> bool:
    """Whether a text has a negation outside these spans."""
    outside = [found.start() for found in _NEGATION.finditer(text)]
    for start, end, _ in spans:
        outside = [at for at in outside if not start <= at < end]

    return bool(outside)


def _only(numbers: Sequence[int], options: Sequence[str]) -> int | None:
    """The index of the first of these options if all have the same text, else None."""
    texts = {ratios.fold(options[number]) for number in numbers}
    return min(numbers) if len(texts) == 1 else None


def _bare(text: str) -> str:
    """Folds a text and removes punctuation from its ends; text that is only punctuation is kept."""
    folded = ratios.fold(text)
    return folded.strip(_ENDS) or folded


def _whole(option: str) -> re.Pattern[str]:
    """A pattern for an option's text as whole words: not ``red`` in ``reddish`` or ``red-brown``, not ``3`` in ``3.5``."""
    text = _bare(option)
    if not text:
        return re.compile("(?!)")  # never matches

    # Scripts without spaces have no word boundaries to look for.
    before = "" if unspaced_scripts.LETTER.match(text[0]) else r"(?<![\w-])"
    after = "" if unspaced_scripts.LETTER.match(text[-1]) else r"(?![\w-])"
    return re.compile(rf"{before}(?<!\d[.,]){re.escape(text)}{after}(?![.,]\d)")
