"""Finds faults in a single text; every search takes time linear in the length of the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sightweave.programs.doctor.languages import language_of as language_of

SPECIAL_TOKENS = (
    *(
        "<image>",
        "<video>",
        "<audio>",
        "<img>",
        "</img>",
        "<pad>",
        "<unk>",
        "<mask>",
        "<bos>",
        "<eos>",
        "<s>",
        "</s>",
    ),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
    *("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|image|>", "<start_of_turn>", "<end_of_turn>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]"),
)
"""Words that mark turns and images for well-known models."""

_SHOWN = 40
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Every quantifier has an upper bound, and no prefix of a match can be matched in two ways.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63}){1,4}")
_URL = re.compile(r"(?:https?://|ftp://|\bwww\.)[^\s<>\"]{3,200}", re.IGNORECASE)
_HTML = re.compile(
    r"</?(?:a|b|i|p|u|br|hr|li|ol|ul|td|th|tr|em|div|span|font|table|strong|script|style|h[1-6]|sub|sup|center|iframe)"
    r"(?:\s[^<>]{0,200})?/?>|&(?:amp|lt|gt|quot|nbsp|apos|#\d{1,6}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w.,+/@#=:-])\+?\(?\d[\d ().\-]{6,24}\d(?![\w/@:=-]|[.,]\d)", re.ASCII)
_GROUPED = re.compile(r"(?:\(?\d{2,5}\)?)(?:[ .-]\(?\d{1,5}\)?){1,6}")
_DATE = re.compile(r"\d{4}[-. ]\d{1,2}[-. ]\d{1,2}|\d{1,2}[-. ]\d{1,2}[-. ]\d{2,4}")
_YEARS = re.compile(r"(?:1[5-9]|20)\d\d\s?-\s?(?:1[5-9]|20)\d\d")
# The characters that UTF-8 bytes become in Latin-1 or Windows-1252: a lead byte, then continuation bytes.
_CP1252 = {bytes([k]).decode("cp1252"): k for k in range(128, 256) if k not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}
_TO_BYTE = str.maketrans({mark: chr(byte) for mark, byte in _CP1252.items() if ord(mark) > 255})
_MARKS = [mark for mark, byte in _CP1252.items() if byte < 0xC0 and ord(mark) > 255]
_TAILS = "\x80-\xbf" + "".join(map(re.escape, _MARKS))
_MOJIBAKE = re.compile(f"[\xc2-\xdf][{_TAILS}]|[\xe0-\xef][{_TAILS}]{{2}}|[\xf0-\xf4][{_TAILS}]{{3}}")
_LINES = "-=_.*#~+"  # characters with which people draw lines
_RUN = re.compile(r"(\S)\1{19}", re.DOTALL)
_WORD = re.compile(r"\w+")


class TextFinding(NamedTuple):
    """A fault found in a text."""

    code: str
    """A short, fixed name, such as ``text_mojibake``."""
    severity: str
    """``error``, ``warning`` or ``info``."""
    message: str
    """What is wrong with the text, and why it matters."""
    shown: str
    """The first occurrence of the fault, at most 40 characters, with control characters escaped."""


def inspect_text(text: str, *, special_tokens: Sequence[str] = SPECIAL_TOKENS) -> list[TextFinding]:
    """The faults of a text, each listed once with its first occurrence.

    Args:
        text: Any string, even with lone surrogates.
        special_tokens: Words that some model treats specially. They give only an ``info``, since our tokenizers encode
            them as ordinary text.
    """
    if not text.strip():
        return [TextFinding("text_empty", "error", "no text, or only white space.", _shown(text))]

    found = []
    for code, severity, message, search in _SEARCHES:
        place = search(text)
        if place is not None:
            found.append(TextFinding(code, severity, message, _shown(text[place[0] : place[1]])))

    present = [token for token in special_tokens if token and token in text]
    if present:
        message = "a special token for turns or images in some models; it is encoded as ordinary text."
        first = min(present, key=lambda token: (text.find(token), -len(token)))
        found.append(TextFinding("text_special_token", "info", message, _shown(first)))

    return found


def _shown(text: str) -> str:
    """A text as shown in messages: shortened, and with control characters escaped."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    shown = ""
    for mark in short:
        shown += mark if mark.isprintable() else mark.encode("unicode_escape").decode()
    return shown[: 2 * _SHOWN]


