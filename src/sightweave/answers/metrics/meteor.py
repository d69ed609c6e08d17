"""METEOR: matches a caption's words with a reference's by form, stem, synonym and paraphrase, in few chunks.

Meteor Universal: Language Specific Translation Evaluation for Any Target Language (Denkowski and Lavie 2014,
aclanthology.org/W14-3348). The matches are those of the authors' program, meteor-1.5.jar, which needs Java and is not
shipped: install pycocoevalcap, or set the jar's folder. Without both, METEOR is not computed, and no other score is
used in its place.

The score is the paper's formula applied to the program's counts, with the parameters for English (-l en -norm), so that
a corpus score can be resampled. It equals the program's own score up to rounding (checked on 500 captions and their
corpus).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from sightweave.answers.scoring import java_programs, ngrams
from sightweave.core.config import config, place
from sightweave.core.errors import BackendError
from sightweave.core.types import Sample

JAR = "meteor-1.5.jar"
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
"""Weight of precision, exponent and factor of the chunk penalty, and weight of content words; the paper's values for
English."""
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])
"""Weights of matches by form, stem, synonym and paraphrase."""
_NUM_COUNTS = 23
_CHUNKS = 20
"""Index of the number of chunks in the program's counts; the numbers of matched words of answer and reference
follow."""
_OPTIONS = ("-", "-", "-stdio", "-l", "en", "-norm")


@config
class Config:
    """Options of METEOR: the reference program."""

    folder: Annotated[str, place()] = ""
    """Folder with meteor-1.5.jar and its data; if empty, the folder of an installed pycocoevalcap."""
    java: Annotated[str, place("java")] = "java"
    """Name or path of the Java executable."""

    def build(self) -> Meteor:
        """Builds the metric."""
        return Meteor(folder=self.folder, java=self.java)


class Meteor:
    """METEOR: (1 - gamma * (chunks / matches)^beta) * P R / (alpha P + (1 - alpha) R); 0 to 1.

    Args:
        folder: Folder of the jar; if empty, that of an installed pycocoevalcap.
        java: Name or path of the Java executable.
    """

    is_proportion = False

    def __init__(self, *, folder: str = "", java: str = "java") -> None:
        self.folder = folder
        self.java = java

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 24: the 23 counts of the reference program, and 1.

        The counts are those of the best-matching reference. An answer that equals it has no chunks, as in the program's
        corpus scores. An answer that could not be parsed (None) counts as empty.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no references, or references are not
                English.
            BackendError: Java or the jar is missing, or the program failed.
        """
        texts = ngrams.tokenised("meteor", predictions, samples)
        ngrams.check_english("meteor", samples)
        folder = java_programs.folder_of("meteor", self.folder, JAR)
        java = java_programs.find("meteor", self.java, JAR)

        # Write one line per answer: its references, then the answer.
        lines = []
        for answer, references in texts:
            fields = ["SCORE", *map(_clean, references), _clean(answer)]
            lines.append(" ||| ".join(fields) + "\n")

        command = [java, "-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", JAR, *_OPTIONS]
        output = java_programs.run("meteor", command, folder, "".join(lines)).splitlines() if texts else []
        if len(output) != len(texts):
            raise BackendError(
                f"meteor: the program returned {len(output)} line(s) for {len(texts)} answer(s): {output[:1]}. "
                f"It must be {JAR}."
            )

        return counts(output)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """METEOR (shape ``...``) from summed rows (shape ``... 24``); NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        words, function_words, matches = sums[..., 0:2], sums[..., 2:4], sums[..., 4:20]

        # Precision and recall, with weights by stage of the match and by content or function word.
        matches = matches.reshape(
            *sums.shape[:-1], 4, 2, 2
        )  # stage, (content, function), (answer, reference)
        matched = np.einsum("...scr,s,c->...r", matches, _STAGES, [_DELTA, 1 - _DELTA])
        shares = _ratio(matched, _DELTA * (words - function_words) + (1 - _DELTA) * function_words)
        precision, recall = shares[..., 0], shares[..., 1]
        mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)

        # The penalty for matches that are split into many chunks.
        chunks = _ratio(sums[..., _CHUNKS], sums[..., _CHUNKS + 1 : _CHUNKS + 3].sum(-1) / 2)
        score = mean * (1 - _GAMMA * chunks**_BETA)
        return np.where(sums[..., -1] > 0, score, np.nan)


def counts(lines: Sequence[str]) -> np.ndarray:
    """Parses the program's lines of 23 numbers; float64 R 24, where the last column is 1.

    Raises:
        BackendError: a line is not 23 numbers.
    """
    try:
        values = np.array([list(map(float, line.split())) for line in lines], dtype=np.float64)
        values = values.reshape(len(lines), _NUM_COUNTS)
    except ValueError:
        raise BackendError(
            f"meteor: the program returned {list(lines[:1])} instead of lines of {_NUM_COUNTS} numbers; it must be {JAR}."
        ) from None

    # An answer that equals its reference is one chunk with all words of both; set its chunks to 0, so that it is not
    # penalized.
    is_equal = (values[:, _CHUNKS] == 1) & (values[:, _CHUNKS + 1 : _CHUNKS + 3] == values[:, :2]).all(1)
    values[is_equal, _CHUNKS] = 0

    return np.concatenate([values, np.ones((len(lines), 1))], axis=1)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """``top / bottom``; 0 where the denominator is 0."""
    ratio = np.zeros(np.shape(top))
    np.divide(top, bottom, out=ratio, where=np.asarray(bottom) > 0)
    return ratio


def _clean(text: str) -> str:
    """Removes the separator of the program's protocol from a text."""
    return text.replace("|||", "").replace("  ", " ")
