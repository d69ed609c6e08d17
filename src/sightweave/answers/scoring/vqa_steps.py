"""Shared by the three VQA accuracies: the steps that normalise answers, and leave-one-out voting.

The steps keep the bugs of the published scorers, because published numbers were computed with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
"""Characters that are removed or replaced with a space; apostrophes, colons and periods are not among them."""
ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_DIGITS)} | {"none": "0"}
FEWEST = 4
"""Minimum number of annotators; with fewer, even an answer that all of them gave would score below 1."""
_PERIODS = 32
"""Maximum number of periods to remove; the published scorers pass a flag of this value where a count is expected."""
_WHOLE = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd
where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
y'all'd've you'd you'd've you'll you're you've
"""


def _contractions() -> dict[str, str]:
    """Maps each contraction that lacks one of its apostrophes to the correct form."""
    table = {}
    for whole in _WHOLE.split():
        for place, letter in enumerate(whole):
            if letter == "'":
                table[whole[:place] + whole[place + 1 :]] = whole

    # The published table has this entry reversed. Its entries with capitals (Im, Ive) are left out: words are
    # lower-case when the table is applied, so they never match.
    table["somebody'd"] = "somebodyd"
    return table


CONTRACTIONS = _contractions()
"""Maps contractions that lack an apostrophe to the correct ones: ``dont`` -> ``don't``."""


def without_punctuation(text: str, *, digits: str = r"\d") -> str:
    r"""Removes punctuation or replaces it with spaces, and removes periods that are not followed by a digit.

    A punctuation character is removed if it is next to a space anywhere in the text, or if the text has a comma between
    digits; otherwise each of its occurrences becomes a space. At most 32 periods are removed.

    Args:
        text: An answer.
        digits: Pattern of a digit: ``\d`` for the digits of any script, ``[0-9]`` for ASCII digits.
    """
    has_grouped_digits = re.search(f"{digits},{digits}", text) is not None

    kept = text
    for mark in PUNCTUATION:
        is_next_to_space = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if is_next_to_space or has_grouped_digits else " ")

    return re.sub(rf"\.(?!{digits})", "", kept, count=_PERIODS)


def plain_words(text: str) -> str:
    """Normalises words: lower case, number words as digits (``none`` is 0), no articles, apostrophes in contractions."""
    words = []
    for token in text.lower().split():
        word = NUMBERS.get(token, token)
        if word not in ARTICLES:
            words.append(CONTRACTIONS.get(word, word))

    return " ".join(words)


def one_line(text: str) -> str:
    """Replaces line breaks and tabs with spaces and removes spaces at both ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def vote(answer: str, references: Sequence[str]) -> float:
    """The mean, over annotators, of min(1, number of *other* annotators who gave exactly this answer / 3)."""
    people = len(references)
    same = references.count(answer)

    among_others = same * min(1.0, (same - 1) / 3) + (people - same) * min(1.0, same / 3)
    return among_others / people


def rows(
    name: str,
    predictions: Sequence[str | None],
    samples: Sequence[Sample],
    score: Callable[[str, Sequence[str]], float],
) -> np.ndarray:
    """A row per sample, float64 R 2: (score, 1); an answer that could not be parsed (None) scores 0.

    Raises:
        DataError: there is not exactly one prediction per sample, or a sample has fewer than four references.
    """
    ratios.check(name, predictions, samples)

    few = [sample for sample in samples if len(sample.references) < FEWEST]
    if few:
        raise DataError(
            f"{name}: {len(few)} of {len(samples)} samples have under {FEWEST} reference answers, the first being "
            f"{few[0].id!r} with {len(few[0].references)}; leave-one-out voting needs the answers of all "
            "annotators, repeated as given (VQA v2 has ten). For fewer answers use exact_match."
        )

    scores = []
    for answer, sample in zip(predictions, samples, strict=True):
        scores.append(0.0 if answer is None else score(answer, sample.references))

    return ratios.with_ones(scores)
