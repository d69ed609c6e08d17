"""Converts prompts to tensors, as input of a model before and during generation.

For training and scoring, `collate` puts whole samples into rows. For generation, each prompt has its own row, its media may
have been encoded before, and a medium that occurs in several rows is encoded only once. So tokens and media are kept
separate here until the media are encoded.
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
"""Part of a prompt: all of it, its leading media, or the rest after these."""


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts: rows of tokens, with the media that they contain."""

    tokens: TokenSequence
    """Tokens for the encoder of an encoder-decoder model, or for the decoder of other models."""
    begin: TokenSequence | None
    """First tokens for the decoder of an encoder-decoder model; None for other models."""
    media: tuple[Medium, ...]
    """Distinct media in order of first occurrence; empty for the section ``rest``, whose media were encoded before."""
    shown: Tensor
    """int64 P: index in `media` of each of the P occurrences of media."""
    row: Tensor
    """int64 P: row of each occurrence, in non-decreasing order."""

    def batch(self, embeddings: Sequence[Tensor] | None = None) -> Batch:
        """Makes the input of the model.

        Args:
            embeddings: Embeddings of each of `media`, Q D, which should be on the device of the tokens; None if there are
                none.
        """
        media = None if embeddings is None else self._placed(embeddings)
        if self.begin is None:
            return Batch(target=self.tokens, embeddings=media)
        return Batch(target=self.begin, source=self.tokens, embeddings=media)

    def to(self, device: torch.device) -> Prompts:
        """A copy whose tokens are on the given device."""
        begin = None if self.begin is None else self.begin.to(device)
        return replace(self, tokens=self.tokens.to(device), begin=begin)

    def _placed(self, embeddings: Sequence[Tensor]) -> MediaEmbeddings:
        """Concatenates the embeddings of media, repeated for each of their occurrences."""
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
    """Makes prompts, one per row, that end with the tokens that start the answer.

    Args:
        encoded: Encoded samples; their targets are ignored.
        pad_id: Id of the token that pads rows on the right.
        section: Part of each prompt. With ``trunk``, prompts must not have media after their first text.
        with_begin: Whether the decoder has its own first token, as in an encoder-decoder model.
    """
    stretches = [_stretch(one, section) for one in encoded]
    starts = [one.trunk.span if section == "rest" else 0 for one in encoded]

    # List each medium once, even if it occurs in several prompts.
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
    """Makes rows of text tokens that start at given positions, padded on the right.

    Args:
        ids: Token ids of each row; at least one per row.
        starts: Position id of each row's first token.
        pad_id: Id of the token that pads rows on the right.
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
    """Makes a token sequence from existing tensors; by default, it is causal text without padding.

    The function does not read tensor values, so it can be traced. The arguments are the fields of `TokenSequence`.

    Args:
        ids: int64 B S.
        positions: int64 B S.
        labels: int64 B S.
        item: int64 B S.
        ar: int64 B S.
        segment: int64 B S.
        valid: bool B S.
        plain: Whether all rows are causal, unpacked and padded only on the right.
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
    """Makes the `Media` of one modality for a batch whose rows have only one segment.

    Args:
        values: Values of the media: one tensor with a first dimension of I, or a tensor per medium.
        row: int64 I: row of each medium, in non-decreasing order; None puts all media into the first row.
        item: int64 I: index of each medium among all media of the batch; None means that there are no other modalities.
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
