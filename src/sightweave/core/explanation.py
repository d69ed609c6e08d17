"""The explanation of an answer: how much each place of each medium and each token of the prompt contributed to a word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class MediumValues:
    """The values of one medium of the prompt."""

    name: str
    """Key of the medium; a tile of a large image has the image's key followed by ``#tile`` and its place."""
    modality: str
    """Modality of the medium, such as ``image``."""
    values: np.ndarray
    """float32, one value for each place of the encoder's grid: rows x columns for an image, times for a series, and
    times x rows x columns for a video."""

    @property
    def best(self) -> tuple[int, ...]:
        """Index of the place with the largest value; among equals, the first."""
        return tuple(int(one) for one in np.unravel_index(int(self.values.argmax()), self.values.shape))


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Contributions of the input to one word of an answer, or to the whole answer.

    The unit of the values depends on the method. Values of one explanation can be compared with one another, across media
    and tokens; values of different methods cannot.
    """

    method: str
    """Kind of the explainer: a file in ``answers/explainers``."""
    answer: str
    """The explained answer, generated or given."""
    word: str | None
    """The explained word of the answer; None for the whole answer."""
    against: str | None
    """The text in whose place the word or answer was chosen; None if it is not compared with another."""
    score: float
    """The explained number. Without `against`, the log-odds of the word's tokens after the prompt and the preceding words,
    ``log p / (1 - p)``, summed over the tokens; with it, ``log p(word) - log p(against)`` (natural logarithms)."""
    unit: str
    """Unit of all values, in words."""
    media: tuple[MediumValues, ...]
    """The values of each medium of the prompt, in order."""
    tokens: tuple[str, ...] = ()
    """The text of each token of the prompt, without the places of media; special tokens by name."""
    token_values: np.ndarray | None = None
    """float32, one value for each of `tokens`; None if the method explains media only."""
    baseline: str = ""
    """The input that stands for absence, in words; empty if the method has none."""
    completeness_error: float | None = None
    """Difference between the sum of all values and the rise of the score from the baseline, as a share of that rise; None
    for methods whose values do not add up to it."""

    @property
    def medium_share(self) -> float:
        """Share of the absolute values that lies on media rather than on tokens, from 0 to 1; NaN if all values are zero."""
        on_media = sum(float(np.abs(one.values).sum()) for one in self.media)
        on_tokens = 0.0 if self.token_values is None else float(np.abs(self.token_values).sum())
        total = on_media + on_tokens
        return on_media / total if total > 0 else math.nan

    def to_plain(self) -> dict[str, Any]:
        """The explanation as plain data, for JSON."""
        media: list[Mapping[str, Any]] = [
            {"name": one.name, "modality": one.modality, "values": one.values.tolist()} for one in self.media
        ]
        return {
            "method": self.method,
            "answer": self.answer,
            "word": self.word,
            "against": self.against,
            "score": self.score,
            "unit": self.unit,
            "media": media,
            "tokens": list(self.tokens),
            "token_values": None if self.token_values is None else self.token_values.tolist(),
            "baseline": self.baseline,
            "completeness_error": self.completeness_error,
        }

    def __repr__(self) -> str:
        word = "the answer" if self.word is None else repr(self.word)
        facts = [f"{self.method} of {word} in {self.answer!r}", f"score={self.score:.4g}"]
        facts += [f"{one.name}: {'x'.join(map(str, one.values.shape))}" for one in self.media]
        if self.completeness_error is not None:
            facts.append(f"completeness_error={self.completeness_error:.2g}")
        return f"Explanation({', '.join(facts)})"
