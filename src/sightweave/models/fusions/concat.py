"""Concatenation: image embeddings replace the image tokens in the text.

Visual Instruction Tuning (LLaVA, Liu et al. 2023, arXiv:2304.08485) with a causal sequence; PaliGemma (Beyer et al.
2024, arXiv:2407.07726) with a bidirectional prefix.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sightweave.core.batch import MediaEmbeddings, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.fusions._base import Fusion


@config
class Config:
    """Options of concatenation: attention mask and positions of the image tokens."""

    bidirectional: Literal["none", "image", "prompt"] = "image"
    """Bidirectional attention: none, image (among the tokens of an image) or prompt (also over the question, as in a
    prefix LM)."""
    one_position: bool = False
    """Whether all tokens of an image share one position. Then no image token is nearer to the question than another, so
    a model that is trained from scratch must find objects by their content. Pretrained models number image tokens like
    words."""

    @staticmethod
    def part() -> type[Concat]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return Concat

    def build(self, *, dim: int, num_heads: int, depth: int) -> Concat:
        """Builds the fusion, which has no weights."""
        return Concat(bidirectional=self.bidirectional, one_position=self.one_position)


class Concat(Fusion):
    """Replaces the k-th token of a medium with its k-th embedding.

    Args:
        bidirectional: Bidirectional attention: ``none``, ``image`` or ``prompt``.
        one_position: Whether all tokens of an image share one position.

    Raises:
        ValueError: on a CPU, the numbers of image tokens and embeddings differ, which would silently corrupt the input.
    """

    places: ClassVar[frozenset[str]] = frozenset({"input"})
    in_sequence = True

    def __init__(self, *, bidirectional: str = "image", one_position: bool = False) -> None:
        super().__init__()
        self.bidirectional, self.one_position = bidirectional, one_position

    def input(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
        cache: Cache | None,
    ) -> Float[Tensor, "B S D"]:
        """Replaces the image tokens by the embeddings.

        Values are inspected only on a CPU, because each step would have to wait for an accelerator. There, wrong counts
        fail an assertion on the device; `sightweave check` or a forward pass on the CPU explains what is wrong.
        """
        if media is None:
            if cache is None and tokens.item.is_cpu and bool((tokens.item >= 0).any()):
                raise ValueError("concat: the text has image tokens, but the batch has no media.")
            return hidden

        item = tokens.item.flatten()
        if item.is_cpu:
            places = (item >= 0).nonzero().squeeze(1)
            if not torch.equal(item[places], media.item):
                raise ValueError(_mismatch(item[places], media.item))
        else:
            places = places_of_images(item, len(media.item))
            is_same = ((item >= 0).sum() == len(media.item)) & (item[places] == media.item).all()
            torch._assert_async(is_same, "concat: the image tokens do not fit the media")
        return hidden.flatten(0, 1).index_copy(0, places, media.embeddings.to(hidden.dtype)).view_as(hidden)

    def forward(self, text: Float[Tensor, "B S D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Joins plain tensors: the image, then the text."""
        return torch.cat([image, text], 1)


def places_of_images(item: Int[Tensor, " T"], count: int) -> Int[Tensor, " E"]:
    """Positions of the image tokens, equal to ``(item >= 0).nonzero()`` but computed without waiting for an accelerator.

    Args:
        item: Medium of each token, -1 for text.
        count: Number E of image tokens.
    """
    is_image = item >= 0
    # Each image token writes its position into its slot, and all text tokens write into one slot after these.
    slot = torch.where(is_image, is_image.cumsum(0) - 1, count).clamp(max=count)
    places = torch.zeros(count + 1, dtype=torch.int64, device=item.device)
    return places.scatter_(0, slot, torch.arange(len(item), device=item.device))[:count]


def _mismatch(marks: Tensor, items: Tensor) -> str:
    counts = torch.bincount(marks, minlength=1), torch.bincount(items, minlength=1)
    for item in range(max(len(counts[0]), len(counts[1]))):
        found = [int(c[item]) if item < len(c) else 0 for c in counts]
        if found[0] != found[1]:
            return (
                f"concat: medium {item} of the batch has {found[0]} image tokens in the text but {found[1]} embeddings; "
                "the processor and the model must agree on tokens per image (build both from one recipe)."
            )
    return "concat: the image tokens and the media are in different orders; number media row by row."
