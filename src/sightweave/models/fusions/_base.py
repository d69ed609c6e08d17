"""The interface of fusions, which determine where media enter the language model."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache


class Fusion(nn.Module):
    """Base class of fusions. Each kind overrides the methods of the places that it declares.

    ``Config.build(dim=, num_heads=, depth=)`` of a kind builds the fusion for a language model with this width and
    these numbers of heads and blocks; ``Config.part()`` returns the kind's class.
    """

    places: ClassVar[frozenset[str]]
    """Places where the fusion acts: ``input``, ``layer``, ``memory`` or ``pool``."""
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
        """Changes the embedded tokens (place ``input``)."""
        return hidden

    def before_block(
        self, tokens: TokenSequence, media: MediaEmbeddings | None, cache: Cache | None
    ) -> BeforeBlock | None:
        """Returns a function to call before each block of one forward pass (place ``layer``), or None.

        This is called once per pass. Values that are the same for all blocks, such as the layout of the media and the
        mask, are computed here and not in the returned function.
        """
        return None

    def memory(self, memory: Memory, media: MediaEmbeddings | None, cache: Cache | None) -> Memory:
        """Changes the encoder's memory before the decoder reads it (place ``memory``)."""
        return memory

    def pool(
        self,
        pooled: Float[Tensor, "R D"],
        at: Int[Tensor, " R"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
    ) -> Float[Tensor, "R D"]:
        """Changes the vectors that a classifier reads, which are at the flat positions `at` (place ``pool``)."""
        return pooled


def plain_tokens(hidden: Float[Tensor, "B S D"]) -> TokenSequence:
    """Creates tokens of one segment, all valid and causal, for a fusion that is called on plain tensors."""
    ones = hidden.new_ones(hidden.shape[:2]).long()
    zeros = ones * 0
    return TokenSequence(
        zeros, zeros - 100, ones.cumsum(1) - 1, zeros - 1, ones, zeros, zeros, ones.bool(), plain=True
    )


def plain_media(image: Float[Tensor, "B N D"]) -> MediaEmbeddings:
    """Creates media with one image per row, for a fusion that is called on plain tensors."""
    row = torch.arange(len(image), device=image.device).repeat_interleave(image.shape[1])
    zeros = torch.zeros_like(row)
    lengths = (image.shape[1],) * image.shape[0]
    return MediaEmbeddings(
        image.flatten(0, 1), item=row, row=row, segment=zeros, branch=zeros, lengths=lengths
    )
