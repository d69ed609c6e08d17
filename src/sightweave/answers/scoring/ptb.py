"""PTB tokens of a caption, as in COCO's caption evaluation: lower case, without most punctuation.

Written from the conventions of the Penn Treebank (Marcus et al. 1993, aclanthology.org/J93-2004) and from the output of
Stanford CoreNLP 3.4.1's PTBTokenizer on test inputs (options -preserveLines -lowerCase, as called by
github.com/salaniz/pycocoevalcap ad63453); it is not a translation of that program. CoreNLP looks past the end of a line
(after a single letter it checks how the next caption begins); here each caption is tokenized alone. The output is the
same for all 5,000 captions, all 1,858 test inputs and every character of the Basic Multilingual Plane. Of 4,000 random
mixtures of odd words, punctuation and scripts that were drawn afterwards, 11 differ: web and e-mail addresses with
punctuation attached, a curly quote before a word in d, a Greek sigma before a hyphen, and two symbols (U+09FB and U+3014).

At each position the longest match of any pattern is the next token; of equally long matches, that of the first pattern:

    "A man isn't riding (two) bikes."  ->  a man is n't riding -lrb- two -rrb- bikes
"""

from __future__ import annotations

import re
from functools import lru_cache

from sightweave.answers.scoring.ptb_characters import ATTACHED, LETTERS, SYMBOLS

REMOVED = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that the evaluation removes. Round and curly brackets stay, because they become ``-lrb-`` etc. in lower
case."""

_ALNUM = f"(?-i:[0-9A-Za-z{LETTERS}])"
_LETTER = rf"(?:(?!\d){_ALNUM})"
_APOSTROPHE = "['\u2019]"
_NO_ENDING = rf"(?!(?:ll|re|ve)(?!{_LETTER}))"
_BASE = f"(?:(?-i:(?![{ATTACHED}])){_ALNUM})"
_ASCII = "(?-i:[A-Za-z0-9])"  # if case were ignored, [a-z] would match the Kelvin sign and dotted capitals
_PART = rf"(?:[dol]{_APOSTROPHE}(?={_BASE}{{2}}){_NO_ENDING})?{_BASE}+"
_PLAIN = re.compile(rf"{_ALNUM}+(?:[.!?-]{_ALNUM}+)*")
"""Words that keep a full stop before a comma."""
_NOT = re.compile("[`'\u2019]t", re.IGNORECASE)
"""Matches the ``'t`` of ``don't``, in which the n before it belongs to the next token."""
_NEGATED = re.compile("[A-Za-z]*[A-MO-Za-mo-z]")
"""Matches the letters that may precede the n of ``n't``."""
_ENDING = re.compile(rf"{_APOSTROPHE}(?:[smd]|ll|re|ve)(?![a-z])", re.IGNORECASE)
_PATH = r"(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?(?![a-z])"
"""The path of a web address."""

