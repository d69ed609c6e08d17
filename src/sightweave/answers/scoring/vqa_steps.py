"""What the three VQA accuracies share: the steps that make answers comparable, and the vote that leaves one person out.

The steps keep the faults of the published scorers, since published numbers were made with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
"""What is taken out or replaced by a space; apostrophes, colons and periods are not among them."""
ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(_DIGITS)} | {"none": "0"}
FEWEST = 4
"""With fewer people, the answer that all of them gave would score under 1."""
_PERIODS = 32
"""Only so many periods are dropped: the scorers pass a flag of that value where a count is expected."""
_WHOLE = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd
where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(whole: str) -> list[str]:
    places = [place for place, letter in enumerate(whole) if letter == "'"]
    return [whole[:place] + whole[place + 1 :] for place in places]


# The one entry that is the wrong way round is the published one. Those with capitals (Im, Ive) are left out:
# words are in small letters by then, so they never apply.
CONTRACTIONS = {broken: whole for whole in _WHOLE.split() for broken in _without_one_apostrophe(whole)} | {
    "somebody'd": "somebodyd"
}
"""Contractions that lack an apostrophe -> the whole ones: ``dont`` -> ``don't``."""


def without_punctuation(text: str, *, digits: str = r"\d") -> str:
    r"""Drops or spaces out punctuation, and drops periods that no digit follows.

    A mark is dropped if it stands beside a space anywhere in the text, or if the text has a comma between digits;
    otherwise all of it becomes spaces. Of the periods only the first 32 are looked at.

    Args:
        text: An answer.
        digits: What a digit is: ``\d`` for any script's, ``[0-9]`` for ours.
    """
    grouped = re.search(f"{digits},{digits}", text) is not None
    kept = text
    for mark in PUNCTUATION:
        beside = f"{mark} " in text or f" {mark}" in text
        kept = kept.replace(mark, "" if beside or grouped else " ")
    return re.sub(rf"\.(?!{digits})", "", kept, count=_PERIODS)


def plain_words(text: str) -> str:
    """Small letters, number words as digits (``none`` is 0), no articles, and contractions with their apostrophe."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def one_line(text: str) -> str:
    """Line ends and tabs as spaces, and none at the ends."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def vote(answer: str, references: Sequence[str]) -> float:
    """Mean over the people of min(1, those of the *others* who gave this answer / 3); compared as they are."""
    people, same = len(references), sum(reference == answer for reference in references)
    among_others = same * min(1.0, (same - 1) / 3) + (people - same) * min(1.0, same / 3)
    return among_others / people


def rows(
    name: str,
    predictions: Sequence[str | None],
    samples: Sequence[Sample],
    score: Callable[[str, Sequence[str]], float],
) -> np.ndarray:
    """float64 R 2: (score, 1); an answer that could not be parsed (None) scores 0.

    Raises:
        DataError: not one prediction per sample, or a sample with under four references.
    """
    ratios.check(name, predictions, samples)
    few = [sample for sample in samples if len(sample.references) < FEWEST]
    if few:
        raise DataError(
            f"{name}: {len(few)} of {len(samples)} samples have under {FEWEST} reference answers, the first being "
            f"{few[0].id!r} with {len(few[0].references)}; leave-one-out voting needs the answers of all "
            "annotators, repeated as given (VQA v2 has ten). For fewer answers use exact_match."
        )
    return ratios.with_ones(
        [
            0.0 if answer is None else score(answer, sample.references)
            for answer, sample in zip(predictions, samples, strict=True)
        ]
    )
