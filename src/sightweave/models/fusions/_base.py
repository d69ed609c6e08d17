"""The interface of fusions: where the image enters the text."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache


class Fusion(nn.Module):
    """A fusion; each kind overrides the methods of the places that it declares.

    A kind's ``Config.build(dim=, num_heads=, depth=)`` makes it for a language model's width, heads and blocks, and
    ``Config.part()`` is its class.
    """

    places: ClassVar[frozenset[str]]
    """Where the fusion acts: ``input``, ``layer``, ``memory``, ``pool``."""
    in_sequence: ClassVar[bool] = False
    """Whether the text contains image tokens."""
    bidirectional: str = "none"
    """Bidirectional attention in the text: ``none``, ``image`` or ``prompt`` (see `InputLayout`)."""
    one_position: bool = False
    """Whether all tokens of an image share one position."""

    def input(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
        cache: Cache | None,
    ) -> Float[Tensor, "B S D"]:
        """Acts on the embedded tokens (place ``input``)."""
        return hidden

    def before_block(
        self, tokens: TokenSequence, media: MediaEmbeddings | None, cache: Cache | None
    ) -> BeforeBlock | None:
        """Returns what acts before each block of one forward pass (place ``layer``); None if nothing does.

        This is called once per pass. Whatever is the same for all blocks, such as the layout of the media and the mask, is
        computed here and not in the returned function.
        """
        return None

    def memory(self, memory: Memory, media: MediaEmbeddings | None, cache: Cache | None) -> Memory:
        """Acts between encoder and decoder (place ``memory``)."""
        return memory

    def pool(
        self,
        pooled: Float[Tensor, "R D"],
        at: Int[Tensor, " R"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
    ) -> Float[Tensor, "R D"]:
        """Acts on the vectors that a classifier reads, at the flat positions `at` (place ``pool``)."""
        return pooled


def plain_tokens(hidden: Float[Tensor, "B S D"]) -> TokenSequence:
    """Tokens of one segment, all valid and causal, for a fusion that is called on plain tensors."""
    ones = hidden.new_ones(hidden.shape[:2]).long()
    zeros = ones * 0
    return TokenSequence(
        zeros, zeros - 100, ones.cumsum(1) - 1, zeros - 1, ones, zeros, zeros, ones.bool(), plain=True
    )


def plain_media(image: Float[Tensor, "B N D"]) -> MediaEmbeddings:
    """One image per row, for a fusion that is called on plain tensors."""
    row = torch.arange(len(image), device=image.device).repeat_interleave(image.shape[1])
    zeros = torch.zeros_like(row)
    lengths = (image.shape[1],) * image.shape[0]
    return MediaEmbeddings(
        image.flatten(0, 1), item=row, row=row, segment=zeros, branch=zeros, lengths=lengths
    )
