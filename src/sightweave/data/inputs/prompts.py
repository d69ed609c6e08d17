"""Prompts -> tensors: the input of a model before and during generation.

Training and scoring read whole samples in rows (`collate`). A prompt has its own row, its media may have been read
before, and each medium is encoded once even if many rows contain it; so tokens and media are kept separate here until the
media are encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sightweave.core.batch import Batch, Media, MediaEmbeddings, TokenSequence, Values
from sightweave.core.types import Medium
from sightweave.data.inputs.collate import IGNORE, stretch_rows, token_sequence
from sightweave.data.inputs.template import Encoded, Stretch

Section = Literal["whole", "trunk", "rest"]
"""Part of a prompt: all of it, the leading media, or what follows them."""


@dataclass(frozen=True)
class Prompts:
    """Prompts as rows of tokens, with their media."""

    tokens: TokenSequence
    """Tokens for the encoder of an encoder-decoder, or for the decoder of other models."""
    begin: TokenSequence | None
    """First tokens of the decoder of an encoder-decoder; None for other models."""
    media: tuple[Medium, ...]
    """Each medium once, in order of appearance. Empty for a ``rest``, whose media were read before."""
    shown: Tensor
    """int64 P: for each occurrence of a medium, its number in `media`."""
    row: Tensor
    """int64 P: the row of each occurrence, in non-decreasing order."""

    def batch(self, embeddings: Sequence[Tensor] | None = None) -> Batch:
        """The input of the model.

        Args:
            embeddings: Q D each: those of `media`, on any device; the batch is on the device of the tokens.
        """
        media = None if embeddings is None else self._placed(embeddings)
        if self.begin is None:
            return Batch(target=self.tokens, embeddings=media)
        return Batch(target=self.begin, source=self.tokens, embeddings=media)

    def to(self, device: torch.device) -> Prompts:
        """The same prompts with their tokens on another device."""
        begin = None if self.begin is None else self.begin.to(device)
        return replace(self, tokens=self.tokens.to(device), begin=begin)

    def _placed(self, embeddings: Sequence[Tensor]) -> MediaEmbeddings:
        """Embeddings of media, repeated for each occurrence."""
        device = embeddings[0].device
        shown = [embeddings[number] for number in self.shown.tolist()]
        counts = torch.tensor([len(one) for one in shown])
        item = torch.arange(len(shown)).repeat_interleave(counts).to(device)
        row = self.row.cpu().repeat_interleave(counts).to(device)
        zeros = torch.zeros_like(item)

        lengths = [0] * len(self.tokens.ids)
        for number, one in zip(self.row.tolist(), shown, strict=True):
            lengths[number] += len(one)
        return MediaEmbeddings(
            torch.cat(shown), item=item, row=row, segment=zeros, branch=zeros, lengths=tuple(lengths)
        )


def prompts(
    encoded: Sequence[Encoded], *, pad_id: int, section: Section = "whole", with_begin: bool = False
) -> Prompts:
    """One prompt per row, ending with the token that asks the model to answer.

    Args:
        encoded: Encoded samples; their targets are ignored.
        pad_id: Token id that fills rows on the right.
        section: Part of each prompt. With ``trunk``, no prompt may show a medium after its first text.
        with_begin: Whether the decoder reads its own first token, as in an encoder-decoder.
    """
    stretches = [_stretch(one, section) for one in encoded]
    starts = [one.trunk.span if section == "rest" else 0 for one in encoded]

    # Each medium is listed once, however often it occurs.
    unique: dict[str, int] = {}
    media: list[Medium] = []
    shown: list[int] = []
    row: list[int] = []
    items: list[list[int]] = []
    for index, one in enumerate(encoded):
        pictures = () if section == "rest" else one.trunk_media + one.branch_media
        items.append(list(range(len(shown), len(shown) + len(pictures))))
        for medium in pictures:
            if medium.identity not in unique:
                unique[medium.identity] = len(media)
                media.append(medium)
            shown.append(unique[medium.identity])
            row.append(index)

    begin = None
    if with_begin:
        begin = texts([[one.begin] for one in encoded], [0] * len(encoded), pad_id=pad_id)
    return Prompts(
        tokens=token_sequence(stretch_rows(stretches, starts, items), pad_id),
        begin=begin,
        media=tuple(media),
        shown=torch.tensor(shown, dtype=torch.int64),
        row=torch.tensor(row, dtype=torch.int64),
    )


def _stretch(one: Encoded, section: Section) -> Stretch:
    if section == "trunk":
        return one.trunk
    return one.prompt if section == "rest" else _joined(one.trunk, one.prompt)


def _joined(first: Stretch, second: Stretch) -> Stretch:
    return Stretch(
        first.ids + second.ids,
        first.item + second.item,
        first.ar + second.ar,
        first.learn + second.learn,
        first.step + second.step,
    )


def texts(ids: Sequence[Sequence[int]], starts: Sequence[int], *, pad_id: int) -> TokenSequence:
    """Rows of plain text that begin at given positions, padded on the right.

    Args:
        ids: Token ids of each row, at least one.
        starts: Position of each row's first token.
        pad_id: Token id that fills rows on the right.
    """
    stretches = []
    for row in ids:
        stretch = Stretch()
        stretch.add(list(row))
        stretches.append(stretch)
    return token_sequence(stretch_rows(stretches, starts, [()] * len(stretches)), pad_id)


def text_tokens(
    ids: Tensor,
    positions: Tensor,
    *,
    labels: Tensor | None = None,
    item: Tensor | None = None,
    ar: Tensor | None = None,
    segment: Tensor | None = None,
    valid: Tensor | None = None,
    plain: bool = False,
) -> TokenSequence:
    """Existing tensors as a token sequence; those not given default to causal text without padding.

    No tensor value is read, so it can be traced.

    Args:
        ids: int64 B S.
        positions: int64 B S.
        labels: int64 B S.
        item: int64 B S.
        ar: int64 B S.
        segment: int64 B S.
        valid: bool B S.
        plain: Whether everything is causal, with padding only on the right.
    """
    zeros = torch.zeros_like(ids)
    return TokenSequence(
        ids=ids,
        labels=zeros + IGNORE if labels is None else labels,
        positions=positions,
        item=zeros - 1 if item is None else item,
        ar=zeros + 1 if ar is None else ar,
        segment=zeros if segment is None else segment,
        branch=zeros,
        valid=zeros == 0 if valid is None else valid,
        plain=plain,
    )


def placed(
    values: Values,
    *,
    row: Tensor | None = None,
    item: Tensor | None = None,
    keys: tuple[str, ...] = (),
) -> Media:
    """The media of one modality in a batch whose rows have one segment each.

    Args:
        values: I ... or one tensor for each medium.
        row: int64 I: the row of each, in non-decreasing order; None puts all media into the first row.
        item: int64 I: number of each among the media of all modalities; None means that there are no others.
        keys: Keys of the media, if they are known.
    """
    device = values[0].device
    zeros = torch.zeros(len(values), dtype=torch.int64, device=device)
    return Media(
        values,
        item=torch.arange(len(values), device=device) if item is None else item,
        row=zeros if row is None else row,
        segment=zeros,
        branch=zeros,
        keys=keys,
    )
