"""The tokens generated so far in the rows of a session, and the resulting texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sightweave.programs.generation.stopping import Limits, Watch

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """The text generated after one prompt."""

    ids: list[int]
    """Generated tokens, including the end token and those of a stop text."""
    total: float
    """Sum of the log-probabilities of the tokens."""
    has_ended: bool
    """Whether the text ended with the end token or a stop text, rather than at its maximum number of tokens."""


@dataclass
class Rows:
    """The tokens generated so far in each row of a session."""

    ids: Int[Tensor, "B T"]
    """Token ids, with one column for each step of the session; a row's own tokens begin at its column in `starts`."""
    totals: Tensor
    """Sum of the log-probabilities of each row's tokens, float B."""
    lengths: Int[Tensor, " B"]
    """Number of tokens in each row."""
    has_ended: Bool[Tensor, " B"]
    """Whether each row has ended with the end token or a stop text."""
    is_done: Bool[Tensor, " B"]
    """Whether each row is finished, for any reason including its maximum number of tokens."""
    starts: list[int]
    """Column of each row's first token."""
    last: list[int]
    """Column after the last token that each row may have."""
    numbers: list[int]
    """Number of each row's prompt."""
    watches: list[Watch | None]
    """The object that detects each row's stop texts; None for a row without stop texts."""

    @classmethod
    def new(cls, limits: Sequence[Limits], width: int, first: int, column: int, device: torch.device) -> Rows:
        """Rows for new prompts, without tokens.

        Args:
            limits: Limits of each prompt.
            width: Rows per prompt.
            first: Number of the first prompt.
            column: Column of the first token.
            device: Device of the session.
        """
        each = [one for one in limits for _ in range(width)]
        rows = len(each)
        return cls(
            ids=torch.zeros(rows, 0, dtype=torch.int64, device=device),
            totals=torch.zeros(rows, device=device),
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            has_ended=torch.zeros(rows, dtype=torch.bool, device=device),
            is_done=torch.zeros(rows, dtype=torch.bool, device=device),
            starts=[column] * rows,
            last=[column + one.max_tokens for one in each],
            numbers=[first + row // width for row in range(rows)],
            watches=[None] * rows,
        )

    def select(self, rows: Int[Tensor, " b"]) -> Rows:
        """A selection of these rows: its row i is row ``rows[i]``."""
        chosen = rows.tolist()

        def of(values: list[T]) -> list[T]:
            return [values[row] for row in chosen]

        return Rows(
            ids=self.ids[rows],
            totals=self.totals[rows],
            lengths=self.lengths[rows],
            has_ended=self.has_ended[rows],
            is_done=self.is_done[rows],
            starts=of(self.starts),
            last=of(self.last),
            numbers=of(self.numbers),
            watches=of(self.watches),
        )

    def joined(self, other: Rows) -> Rows:
        """These rows followed by those of `other`, which must not have any tokens yet."""
        return Rows(
            ids=torch.cat([self.ids, self.ids.new_zeros(len(other.ids), self.ids.shape[1])]),
            totals=torch.cat([self.totals, other.totals]),
            lengths=torch.cat([self.lengths, other.lengths]),
            has_ended=torch.cat([self.has_ended, other.has_ended]),
            is_done=torch.cat([self.is_done, other.is_done]),
            starts=self.starts + other.starts,
            last=self.last + other.last,
            numbers=self.numbers + other.numbers,
            watches=self.watches + other.watches,
        )

    def written(self, rows: Int[Tensor, " b"]) -> dict[int, Written]:
        """The texts of some rows, by the number of their prompt."""
        parts = (self.ids[rows], self.lengths[rows], self.totals[rows], self.has_ended[rows])
        found = {}
        # Copy each tensor to Python once for all rows, because copying row by row takes longer.
        for row, ids, length, total, ended in zip(rows.tolist(), *map(Tensor.tolist, parts), strict=True):
            start = self.starts[row]
            found[self.numbers[row]] = Written(ids[start : start + length], total, ended)
        return found