_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"n[`'\u2019]t(?![a-z])",
        _ENDING.pattern,
        rf"{_APOSTROPHE}(?:n{_APOSTROPHE}|n(?!\.|{_ALNUM})|em|till?|cause)",
        rf"(?:ma{_APOSTROPHE}am|cap{_APOSTROPHE}n|c{_APOSTROPHE}mon|e{_APOSTROPHE}er|ne{_APOSTROPHE}er)(?!{_ALNUM})",
        rf"nor{_APOSTROPHE}easter|s{_APOSTROPHE}mores|li{_APOSTROPHE}l|nat{_APOSTROPHE}l|ev{_APOSTROPHE}ry",
        rf"(?:(?!\d){_BASE})+(?-i:[aeiouyAEIOUY])(?!{_APOSTROPHE}(?:[smd]|ll|re|ve)(?!{_BASE}))"
        rf"(?-i:{_APOSTROPHE}[aeiouA-Z])(?:(?!\d){_BASE})*",  # Hawai'i, Shi'ite
        rf"ol{_APOSTROPHE}(?!{_ALNUM})|{_APOSTROPHE}t(?=(?:is|was)(?:(?!{_ALNUM})|n{_APOSTROPHE}t))",
        rf"(?-i:[nA-HJ-XZ]){_APOSTROPHE}{_NO_ENDING}{_LETTER}{{2,}}",
        rf"(?:[djl]{_APOSTROPHE}(?={_ALNUM})|y{_APOSTROPHE}(?={_LETTER}))",
        rf"{_APOSTROPHE}(?:[2-9]0s|\d\d(?=\s|$))",  # the years of '99 and of the '90s
        rf"{_PART}(?:[-_\u058a\u2010\u2011]{_PART})*",
        rf"{_ASCII}(?:{_ASCII}|[.,\u00ad]){{0,60}}(?:-(?:(?-i:[A-Za-z](?:\.[A-Za-z])+)\.|(?:{_ASCII}|\u00ad)+))+",
        r"(?-i:[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2})",
        r"[-+]?(?:\d+|[.,:\u066b\u066c]\d+)(?:[.,:\u066b\u066c]\d+)*",
        r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}",
        r"(?:\d{1,4}[- \u00a0])?\d{1,4}(?:\\?/|\u2044)\d{1,4}",  # a mixed number is one token
        r"\(\d{3}\)[ \t\u00a0]?\d{3}[- \u00a0]\d{4}",  # and so is a telephone number
        rf"[a-z](?:\.[a-z])+\.?(?!{_LETTER})|[a-z]\.(?!{_LETTER})",  # U.S., a.m., an initial
        rf"{_LETTER}{_ALNUM}*(?:[.!?]{_LETTER}{_ALNUM}*)*",  # site.org, and two sentences without a space
        r"ph\.d\.",
        r"https?://[^\s\"<>|()]+[^\s\"<>|.!?(){},-]",
        rf"(?:www\.(?:[^\s\"<>|.!?(){{}},]+\.)+[a-z]{{2,4}}|(?:(?-i:[^\s\"`'<>|.!?(){{}}$,-_])+\.)+(?:com|net|org|edu)){_PATH}",
        r"(?:&lt;|<)?(?-i:[A-Za-z0-9])[^\s\"<>|(){}]{0,200}@(?:[^\s\"<>|(){}.]{1,100}\.){0,20}[^\s\"<>|(){}.]+(?:&gt;|>)?",
        rf"(?-i:@[A-Za-z_][A-Za-z0-9_]*)|#{_LETTER}+",
        r"<[!?][a-z-][^>\r\n]*>",
        r"</?[a-z][a-z0-9_:.-]*(?: +[a-z][a-z0-9_:.-]*(?: *= *(?:'[^'\r\n]*'|\"[^\"\r\n]*\"))?)* */?>",
        r"&(?:amp|lt|gt|quot|nbsp|#\d+);",
        r"(?-i:[A-Z]+&[A-Z]+)",
        r"[<>]?[:;=][-o*']?(?-i:[()DPdpO\\{@|\[\]])(?![a-z0-9])",  # :-) but not the colon of "things:dogs"
        r"(?-i:[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\))",
        r"\.{3,}|\.(?:[ \u00a0]\.){2,}|\u2026",
        r"[-\u058a\u2010-\u2015]",
        r"-{2,}|[\u2012-\u2015]",
        r"[`\u00ab\u00bb\u2018-\u201f\u2039\u203a]{2}",
        r"[\u207a\u207b\u208a\u208b]?(?:[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+|[\u2080-\u2089]+)",
        r"[!?]+",
        r"\*+|#+|_+|@+",
        r"''|``|<<|>>",
        r"(?-i:[A-Z]*)\$",
        r"c\+\+|[cf]#",
        r"\S",
    )
]
_PARTS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "lemme": ("lem", "me"),
    "gimme": ("gim", "me"),
}
_WRITTEN = {
    **dict(zip("()[]{}", ("-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"), strict=True)),
    "\u00a3": "#",
    **dict.fromkeys("\x80\u00a4\u20a0\u20ac", "$"),
    "\u00a2": "cents",
    "\u2026": "...",
    **dict.fromkeys("\u058a\u2010\u2011", "-"),
    **dict.fromkeys("\u2012\u2013\u2014\u2015", "--"),
    **dict.fromkeys("\u066b\u066c", ""),
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": "''",
    "&nbsp;": "",
    "\u00bc": "1/4",
    "\u00bd": "1/2",
    "\u00be": "3/4",
    "\u2153": "1/3",
    "\u2154": "2/3",
    **dict.fromkeys('\u201b"\u201c\u201d\u00ab\u00bb\u2018\u2019\u2039\u203a', "''"),
}
"""Replacements of whole tokens."""
_WITHIN = str.maketrans(
    {
        **{one: _WRITTEN[one] for one in "()"},
        " ": "\u00a0",
        "\t": "\u00a0",
        "\u2019": "'",
        "\u00ad": None,
    }
)
"""Replacements within longer tokens, such as ``:)``."""

_QUOTES = {
    **dict.fromkeys("\u00ab\u201c", "``"),
    **dict.fromkeys("\u00bb\u201d", "''"),
    **dict.fromkeys("\u2018\u2039\u201b`", "`"),
    **dict.fromkeys("\u2019\u203a", "'"),
}
"""Replacement of each of two adjacent quotes."""

