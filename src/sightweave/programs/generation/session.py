"""A session: texts that a model continues token by token, with a cache of keys and values.

::

    session = Session(model)
    session.join(batch)               # reads prompts; session.logits predict their next tokens
    while ...:
        ids = ...                     # chosen from session.logits
        kept = session.leave(done)    # finished rows leave; the others close up
        session.step(ids[kept])       # reads one token of each row

Rows may join at any time and with any length.
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
"""Number of tokens for which a cache reserves space after the prompts: most answers are shorter, and unused space costs
time."""


def fast_decoding(model: VLM) -> FastDecoding | None:
    """The language model's faster decoding of single tokens; None if it has none or a fusion acts between its blocks."""
    return None if "layer" in model.fusion.places else model.language_model.fast_decoding()


@dataclass(frozen=True)
class Trunks:
    """Beginnings of prompts (trunks), each read once for all prompts that share it."""

    cache: Cache
    """Keys and values, one row per trunk."""
    shared: Shared | None
    """The same keys and values for fast decoding; None if the trunks differ in length, or if the model has no fast
    decoding."""

    @classmethod
    @torch.inference_mode()
    def read(cls, model: VLM, batch: Batch) -> Trunks:
        """Reads a batch with one trunk per row."""
        assert batch.target is not None  # trunks always have tokens
        rows, length = batch.target.ids.shape
        cache = Cache(rows, capacity=length)
        model(batch, cache=cache, at=torch.zeros(0, dtype=torch.int64, device=batch.target.ids.device))

        shared = None
        if cache.uniform and fast_decoding(model) is not None:
            shared = Shared.of(cache, torch.arange(rows))
        return cls(cache, shared)