_Place = tuple[int, int] | None


def _first(pattern: re.Pattern[str]) -> Callable[[str], _Place]:
    def search(text: str) -> _Place:
        match = pattern.search(text)
        return match.span() if match else None

    return search


def _email(text: str) -> _Place:
    return _first(_EMAIL)(text) if "@" in text else None


def _replacement(text: str) -> _Place:
    place = text.find("\ufffd")
    return (max(0, place - 10), place + 10) if place >= 0 else None


def _mojibake(text: str) -> _Place:
    """A span that becomes other, printable text when its characters are decoded as UTF-8 bytes."""
    for match in _MOJIBAKE.finditer(text):
        try:
            mended = match.group().translate(_TO_BYTE).encode("latin-1").decode("utf-8")
        except UnicodeError:
            continue
        if mended.isprintable() or mended in "\xa0\u200b\ufeff":
            return max(0, match.start() - 10), match.end() + 10
    return None


def _phone(text: str) -> _Place:
    for match in _NUMBER.finditer(text):
        if _is_phone(match.group().strip()):
            return match.span()
    return None


def _is_phone(written: str) -> bool:
    """Whether a number has a country code with +, or is grouped like a phone number; a single group does not suffice."""
    digits = sum(mark.isdigit() for mark in written)
    if written.count("(") != written.count(")") or "  " in written:
        return False

    if written.startswith("+"):
        return 8 <= digits <= 15
    if not 8 <= digits <= 13 or _DATE.fullmatch(written) or _YEARS.fullmatch(written):
        return False

    groups = re.findall(r"\d+", written)
    if len(groups) < 2 or not _GROUPED.fullmatch(written) or ("." in written and len(groups) != 3):
        return False

    # Groups of three after a short first one are a large number written with spaces: 12 345 678.
    thousands = " " in written and all(len(group) == 3 for group in groups[1:]) and len(groups[0]) <= 3
    is_listed = len(set(map(len, groups))) == 1 and len(groups) > 3  # a list of numbers such as 10 20 30 40
    starts = written.startswith(("0", "(")) or (len(groups) == 3 and [*map(len, groups)] == [3, 3, 4])
    return starts and not thousands and not is_listed


def _repeated(text: str) -> _Place:
    """A span of 20 equal characters or 12 equal words in a row, or a word that makes up most of a long text."""
    run_of_one = _RUN.search(text)
    if run_of_one and run_of_one.group(1) not in _LINES:
        return run_of_one.span()

    counts: Counter[str] = Counter()
    before, run = "", 0
    for match in _WORD.finditer(text):
        word = match.group()
        run = run + 1 if word == before else 1
        before = word
        counts[word] += 1
        if run == 12:
            return match.span()

    if counts.total() >= 40:
        word, count = counts.most_common(1)[0]
        if 2 * count > counts.total():
            place = text.find(word)
            return place, place + len(word)
    return None


_SEARCHES: tuple[tuple[str, str, str, Callable[[str], _Place]], ...] = (
    ("text_control_characters", "warning", "invisible control characters.", _first(_CONTROL)),
    (
        "text_replacement_character",
        "warning",
        "U+FFFD: a character was lost in decoding.",
        _replacement,
    ),
    (
        "text_mojibake",
        "warning",
        "UTF-8 decoded as Latin-1 or Windows-1252; decode it again.",
        _mojibake,
    ),
    (
        "text_bidi_override",
        "warning",
        "bidirectional control characters: the displayed text differs from the stored text.",
        _first(_BIDI),
    ),
    ("text_email", "warning", "looks like an e-mail address: personal data.", _email),
    ("text_phone", "warning", "looks like a phone number: personal data.", _phone),
    ("text_url", "info", "a web address, which a model can only memorize.", _first(_URL)),
    ("text_html", "warning", "HTML tags or entities that were not removed.", _first(_HTML)),
    ("text_repeated", "warning", "the same word or character repeated many times.", _repeated),
)
