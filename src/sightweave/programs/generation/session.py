"""A session: texts that a model continues token by token, each with what was read of it before.

::

    session = Session(model)
    session.join(batch)               # prompts are read; session.logits are those of their next tokens
    while ...:
        ids = ...                     # chosen from session.logits
        kept = session.leave(done)    # rows that are over; the others close up
        session.step(ids[kept])       # one token for each row

Rows may join at any time and at any length: each has its own positions, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sightweave.core.batch import Batch, TokenSequence
from sightweave.core.cache import Cache, Shared
from sightweave.data.inputs.prompts import text_tokens
from sightweave.models.nn.fast_decoding import FastDecoding
from sightweave.models.vlm import VLM

_ROOM = 16
"""Tokens that a cache makes room for behind prompts; most answers are shorter, and room that stays empty costs time."""


def fast_decoding(model: VLM) -> FastDecoding | None:
    """The shorter way for single tokens, where the language model has one and no fusion acts between its blocks."""
    return None if "layer" in model.fusion.places else model.language_model.fast_decoding()


@dataclass(frozen=True)
class Trunks:
    """Beginnings that are read once, for all texts that go on from them."""

    cache: Cache
    """A row for each."""
    shared: Shared | None
    """The same for fast decoding; None where the rows differ in length, or where there is no such way."""

    @classmethod
    @torch.inference_mode()
    def read(cls, model: VLM, batch: Batch) -> Trunks:
        """Reads one trunk a row."""
        assert batch.target is not None  # trunks are tokens
        rows, length = batch.target.ids.shape
        cache = Cache(rows, capacity=length)
        model(batch, cache=cache, at=torch.zeros(0, dtype=torch.int64, device=batch.target.ids.device))

        shared = None
        if cache.uniform and fast_decoding(model) is not None:
            shared = Shared.of(cache, torch.arange(rows))
        return cls(cache, shared)


class Session:
    """Texts that a model goes on with, a row each; single tokens are read the shortest way that the model has.

    Args:
        model: In evaluation mode; its weights stay as they are while the session lasts.
        room: Tokens to make room for behind prompts. It changes no number.
    """

    logits: Float[Tensor, "B V"]
    """Of the next token of each row."""
    positions: Int[Tensor, " B"]
    """Of that token."""
    cache: Cache
    """What was read of each row."""

    def __init__(self, model: VLM, *, room: int = _ROOM) -> None:
        self.model, self.room = model, room
        self._fast = fast_decoding(model)
        device = next(model.parameters()).device
        self.cache = Cache(0)
        self.logits = torch.zeros(0, 0, device=device)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self._largest = 0  # no position is larger

    def __len__(self) -> int:
        return len(self.positions)

    @torch.inference_mode()
    def join(
        self,
        batch: Batch,
        *,
        trunks: Trunks | None = None,
        rows: Int[Tensor, " B"] | None = None,
        packed: bool = True,
    ) -> None:
        """Reads prompts, whose rows come behind those that are here.

        Args:
            batch: Prompts, padded on the right.
            trunks: What was read before of their beginnings.
            rows: int64 on the CPU: which trunk each row goes on from.
            packed: Whether text alone may be read without padding, which is faster. What is to go on by `read` may not.
        """
        made = None
        if packed and batch.embeddings is None and not batch.media and batch.source is None:
            shared = None
            if trunks is not None and trunks.shared is not None and rows is not None:
                shared = trunks.shared.select(rows)
            if trunks is None or shared is not None:
                made = self._read_packed(batch, shared)
        if made is None:
            made = self._read_whole(batch, trunks, rows)
        self._add(*made)

    def _read_packed(self, batch: Batch, shared: Shared | None) -> tuple[Tensor, Tensor, Cache] | None:
        """Prompts read without padding, and without copies of what rows share; None where that cannot be done."""
        fast, tokens = self._fast, batch.target
        assert tokens is not None  # prompts are tokens
        if fast is None or not tokens.plain or not self.model.fusion.in_sequence:
            return None
        if not fast.fits(tokens.ids, shared):
            return None

        cache = Cache(len(tokens.ids), capacity=tokens.ids.shape[1] + self.room)
        cache.shared = shared
        row, slot = tokens.valid.nonzero(as_tuple=True)
        hidden = self.model.language_model.embed(tokens.ids[tokens.valid][None])[0]
        positions = tokens.positions[tokens.valid]
        logits = fast.read(hidden, positions, row, slot, cache)
        last = tokens.valid.sum(1).cumsum(0) - 1
        return logits, positions[last] + 1, cache

    def _read_whole(
        self, batch: Batch, trunks: Trunks | None, rows: Tensor | None
    ) -> tuple[Tensor, Tensor, Cache]:
        """Prompts read by the whole model."""
        assert batch.target is not None  # prompts are tokens
        valid = batch.target.valid
        count, width = valid.shape
        if trunks is None:
            cache = Cache(count, capacity=width + self.room)
        else:
            assert rows is not None  # given with the trunks
            cache = trunks.cache.select(rows.to(valid.device))

        lengths = valid.sum(1)
        row = torch.arange(count, device=valid.device)
        logits = self.model(batch, cache=cache, at=row * width + lengths - 1).logits
        return logits, batch.target.positions[row, lengths - 1] + 1, cache

    def _add(self, logits: Tensor, positions: Tensor, cache: Cache) -> None:
        self._largest = max(self._largest, int(positions.max()))
        if not len(self):
            self.logits, self.positions, self.cache = logits, positions, cache
            return
        self.cache = self.cache.joined(cache)
        self.logits = torch.cat((self.logits, logits))
        self.positions = torch.cat((self.positions, positions))

    @torch.inference_mode()
    def step(self, ids: Int[Tensor, " B"]) -> None:
        """Reads one token of each row."""
        model, fast = self.model, self._fast
        if fast is not None and model.fusion.in_sequence:  # nothing is left to fuse
            hidden = model.language_model.embed(ids[:, None])
            self.logits = fast(hidden[:, 0], self.positions, self.cache, largest=self._largest)
        else:
            tokens = text_tokens(ids[:, None], self.positions[:, None], plain=True)
            if fast is not None:
                hidden = model.language_model.embed(tokens.ids)
                hidden = model.fusion.input(hidden, tokens, None, self.cache)
                self.logits = fast(hidden[:, 0], self.positions, self.cache, largest=self._largest)
            else:
                at = torch.arange(len(ids), device=ids.device)
                self.logits = model(Batch(target=tokens), cache=self.cache, at=at).logits
        self.positions = self.positions + 1
        self._largest += 1

    @torch.inference_mode()
    def read(self, tokens: TokenSequence) -> Float[Tensor, "N V"]:
        """Reads some tokens of each row, which joined without being packed.

        Args:
            tokens: At least one in each row, at the row's next positions.

        Returns:
            The logits behind each token, row by row, without padding.
        """
        at = tokens.valid.flatten().nonzero()[:, 0]
        logits: Tensor = self.model(Batch(target=tokens), cache=self.cache, at=at).logits
        lengths = tokens.valid.sum(1)
        self.logits = logits[lengths.cumsum(0) - 1]
        self.positions = self.positions + lengths
        self._largest += tokens.ids.shape[1]
        return logits

    @torch.inference_mode()
    def leave(self, is_done: Bool[Tensor, " B"]) -> Int[Tensor, " b"]:
        """Rows that are done leave. The last rows move into the gaps, so that few are copied.

        Returns:
            The numbers that the rows which stay had before, in their new order.
        """
        kept = _closed_up(~is_done)
        if len(kept):
            self.cache.keep(kept)
        else:
            self.cache, self._largest = Cache(0), 0
        self.logits, self.positions = self.logits[kept], self.positions[kept]
        return kept

    @torch.inference_mode()
    def fork(self, rows: Int[Tensor, " b"]) -> Session:
        """Another session, whose row i goes on from row ``rows[i]`` of this one, which stays as it is."""
        forked = object.__new__(Session)
        forked.model, forked.room, forked._fast = self.model, self.room, self._fast
        forked._largest = self._largest
        forked.logits, forked.positions = self.logits[rows], self.positions[rows]
        forked.cache = self.cache.select(rows)
        return forked


def _closed_up(going: Tensor) -> Tensor:
    """Numbers of the rows that go on: each in its place, and the last ones in the gaps of those that are done."""
    count = int(going.sum())
    kept = torch.arange(count, device=going.device)
    kept[~going[:count]] = going[count:].nonzero()[:, 0] + count
    return kept
