"""Finds the final answer in a text: in a box or tag, or after phrases such as "the answer is" in several languages.

A model that reasons may discuss several options before it chooses one, so the last stated answer counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_IS = r"(?:is|was|would\s+be|should\s+be|must\s+be|will\s+be|has\s+to\s+be)"
_CALLS = (
    # English
    rf"\b(?:answer|ans|option|choice|pick|selection)\b(?:\s+(?:to|for|of)\s+[^.:\n]{{1,60}}?)?[\"'*_]*"
    rf"(?:\s+(?:therefore|thus|clearly|then))?(?:\s+{_IS}\b[\s*_]*:?|\s*[:=])",
    r"\b(?:I|we)(?:['\u2019](?:d|ll|m)|\s+(?:would|will|must|have\s+to|am))?"
    r"\s+(?:choose|chose|pick|select|answer|say|(?:go|going)\s+(?:with|for)|opt\s+for|vote\s+for)\b\s*:?",
    r"\b(?:choose|pick|select)\b(?:\s+the)?",
    # German
    r"\b(?:Antwort|Antwortm\u00f6glichkeit|L\u00f6sung|Option|Wahl)\b[*_]*"
    r"(?:\s+(?:ist|lautet|hei\u00dft|w\u00e4re|muss)\b[\s*_]*:?|\s*:)",
    r"\b(?:richtig|korrekt|zutreffend)\s+(?:ist|w\u00e4re)\b\s*:?",
    r"\b(?:ich|wir)\s+(?:w\u00e4hle|w\u00e4hlen|nehme|nehmen|sage|tippe\s+auf|entscheide\s+mich\s+f\u00fcr)\b\s*:?",
    # French, Spanish, Italian and Portuguese
    r"\b(?:r\u00e9ponse|reponse|option|choix|respuesta|opci\u00f3n|risposta|resposta)\b"
    r"(?:\s+(?:correcte|exacte|finale|juste|correcta|final|corretta|correta|\u00e0\s+la\s+question))*[*_]*"
    r"(?:\s+(?:est|serait|es|sera|\u00e8|\u00e9)(?!\w)[\s*_]*:?|\s*:)",
    r"\b(?:je|nous)\s+(?:choisis|choisirais|choisissons|s\u00e9lectionne|prends|dirais|dis|opte\s+pour)\b\s*:?",
    # Chinese
    r"(?:\u7b54\u6848|(?:\u9009\u9879|\u9078\u9805)(?=[\u662f\u4e3a\u70ba])|\u6b63\u89e3|\u7d50\u8ad6|\u7ed3\u8bba|(?:\u6b63\u786e|\u6b63\u78ba|\u6700\u4f73)\u7684?(?:\u9009\u9879|\u9078\u9805))(?:\u9009\u9879|\u9078\u9805)?[*_]*"
    r"(?:\u5e94\u8be5|\u61c9\u8a72|\u5e94\u5f53|\u5e94|\u61c9|\u5c31)?"
    r"(?:\u662f|\u4e3a|\u70ba|\u9009|\u9078|\s*[:\u3011])[\s*_]*:?",
    r"(?<![\u4e0d\u6ca1\u6c92\u522b\u5225\u672a])(?:\u9009\u62e9|\u9078\u64c7|\u9009|\u9078)"
    r"(?![\u9879\u9805\u629e\u629e\u629e\u62e9\u64c7])(?:\u4e86|\u7684\u662f)?\s*:?",
    # Japanese and Korean
    r"(?:\u7b54\u3048|\u7b54|\u89e3\u7b54|\u56de\u7b54|\u6b63\u89e3|\u6b63\u7b54)(?:\u306f|\u304c|\s*:)[\s*_]*:?",
    r"(?:\uc815\ub2f5|\ub2f5)(?:\uc740|\s*:)",
)
"""Patterns of phrases that introduce an answer."""
_CALL = re.compile("|".join(_CALLS), re.IGNORECASE)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nicht|kein|keine|keinesfalls)|n['\u2019]t|\bne)\s+(?:\w+\s+)?$",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_TAGGED = re.compile(
    r"<(answer|final_answer|final|choice|option)>(.*?)(?:</\1>|\Z)|<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_STYLED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|mathit|mathbb|operatorname)\s*\{([^{}]*)\}"
)
_MATHS = re.compile(r"\\[()\[\]]")
"""LaTeX delimiters around a formula."""
_QUOTED = re.compile(r'"([^"\n]+)"[\s}]*$')
_MAX_NESTED = 4
"""Maximum nesting depth of LaTeX font commands."""
_MAX_ANSWER = 2000
"""Maximum number of characters of an answer that is not in a box or tag."""
_MAX_STATEMENTS = 64
"""Maximum number of stated answers that are considered, counted from the end, which bounds the cost of repetitive texts."""
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Translation of full-width characters and the full-width space to ASCII."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An answer that a text states, and its position."""

    start: int
    """Position of the phrase before the answer, or of its box or tag."""
    at: int
    """Position of the answer itself."""
    text: str
    """Content of the box or tag, or the characters after the phrase, which may continue beyond the answer."""
    is_enclosed: bool
    """Whether the answer is in a box or tag, so that `text` is exactly the answer."""


def plain(text: str) -> str:
    """Replaces full-width characters by ASCII, and removes LaTeX font commands and formula delimiters."""
    text = text.translate(_NARROW)
    text = _MATHS.sub(" ", text)
    for _ in range(_MAX_NESTED):
        text = _STYLED.sub(r"\1", text)
    return text


def statements(text: str) -> list[Statement]:
    """Finds all stated answers in a text from `plain`, in order; negated phrases such as "never pick" are skipped."""
    found = [*_boxes(text)]
    for tag in _TAGGED.finditer(text):
        group = 2 if tag[2] is not None else 3
        found.append(Statement(tag.start(), tag.start(group), tag[group].strip(), is_enclosed=True))

    for call in _CALL.finditer(text):
        if not _DENIED_BEFORE.search(text, max(0, call.start() - 40), call.start()):
            answer = text[call.end() : call.end() + _MAX_ANSWER]
            found.append(Statement(call.start(), call.end(), answer, is_enclosed=False))

    return sorted(found, key=lambda one: one.at)[-_MAX_STATEMENTS:]


def last_stated(text: str) -> str | None:
    """The last answer that a text states, in the original spelling; None if it states none.

    After a phrase such as "the answer is", the answer is the rest of the line, or the next line if that is empty.
    """
    for one in reversed(statements(plain(text))):
        answer = enclosed(one.text) or one.text.strip()
        if not one.is_enclosed:
            answer = answer.split("\n", 1)[0].strip(" \t*_$")
        quoted = _QUOTED.match(answer)
        if quoted is not None:  # as in {"answer": "red"}
            answer = quoted[1]
        if answer:
            return answer
    return None


def enclosed(text: str) -> str | None:
    """The content of the last non-empty box or tag in a text; None if there is none."""
    inner = [one.text for one in statements(plain(text)) if one.is_enclosed and one.text]
    return inner[-1].strip(" $") if inner else None


def _boxes(text: str) -> Iterator[Statement]:
    """Yields the answers in LaTeX boxes, whose content ends at the matching closing brace."""
    for box in list(_BOX.finditer(text))[-_MAX_STATEMENTS:]:
        depth, end = 1, box.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1

        inside = text[box.end() : end - 1 if depth == 0 else end]
        yield Statement(box.start(), box.end(), inside.strip(), is_enclosed=True)
