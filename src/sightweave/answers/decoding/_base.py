"""The interface of decoding methods, which choose the next token ids from logits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt64
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Increment of SplitMix64: its counter grows by this amount for each number."""
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Choice:
    """The next token of every row."""

    ids: Int[Tensor, " B"]
    """Ids of the chosen tokens, int64 of shape B."""
    logprobs: Float[Tensor, " B"]
    """Natural-log probability of each chosen token under the model's own distribution, before temperature, top-k or
    top-p."""
    rows: Int[Tensor, " B"] | None = None
    """Index of the row that each new row continues (used by beam search); None if every row continues itself."""


@dataclass(frozen=True)
class Draws:
    """One stream of random numbers per row, determined only by that row's key.

    A row therefore draws the same numbers regardless of the batch size, its neighbours and their order, when it joined,
    and which rows have left. Number t of a stream is output t of SplitMix64 seeded with the key (Steele, Lea and Flood
    2014, Fast Splittable Pseudorandom Number Generators, doi:10.1145/2714064.2660195), so any number can be computed
    without the preceding ones.
    """

    keys: UInt64[np.ndarray, " B"]
    step: int | UInt64[np.ndarray, " B"] = 0
    """Index of the number that each row draws next: one index for all rows, or one per row if they joined at different
    times."""

    @classmethod
    def of(cls, seed: int, names: Iterable[Sequence[str]], *, width: int = 1) -> Draws:
        """Creates the streams of rows that answer prompts.

        Args:
            seed: Random seed.
            names: Texts that identify each prompt, such as its id, its question and its images. If a name occurs
                several times, each occurrence gets a stream of its own.
            width: Rows per prompt.
        """
        seen: Counter[bytes] = Counter()
        keys = []

        for name in names:
            digest = hashlib.sha256(json.dumps([seed, *name]).encode("ascii")).digest()
            for row in range(width):
                place = json.dumps([seen[digest], row]).encode("ascii")
                keys.append(int.from_bytes(hashlib.sha256(digest + place).digest()[:8], "little"))
            seen[digest] += 1

        return cls(np.array(keys, dtype=np.uint64))

    def at(self, step: int) -> Draws:
        """The same streams, with every row at this step."""
        return replace(self, step=step)

    def next(self) -> Draws:
        """The same streams one step later."""
        return replace(self, step=self.step + 1)

    def select(self, rows: Int[Tensor, " b"]) -> Draws:
        """The streams of some rows."""
        chosen = rows.cpu().numpy()
        step = self.step if isinstance(self.step, int) else self.step[chosen]
        return replace(self, keys=self.keys[chosen], step=step)

    def joined(self, other: Draws) -> Draws:
        """These streams followed by those of `other`; each row keeps its own step."""
        parts = (self, other)
        steps = [np.full(len(part.keys), part.step, dtype=np.uint64) for part in parts]
        return Draws(np.concatenate([part.keys for part in parts]), np.concatenate(steps))

    def uniform(self) -> Float64[Tensor, " B"]:
        """A random number in [0, 1) for each row, with 53 random bits; computed on the CPU and equal on every machine."""
        # SplitMix64 relies on the wraparound of uint64 arithmetic.
        step = np.array(self.step, dtype=np.uint64, ndmin=1)
        mixed = self.keys + (step + np.uint64(1)) * _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FACTORS[0]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _FACTORS[1]
        mixed ^= mixed >> np.uint64(31)

        return torch.from_numpy((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53)


class Decoder(Protocol):
    """A decoding method for one batch; each call that generates text builds a new one."""

    width: int
    """Rows per prompt: 1, or the number of beams (the caller repeats each prompt that many times). If it is more than
    1, no row may join or leave during decoding."""
    # A method that draws no random numbers may set ``is_random = False``; images are then not read to name the prompts.

    def choose(self, logits: Float[Tensor, "B V"], is_done: Tensor, draws: Draws) -> Choice:
        """Chooses the next token of each row.

        Args:
            logits: Logits of the next token.
            is_done: bool B: rows that are finished; the tokens chosen for them are ignored.
            draws: Random numbers of each row at its step, for methods that sample.
        """
        ...

    def best(self, totals: Float[Tensor, " B"], lengths: Int[Tensor, " B"]) -> Int[Tensor, " P"]:
        """For each prompt, the index of the row to return, int64 P.

        Args:
            totals: Summed log-probabilities of each row.
            lengths: Number of generated tokens of each row.
        """
        ...