_SENTENCE_START = re.compile(
    r"\s+(?=(?-i:[A-Z]))(?:a|about|according|additionally|after|an|as|at|but|earlier|he|her|here|however|if|in|it|last|"
    r"many|more|mr\.|ms\.|now|once|one|other|our|she|since|so|some|such|that|the|their|then|there|these|they|this|we|"
    r"what|when|while|yet|you)(?:\s|$)",
    re.IGNORECASE,
)
"""Capitalized words that show that the full stop after a single letter ends a sentence."""
_ABBREVIATION = re.compile(
    r"(?:adj|adm|adv|al|ala|alex|apr|ariz|assn|assoc|aug|ave|bldg|blvd|bros|calif|capt|cf|cie|cmdr|co|col|"
    r"colo|conn|corp|cos|cpl|ct|dec|dept|det|dr|drs|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|"
    r"hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kan|ky|lt|ltd|maj|mar|md|messrs|mfg|mich|minn|mlle|"
    r"mme|mo|mon|mont|mr|mrs|ms|mt|natl|neb|nev|nov|oct|okla|penn|ph|plc|pres|prof|pte|ptes|pty|pvt|rd|"
    r"rep|reps|rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|supt|sys|tel|tenn|thu|thurs|tue|"
    r"tues|univ|va|vs|vt|wash|wed|wis|wisc|wm|wyo|"
    r"(?-i:(?=[A-Z]))(?:ark|az|del|ill|la|mass|miss|ore|pa|tex))\.",  # states; in lower case, words
    re.IGNORECASE,
)
"""Abbreviations, which keep their full stop."""
_BEFORE_NUMBER = re.compile(r"(?:nos?|figs?|pp|ca|op|art)\.(?=\s*\d)", re.IGNORECASE)
"""Abbreviations that keep their full stop before a number."""
_MARKS = (
    r"\x80\u00a2-\u00a4\u00ab\u00bb-\u00be\u058a\u066b\u066c\u2010-\u2015\u2018-\u201f\u2026\u2039\u203a\u20a0\u20ac"
    r"\u2153\u2154"
)
"""Other non-ASCII characters for which there are patterns."""
_DELETED = re.compile(rf"[^\x20-\x7e\s{LETTERS}{SYMBOLS}{_MARKS}]")
"""Characters unknown to CoreNLP, which it deletes: emoji, all others with two UTF-16 units, and newer characters."""


@lru_cache(maxsize=65536)
def tokenise(text: str) -> str:
    """The tokens of one caption, joined by single spaces; empty if the caption is only punctuation."""
    return " ".join(token for token in tokens(text) if token not in REMOVED)


def tokens(text: str) -> list[str]:
    """All tokens of one caption in lower case, including punctuation."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace() or _DELETED.match(text, at):
            at += 1
            continue

        end = _end(text, at)
        found += _written(text[at:end], closed=not _ENDING.match(text, end))
        at = end

    return list(filter(None, found))


def _end(text: str, start: int) -> int:
    """The end of the token that starts at this position."""
    matches = [pattern.match(text, start) for pattern in _PATTERNS]
    end = max(match.end() for match in matches if match)
    if text[end - 1] in "nN" and _NOT.match(text, end) and _NEGATED.fullmatch(text, start, end - 1):
        return end - 1

    end += _keeps_stop(text, start, end)
    if end == start + 2 and text[start + 1] == "." and _SENTENCE_START.match(text, end):
        end -= 1  # a single letter ends the sentence

    return end


def _keeps_stop(text: str, start: int, end: int) -> bool:
    """Whether a full stop follows the word and is part of it."""
    if text[end : end + 1] != ".":
        return False

    is_before_comma = text[end + 1 : end + 2] in (",", ";", ":", "\u3001")
    if is_before_comma and _PLAIN.fullmatch(text, start, end):
        return True

    with_stop = text[start : end + 1]
    return _ABBREVIATION.fullmatch(with_stop) is not None or _BEFORE_NUMBER.match(text, start) is not None


def _written(token: str, *, closed: bool) -> list[str]:
    """The output tokens of a matched token, usually the token itself in lower case.

    `closed` is False if an ending such as ``'s`` follows directly.
    """
    if closed and token.lower() in _PARTS:
        return list(_PARTS[token.lower()])
    if token in _WRITTEN:
        return [_WRITTEN[token]]
    if len(token) > 2 and set(token) <= set(".\u00a0 "):
        return ["..."]
    if len(token) > 1 and set(token) <= set("-\u2013\u2014\u2015"):
        return ["--"]
    if len(token) == 2 and set(token) <= _QUOTES.keys():
        return [_QUOTES[token[0]] + _QUOTES[token[1]]]
    if " " not in token and ("@" in token or "/" in token):
        return [token.lower()]  # addresses stay whole

    return [token.translate(_WITHIN).lower()]