class Session:
    """Texts that a model continues, one per row; single tokens are read in the model's fastest way.

    Args:
        model: The model, in evaluation mode. Its weights must not change while the session is in use.
        room: Number of tokens for which to reserve space in the cache after the prompts. It does not affect the result.
        with_images: Whether the logits include those of image tokens, for a model that has any.
    """

    logits: Float[Tensor, "B V"]
    """Logits of each row's next token."""
    positions: Int[Tensor, " B"]
    """Position of each row's next token."""
    cache: Cache
    """Keys and values of each row."""

    def __init__(self, model: VLM, *, room: int = _ROOM, with_images: bool = False) -> None:
        self.model, self.room = model, room
        # Fast decoding reads and predicts only text.
        self._fast = None if with_images else fast_decoding(model)
        has_images = model.language_model.image_vocabulary is not None
        self._num_logits = model.language_model.vocab_size if has_images and not with_images else None
        device = next(model.parameters()).device
        self.cache = Cache(0)
        self.logits = torch.zeros(0, 0, device=device)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self._largest = 0
        """Upper bound on all positions, kept here because reading it from the tensor would take time in every step."""

    def __len__(self) -> int:
        """Number of rows."""
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
        """Reads prompts and adds them as rows after the existing ones.

        Args:
            batch: Prompts, padded on the right.
            trunks: Beginnings of the prompts that have already been read.
            rows: int64 B on the CPU: index of the trunk that each row continues.
            packed: Whether text-only prompts may be read without padding, which is faster. Must be False for rows on
                which `read` will be called.
        """
        made = None
        is_text = batch.embeddings is None and not batch.media and batch.source is None
        if packed and is_text:
            shared = None
            if trunks is not None and trunks.shared is not None and rows is not None:
                shared = trunks.shared.select(rows)
            if trunks is None or shared is not None:
                made = self._read_packed(batch, shared)

        if made is None:
            made = self._read_whole(batch, trunks, rows)
        self._add(*made)

    def _read_packed(self, batch: Batch, shared: Shared | None) -> tuple[Tensor, Tensor, Cache] | None:
        """Reads prompts without padding and without copying what rows share; None if that is not possible."""
        fast, tokens = self._fast, batch.target
        assert tokens is not None  # prompts always have tokens
        if fast is None or not tokens.plain or not self.model.fusion.in_sequence:
            return None
        if not fast.fits(tokens.ids, shared):
            return None

        cache = Cache(len(tokens.ids), capacity=tokens.ids.shape[1] + self.room)
        cache.shared = shared

        # Concatenate the tokens of all rows.
        row, slot = tokens.valid.nonzero(as_tuple=True)
        hidden = self.model.language_model.embed(tokens.ids[tokens.valid][None])[0]
        positions = tokens.positions[tokens.valid]
        logits = fast.read(hidden, positions, row, slot, cache)

        last = tokens.valid.sum(1).cumsum(0) - 1
        return logits, positions[last] + 1, cache

    def _read_whole(
        self, batch: Batch, trunks: Trunks | None, rows: Tensor | None
    ) -> tuple[Tensor, Tensor, Cache]:
        """Reads padded prompts with the complete model."""
        assert batch.target is not None  # prompts always have tokens
        valid = batch.target.valid
        count, width = valid.shape
        if trunks is None:
            cache = Cache(count, capacity=width + self.room)
        else:
            assert rows is not None  # always given together with trunks
            cache = trunks.cache.select(rows.to(valid.device))

        lengths = valid.sum(1)
        row = torch.arange(count, device=valid.device)
        logits = self._predicted(batch, cache, row * width + lengths - 1)
        return logits, batch.target.positions[row, lengths - 1] + 1, cache

    def _add(self, logits: Tensor, positions: Tensor, cache: Cache) -> None:
        """Appends rows that have been read."""
        self._largest = max(self._largest, int(positions.max()))
        if not len(self):
            self.logits, self.positions, self.cache = logits, positions, cache
            return

        self.cache = self.cache.joined(cache)
        self.logits = torch.cat((self.logits, logits))
        self.positions = torch.cat((self.positions, positions))

    @torch.inference_mode()
    def step(self, ids: Int[Tensor, " B"]) -> None:
        """Reads one token of each row and updates `logits`."""
        model, fast = self.model, self._fast
        if fast is not None and model.fusion.in_sequence:  # the fusion does nothing for a text token
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
                self.logits = self._predicted(Batch(target=tokens), self.cache, at)

        self.positions = self.positions + 1
        self._largest += 1

    @torch.inference_mode()
    def read(self, tokens: TokenSequence) -> Float[Tensor, "N V"]:
        """Reads several tokens of each row, which must have joined with ``packed=False``.

        Args:
            tokens: At least one token per row, at the row's next positions.

        Returns:
            Logits after each token, row by row, without padding.
        """
        at = tokens.valid.flatten().nonzero()[:, 0]
        logits = self._predicted(Batch(target=tokens), self.cache, at)

        lengths = tokens.valid.sum(1)
        self.logits = logits[lengths.cumsum(0) - 1]
        self.positions = self.positions + lengths
        self._largest += tokens.ids.shape[1]
        return logits

    def _predicted(self, batch: Batch, cache: Cache, at: Int[Tensor, " R"]) -> Float[Tensor, "R V"]:
        """Logits at some positions, without those of image tokens that must not be generated."""
        logits: Tensor = self.model(batch, cache=cache, at=at).logits
        return logits[:, : self._num_logits]

    @torch.inference_mode()
    def leave(self, is_done: Bool[Tensor, " B"]) -> Int[Tensor, " b"]:
        """Removes finished rows; the last rows move into the gaps, so that few rows are copied.

        Returns:
            The old indices of the remaining rows, in their new order.
        """
        kept = _kept_rows(~is_done)
        if len(kept):
            self.cache.keep(kept)
        else:
            self.cache, self._largest = Cache(0), 0
        self.logits, self.positions = self.logits[kept], self.positions[kept]
        return kept

    @torch.inference_mode()
    def fork(self, rows: Int[Tensor, " b"]) -> Session:
        """A new session whose row i continues row ``rows[i]`` of this one, which is not changed."""
        forked = object.__new__(Session)
        forked.model, forked.room, forked._fast = self.model, self.room, self._fast
        forked._num_logits = self._num_logits
        forked._largest = self._largest
        forked.logits, forked.positions = self.logits[rows], self.positions[rows]
        forked.cache = self.cache.select(rows)
        return forked


def _kept_rows(is_going: Tensor) -> Tensor:
    """Indices of the remaining rows: rows keep their place, except that the last ones fill the gaps."""
    count = int(is_going.sum())
    kept = torch.arange(count, device=is_going.device)
    kept[~is_going[:count]] = is_going[count:].nonzero()[:, 0] + count
    return kept
