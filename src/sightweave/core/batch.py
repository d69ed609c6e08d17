"""Dataclasses of the tensors that go into a model, between its parts and out of it, with their shapes.

Dimensions: B rows, S tokens per row, I media in the batch, E media embeddings in the batch, M memory length,
D language model width, Dv encoder width, N features per medium, R positions with logits, V vocabulary size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sightweave.core.image_tokens import ImageTokens

BeforeBlock = Callable[[int, Tensor], Tensor]
"""A hook that is called with a block's index and its input B S D, and returns the input to use instead."""


Values = Tensor | tuple[Tensor, ...]
"""Values of decoded media: a tensor whose first dimension is I if all have the same shape, else a tensor per medium."""


class _OnDevice:
    """Adds ``to(device)`` to a dataclass of tensors, including those in tuples, dicts and nested dataclasses."""

    def to(self, device: torch.device | str) -> Self:
        """A copy with all tensors on the given device."""
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
    """A batch of token rows, with everything that determines which tokens attend to which.

    Token i may attend to token j iff ``cumsum(ar)[j] <= cumsum(ar)[i]`` and ``segment[i] == segment[j]`` and
    (``branch[j] == 0`` or ``branch[i] == branch[j]``) and ``valid[j]``.

    ``ar`` determines the attention mask (each row attends to the columns marked x)::

        [1 1 1 1]  causal          [0 0 0 0]  bidirectional      [0 0 1 1]  prefix-LM
        x . . .                    x x x x                       x x . .
        x x . .                    x x x x                       x x . .
        x x x .                    x x x x                       x x x .
        x x x x                    x x x x                       x x x x

    ``segment`` separates packed samples; ``branch`` lets several prompts share a common prefix, the trunk (branch 0).
    """

    ids: Tensor
    """int64 B S: token ids."""
    labels: Tensor
    """int64 B S: the token's own id if it contributes to the loss, else -100. Labels are not shifted."""
    positions: Tensor
    """int64 B S: position ids, which restart in each segment; those of a branch continue from the trunk."""
    item: Tensor
    """int64 B S: index of the medium whose embedding belongs here, among all media of the batch; -1 for text."""
    ar: Tensor
    """int64 B S: 1 if earlier tokens must not attend to the token, else 0."""
    segment: Tensor
    """int64 B S: index of the packed sample in the row."""
    branch: Tensor
    """int64 B S: index of the branch; 0 is the trunk."""
    valid: Tensor
    """bool B S: False on padding."""
    plain: bool = False
    """Whether all rows are causal, unpacked and padded on the right, so that no attention mask is needed."""

    def predicting(self) -> Tensor:
        """int64 R: indices into the flattened B S tokens whose next token contributes to the loss."""
        return (self.labels.flatten() >= 0).nonzero().squeeze(1) - 1


@dataclass
class Media(_OnDevice):
    """All decoded media of one modality in a batch."""

    values: Values
    """Input of the encoder; for images, float I C H W."""
    item: Tensor
    """int64 I: index of each medium among all media of the batch, of any modality; ascending."""
    row: Tensor
    """int64 I: row of the batch that each medium belongs to; not decreasing."""
    segment: Tensor
    """int64 I: segment of the row that each medium belongs to."""
    branch: Tensor
    """int64 I: branch of the row that each medium belongs to."""
    keys: tuple[str, ...] = ()
    """Keys of the media, if they are known."""
    features: Features | tuple[Features, ...] | None = None
    """Encoder output, if it is already computed, for all media together or per medium; ``values`` is then not read."""
    rows: tuple[int, ...] | None = None
    """``row`` as plain numbers, which can be read without waiting for a device; None if they are not known."""

    @property
    def dense(self) -> Tensor:
        """The values of all media as one tensor with a first dimension of I.

        Raises:
            ValueError: The media have different shapes.
        """
        if not isinstance(self.values, Tensor):
            shapes = sorted({tuple(one.shape) for one in self.values})
            raise ValueError(
                f"the media have different shapes ({shapes}), so they cannot be stacked into one tensor."
            )
        return self.values


