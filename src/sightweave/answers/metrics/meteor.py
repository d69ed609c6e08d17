"""METEOR: words of a caption matched with a reference's by form, stem, synonym and paraphrase, in few pieces.

Meteor Universal: Language Specific Translation Evaluation for Any Target Language (Denkowski and Lavie 2014,
aclanthology.org/W14-3348). The matches are those of the authors' program, meteor-1.5.jar, which needs Java and is not
shipped: install pycocoevalcap, or name the jar's folder. Without both, METEOR is not computed; nothing stands in for it.
The score is the paper's formula on the program's counts, with the parameters of English (-l en -norm), so that a
corpus score can be resampled; it equals the program's own to rounding (500 captions, and their corpus).
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
"""Weight of precision, power and size of the penalty for pieces, weight of content words: the paper's for English."""
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])
"""Weights of matches by form, stem, synonym and paraphrase."""
_NUM_COUNTS = 23
_PIECES = 20
"""Place of the number of pieces in the program's counts; the words matched of answer and reference follow."""


@config
class Config:
    """Where the reference program is."""

    folder: Annotated[str, place()] = ""
    """Folder with meteor-1.5.jar and its data; empty means that of an installed pycocoevalcap."""
    java: Annotated[str, place("java")] = "java"
    """Name or path of the Java program."""

    def build(self) -> Meteor:
        """The metric."""
        return Meteor(folder=self.folder, java=self.java)


class Meteor:
    """(1 - gamma * (pieces / matches)^beta) * P R / (alpha P + (1 - alpha) R); 0 to 1.

    Args:
        folder: Where the jar is; empty for an installed pycocoevalcap.
        java: The Java program.
    """

    is_proportion = False

    def __init__(self, *, folder: str = "", java: str = "java") -> None:
        self.folder = folder
        self.java = java

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 24: the 23 counts of the reference program, and 1.

        The counts are of the reference that fits best. An answer that equals it has no pieces, as in the program's
        corpus scores. An answer that could not be parsed (None) is an empty one.

        Raises:
            DataError: not one prediction per sample, a sample without references, or references that are not English.
            BackendError: Java or the jar is missing, or the program failed.
        """
        texts = ngrams.tokenised("meteor", predictions, samples)
        ngrams.check_english("meteor", samples)
        folder = java_programs.folder_of("meteor", self.folder, JAR)
        java = java_programs.find("meteor", self.java, JAR)
        asked = "".join(
            " ||| ".join(["SCORE", *map(_clean, references), _clean(answer)]) + "\n"
            for answer, references in texts
        )
        command = [
            java,
            "-Dfile.encoding=UTF-8",
            "-Xmx2G",
            "-jar",
            JAR,
            "-",
            "-",
            "-stdio",
            "-l",
            "en",
            "-norm",
        ]
        told = java_programs.run("meteor", command, folder, asked).splitlines() if texts else []
        if len(told) != len(texts):
            raise BackendError(
                f"meteor: the program returned {len(told)} line(s) for {len(texts)} answer(s): {told[:1]}. "
                f"It must be {JAR}."
            )
        return counts(told)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """METEOR from sums ``... 24``: shape ``...``; NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        words, functions, found = sums[..., 0:2], sums[..., 2:4], sums[..., 4:20]
        content = found.reshape(
            *found.shape[:-1], 4, 2, 2
        )  # stages, (content, function), (answer, reference)
        matched = np.einsum("...scr,s,c->...r", content, _STAGES, [_DELTA, 1 - _DELTA])
        shares = _ratio(matched, _DELTA * (words - functions) + (1 - _DELTA) * functions)
        precision, recall = shares[..., 0], shares[..., 1]
        mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
        pieces = _ratio(sums[..., _PIECES], sums[..., _PIECES + 1 : _PIECES + 3].sum(-1) / 2)
        score = mean * (1 - _GAMMA * pieces**_BETA)
        return np.where(sums[..., -1] > 0, score, np.nan)


def counts(lines: Sequence[str]) -> np.ndarray:
    """float64 R 24 from the program's lines of 23 numbers.

    Raises:
        BackendError: a line of something else.
    """
    try:
        values = np.array([[float(word) for word in line.split()] for line in lines], dtype=np.float64)
        values = values.reshape(len(lines), _NUM_COUNTS)
    except ValueError:
        raise BackendError(
            f"meteor: the program returned {list(lines[:1])} instead of lines of {_NUM_COUNTS} numbers; it must be {JAR}."
        ) from None
    whole = (values[:, _PIECES] == 1) & (values[:, _PIECES + 1 : _PIECES + 3] == values[:, :2]).all(1)
    values[whole, _PIECES] = 0
    return np.concatenate([values, np.ones((len(lines), 1))], axis=1)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """0 where nothing is below the line."""
    ratio = np.zeros(np.shape(above))
    np.divide(above, below, out=ratio, where=np.asarray(below) > 0)
    return ratio


def _clean(text: str) -> str:
    """Without the mark that parts texts in the program's protocol."""
    return text.replace("|||", "").replace("  ", " ")
