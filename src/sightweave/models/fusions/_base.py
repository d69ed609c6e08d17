"""What every fusion is: where the image enters the text."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache


class Fusion(nn.Module):
    """The face of a fusion; each kind overrides the places that it declares and leaves the others as they are.

    A kind's ``Config.build(dim=, num_heads=, depth=)`` makes it for a language model's width, heads and blocks.
    """

    places: ClassVar[frozenset[str]]
    """Where it acts: ``input``, ``layer``, ``memory``, ``pool``."""
    in_sequence: ClassVar[bool] = False
    """Whether image marks stand in the text."""
    bidirectional: str = "none"
    """What may look ahead in the text: ``none``, ``image`` or ``prompt`` (see `InputLayout`)."""
    one_position: bool = False
    """Whether all marks of a picture share one position."""

    def input(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
        cache: Cache | None,
    ) -> Float[Tensor, "B S D"]:
        """After the token embedding."""
        return hidden

    def before_block(
        self, tokens: TokenSequence, media: MediaEmbeddings | None, cache: Cache | None
    ) -> BeforeBlock | None:
        """What acts before each block of one forward pass (place ``layer``); None where nothing does.

        Called once a pass, so whatever is the same for all blocks, such as where the media are and who may look at them,
        is worked out here and not in the function that it returns.
        """
        return None

    def memory(self, memory: Memory, media: MediaEmbeddings | None, cache: Cache | None) -> Memory:
        """Between encoder and decoder."""
        return memory

    def pool(
        self,
        pooled: Float[Tensor, "R D"],
        at: Int[Tensor, " R"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
    ) -> Float[Tensor, "R D"]:
        """On the vectors that a classifier reads, which stand at the flat positions `at`."""
        return pooled


def plain_tokens(hidden: Float[Tensor, "B S D"]) -> TokenSequence:
    """Tokens of one segment, all valid and causal, for a fusion called on plain tensors."""
    ones = hidden.new_ones(hidden.shape[:2]).long()
    zeros = ones * 0
    return TokenSequence(
        zeros, zeros - 100, ones.cumsum(1) - 1, zeros - 1, ones, zeros, zeros, ones.bool(), plain=True
    )


def plain_media(image: Float[Tensor, "B N D"]) -> MediaEmbeddings:
    """One picture for each row, for a fusion called on plain tensors."""
    row = torch.arange(len(image), device=image.device).repeat_interleave(image.shape[1])
    zeros = torch.zeros_like(row)
    return MediaEmbeddings(image.flatten(0, 1), item=row, row=row, segment=zeros, branch=zeros)
