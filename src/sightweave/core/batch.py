"""The tensors that pass from the inputs through the model; their shapes are defined here.

Letters: B rows, S tokens per row, I media in the batch, E media embeddings of all rows together, M memory length,
D language width, Dv vision width, N features per medium, R positions with logits, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

BeforeBlock = Callable[[int, Tensor], Tensor]
"""Called with a block's number and its input B S D; returns what the block reads instead."""


Values = Tensor | tuple[Tensor, ...]
"""Decoded media: one tensor I ... if all have the same shape, else one tensor for each."""


class _OnDevice:
    """Adds ``to(device)`` to a dataclass of tensors, including those in lists, dicts and nested dataclasses."""

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        moved = {f.name: _move(getattr(self, f.name), device) for f in dataclasses.fields(self)}  # type: ignore[arg-type]  # only dataclasses inherit this
        return type(self)(**moved)


def _move(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor | _OnDevice):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _move(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_move(item, device) for item in value)
    return value


@dataclass
class TokenSequence(_OnDevice):
    """Rows of tokens, and which tokens may attend to which.

    Token i may attend to token j iff ``cumsum(ar)[j] <= cumsum(ar)[i]`` and ``segment[i] == segment[j]`` and
    (``branch[j] == 0`` or ``branch[i] == branch[j]``) and ``valid[j]``.

    ``ar`` determines the mask (rows attend to columns)::

        [1 1 1 1]  causal          [0 0 0 0]  bidirectional      [0 0 1 1]  prefix-LM
        x . . .                    x x x x                       x x . .
        x x . .                    x x x x                       x x . .
        x x x .                    x x x x                       x x x .
        x x x x                    x x x x                       x x x x

    ``segment`` isolates packed samples; ``branch`` lets several prompts share one trunk (branch 0).
    """

    ids: Tensor
    """int64 B S."""
    labels: Tensor
    """int64 B S: the token's own id if it contributes to the loss, else -100. Never shifted."""
    positions: Tensor
    """int64 B S: positions, which restart in each segment; a branch continues from its trunk."""
    item: Tensor
    """int64 B S: number of the medium whose embedding belongs here, among those of all modalities; -1 for text."""
    ar: Tensor
    """int64 B S: 1 if a token is hidden from those before it."""
    segment: Tensor
    """int64 B S."""
    branch: Tensor
    """int64 B S: 0 is the trunk."""
    valid: Tensor
    """bool B S: False on padding."""
    plain: bool = False
    """True if all rows are causal, unpacked and padded on the right; no mask is needed then."""

    def predicting(self) -> Tensor:
        """int64 R: flat positions whose next token is to be learnt."""
        return (self.labels.flatten() >= 0).nonzero().squeeze(1) - 1


@dataclass
class Media(_OnDevice):
    """Decoded media of one modality, all rows together."""

    values: Values
    """Input of the encoder; for images, float I C H W."""
    item: Tensor
    """int64 I: number of each among the media of all modalities in the batch, ascending."""
    row: Tensor
    """int64 I: the row of the batch that each belongs to, not decreasing."""
    segment: Tensor
    """int64 I."""
    branch: Tensor
    """int64 I."""
    keys: tuple[str, ...] = ()
    """Keys of the media, if they are known."""
    features: Features | tuple[Features, ...] | None = None
    """Features of all media together, or of each one, if they are already encoded; the values are then not read."""
    rows: tuple[int, ...] | None = None
    """``row`` as plain numbers, which can be read without waiting for a device; None if they are not known."""

    @property
    def dense(self) -> Tensor:
        """The values as one tensor; all media must have the same shape, as images do.

        Raises:
            ValueError: their shapes differ.
        """
        if not isinstance(self.values, Tensor):
            shapes = sorted({tuple(one.shape) for one in self.values})
            raise ValueError(f"these media have different shapes ({shapes}), so they are no single tensor.")
        return self.values