@dataclass
class Regions(_OnDevice):
    """Words that label media embeddings: the targets of the first stage of training from scratch."""

    embedding: Tensor
    """int64 R: index of the labelled embedding among all E; with ``whole``, index of the labelled medium."""
    words: Tensor
    """int64 R W: token ids of the words for each embedding, padded with -1."""
    whole: bool = False
    """Whether the words label a whole medium, because their places in it are unknown."""


@dataclass
class Batch(_OnDevice):
    """The model's input for one training step or forward pass."""

    target: TokenSequence | None
    """Tokens for the decoder, or for the only stack of a decoder-only model. None stops the forward pass after the media."""
    media: dict[str, Media] = dataclasses.field(default_factory=dict)
    """Media by modality."""
    source: TokenSequence | None = None
    """Tokens for the text encoder of an encoder-decoder model."""
    class_at: Tensor | None = None
    """int64 R: indices into the flattened B S target tokens whose hidden states are classified."""
    class_scores: Tensor | None = None
    """float R A: target scores of the A answers in the classifier's list."""
    regions: Regions | None = None
    """Labelled regions of the media, if the loss uses them."""
    embeddings: MediaEmbeddings | None = None
    """Embeddings of media that are already encoded; ``media`` is then empty."""
    pictures: Tensor | None = None
    """float I 3 Hp Wp: images for the image tokenizer, RGB from 0 to 1. If there is a target, they are the target images, in
    the order of their tokens."""
    image_tokens: ImageTokens | None = None
    """Ids of the image tokens, if the batch has target images; their codes are holes that the model fills in."""


@dataclass
class Features(_OnDevice):
    """Output of a media encoder."""

    values: Tensor
    """float I N Dv: N feature vectors per medium."""
    grid: tuple[int, int, int]
    """Arrangement of the N features: number of time steps, rows and columns."""


@dataclass
class MediaEmbeddings(_OnDevice):
    """Output of a connector, concatenated over all rows of the batch, which a fusion combines with the text."""

    embeddings: Tensor
    """float E D: the embeddings."""
    item: Tensor
    """int64 E: index of each embedding's medium among all media of the batch, of any modality; not decreasing."""
    row: Tensor
    """int64 E: row of the batch that each embedding belongs to."""
    segment: Tensor
    """int64 E: segment of the row that each embedding belongs to."""
    branch: Tensor
    """int64 E: branch of the row that each embedding belongs to."""
    lengths: tuple[int, ...] | None = None
    """Number of embeddings in each row, as plain numbers; later rows have none. None if they are not known."""

    def per_row(self, rows: int) -> Memory:
        """The embeddings arranged by row of the batch and padded at the end, B M D, for a batch of `rows` rows.

        M is the number of embeddings in the fullest row. If `lengths` is known, no accelerator is waited for.
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
    """Vectors that a decoder cross-attends to: an encoder's output, media embeddings, or both concatenated."""

    hidden: Tensor
    """float B M D: the vectors."""
    segment: Tensor
    """int64 B M: segment of each vector, as in `TokenSequence`."""
    branch: Tensor
    """int64 B M: branch of each vector, as in `TokenSequence`."""
    valid: Tensor
    """bool B M: False on padding."""


@dataclass
class Output(_OnDevice):
    """Output of a forward pass."""

    logits: Tensor | None
    """float R V: logits at the positions ``at``; R A for answer classification."""
    at: Tensor | None
    """int64 R: indices into the flattened target tokens (row * S + token)."""
    media: MediaEmbeddings | None = None
    """Media embeddings that the connectors made or the batch contained."""
    region_logits: Tensor | None = None
    """float R V: ``head(embedding)`` for each region's embedding, or E V for all embeddings if regions are whole media."""
    hidden: Tensor | None = None
    """float R D: inputs of the head at the positions ``at``, if the loss computes the logits itself."""
    pictures: Tensor | None = None
    """float I 3 Hp Wp: the batch's pictures after encoding and decoding by the image tokenizer."""
    labels: Tensor | None = None
    """int64 R: ids after the positions ``at``, if the model filled in codes; None means those of the batch."""
    named: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Intermediate results, if they were requested: ``words`` (B S D, embedded text), ``fused`` (B S D, the sequence after
    the fusion), ``block_0`` and so on (B S D, input of each decoder block), ``states`` (B S D, output of the last block) and
    ``pooled`` (R D, input of the head). Media embeddings are in ``media``."""