@dataclass
class Regions(_OnDevice):
    """Words for media embeddings: the target of the first stage of training from scratch."""

    embedding: Tensor
    """int64 R: index into the E media embeddings; with ``whole``, index of the medium."""
    words: Tensor
    """int64 R W: token ids of the words for it, padded with -1."""
    whole: bool = False
    """True if the words are for a whole medium and their places are unknown."""


@dataclass
class Batch(_OnDevice):
    """The input of one step."""

    target: TokenSequence | None
    """Input of the decoder (or the only stack). None stops the forward pass after the media."""
    media: dict[str, Media] = dataclasses.field(default_factory=dict)
    """Media by modality."""
    source: TokenSequence | None = None
    """Input of the encoder of an encoder-decoder."""
    class_at: Tensor | None = None
    """int64 R: flat positions in the target whose hidden state is classified."""
    class_scores: Tensor | None = None
    """float R A: the score of each answer of the list."""
    regions: Regions | None = None
    embeddings: MediaEmbeddings | None = None
    """Media that are already encoded; ``media`` is then empty."""


@dataclass
class Features(_OnDevice):
    """Output of an encoder."""

    values: Tensor
    """float I N Dv."""
    grid: tuple[int, int, int]
    """Times, rows and columns; their product is N."""


@dataclass
class MediaEmbeddings(_OnDevice):
    """Output of a connector, flat over all rows, which a fusion combines with the text."""

    embeddings: Tensor
    """float E D."""
    item: Tensor
    """int64 E: number of the medium that each belongs to, among those of all modalities; not decreasing."""
    row: Tensor
    """int64 E."""
    segment: Tensor
    """int64 E."""
    branch: Tensor
    """int64 E."""
    lengths: tuple[int, ...] | None = None
    """Number of embeddings in each row, as plain numbers; later rows have none. None if they are not known."""

    def per_row(self, rows: int) -> Memory:
        """The same embeddings arranged by row of the batch, padded at the end: B M D.

        M is the number in the fullest row. Where `lengths` is known, no accelerator is waited for.
        """
        counts = torch.zeros(rows, dtype=torch.int64, device=self.row.device)
        counts = counts.scatter_add(0, self.row, torch.ones_like(self.row))
        lengths = counts.tolist() if self.lengths is None else self.lengths
        length = max(lengths, default=0)

        # The place of each embedding: its row, and its number within that row.
        starts = counts.cumsum(0) - counts
        slot = torch.arange(len(self.row), device=self.row.device) - starts[self.row]
        where = self.row * length + slot

        def dense(values: Tensor, fill: int) -> Tensor:
            full = values.new_full((rows * length, *values.shape[1:]), fill)
            return torch.unflatten(full.index_copy(0, where, values), 0, (rows, length))

        return Memory(
            hidden=dense(self.embeddings, 0),
            segment=dense(self.segment, -1),
            branch=dense(self.branch, -1),
            valid=dense(torch.ones_like(self.row, dtype=torch.bool), 0),
        )


@dataclass
class Memory(_OnDevice):
    """What a decoder cross-attends to: an encoder's output, media, or both joined."""

    hidden: Tensor
    """float B M D."""
    segment: Tensor
    """int64 B M."""
    branch: Tensor
    """int64 B M."""
    valid: Tensor
    """bool B M."""


@dataclass
class Output(_OnDevice):
    """Output of a forward pass."""

    logits: Tensor | None
    """float R V at the flat positions ``at``, or R A for answer classification."""
    at: Tensor | None
    """int64 R: positions in the flattened target (row * S + token)."""
    media: MediaEmbeddings | None = None
    region_logits: Tensor | None = None
    """float R V: ``head(embedding)`` for each region's embedding, or for all E of them if regions are whole media."""
    hidden: Tensor | None = None
    """float R D: input of the head at ``at``, if the loss computes the logits."""
    named: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Intermediate results, if they were requested: ``words`` (B S D, the embedded text), ``fused`` (B S D, with
    what the fusion put into the sequence), ``block_0`` and so on (B S D, what each block of the decoder reads), ``states``
    (B S D, what the last one gives) and ``pooled`` (R D, what the head reads). The embeddings of media are in ``media``."""
