"""Gated cross-attention: the image enters through new layers inside the language model.

Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al. 2022, arXiv:2204.14198), section 3.1.2. Differs
from the paper: a token attends to every medium of its segment and of its own branch or trunk, not only to the latest
one.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.batch import BeforeBlock, MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.fusions._base import Fusion, plain_media, plain_tokens
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.feed_forward import FeedForward
from sightweave.models.nn.init import draw, initialise
from sightweave.models.nn.mask import Mask, memory_mask
from sightweave.models.nn.norm import RMSNorm

_PLACE = "cross_attention"
"""Name of the cache slot with the layout of the media, and prefix of the names of the slots with keys and values."""


@config
class Config:
    """Options of gated cross-attention: placement and initial strength of the gated layers."""

    every: int = 1
    """Spacing of the gated layers: one before blocks 0, every, 2 * every, ..."""
    gate: float = 0.0
    """Initial value of both gates before tanh; 0 leaves the language model's logits bit-identical."""
    feed_forward: bool = True
    """Whether each gated layer has a feed-forward part, as in the paper."""

    @staticmethod
    def part() -> type[CrossAttention]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return CrossAttention

    def build(self, *, dim: int, num_heads: int, depth: int) -> CrossAttention:
        """Builds the fusion for a language model with this width and these numbers of heads and blocks."""
        return CrossAttention(
            dim=dim,
            num_heads=num_heads,
            depth=depth,
            every=self.every,
            gate=self.gate,
            feed_forward=self.feed_forward,
        )


class CrossAttention(Fusion):
    """Gated layers before every `every`-th block of the language model.

    Each computes ``h = h + tanh(a) attend(norm(h), media)``, then ``h = h + tanh(b) ff(norm(h))``.

    Args:
        dim: Width D of the language model.
        num_heads: Number of heads H; must divide D.
        depth: Number of blocks of the language model.
        every: Distance between gated layers, in blocks.
        gate: Initial value of a and b.
        feed_forward: Whether each layer has the second, feed-forward part.

    Raises:
        ValueError: `every` is below 1.
    """

    places: ClassVar[frozenset[str]] = frozenset({"layer"})

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        depth: int,
        every: int = 1,
        gate: float = 0.0,
        feed_forward: bool = True,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"cross_attention every must be a number of blocks, 1 or more (got {every}).")
        self.every, self.num_heads = every, num_heads
        self.layers = nn.ModuleList(
            _GatedLayer(dim, num_heads, gate=gate, feed_forward=feed_forward) for _ in range(0, depth, every)
        )

    def before_block(
        self, tokens: TokenSequence, media: MediaEmbeddings | None, cache: Cache | None
    ) -> BeforeBlock | None:
        """Arranges the media and computes the mask, keys and values once for all blocks.

        Returns a function that applies the gated layers.
        """
        if media is not None and not len(media.row):
            media = None
        if media is not None:
            memory = media.per_row(len(tokens.ids))
        elif cache is not None and _PLACE in cache.slots:
            memory = Memory(*cache.slots[_PLACE])
        else:
            return None

        mask = memory_mask(tokens, memory)
        assert mask.blind_rows is not None
        sees = ~mask.blind_rows[:, 0]
        # Tokens without media have closed gates, so they may attend to anything.
        mask = Mask(dense=mask.dense)

        if media is not None:
            keys_values = self._keys_values(memory.hidden)
        else:
            assert cache is not None
            keys_values = [cache.slots[name] for name in self._slots]
        if media is not None and cache is not None:
            # Later passes need the keys and values, but not the embeddings themselves.
            cache.slots[_PLACE] = (memory.hidden[:, :, :0], memory.segment, memory.branch, memory.valid)
            cache.slots.update(zip(self._slots, keys_values, strict=True))

        def look(index: int, hidden: Tensor) -> Tensor:
            layer, blocks_after = divmod(index, self.every)
            if blocks_after:
                return hidden
            return self.layers[layer](hidden, mask, sees, keys_values[layer])  # type: ignore[no-any-return]  # nn.Module calls are untyped

        return look

    @property
    def _slots(self) -> list[str]:
        """Names of the cache slots with keys and values, one for each gated layer."""
        return [f"{_PLACE}.{layer * self.every}" for layer in range(len(self.layers))]

    def _keys_values(self, media: Tensor) -> list[tuple[Tensor, ...]]:
        """Keys and values of the media (B M D) for each gated layer; each B H M Dh.

        All layers read the same media, which are therefore normalised once and projected for all layers in one matrix
        product. The projections of each layer are multiplied by the weight of its norm.
        """
        layers = cast("list[_GatedLayer]", list(self.layers))
        weights: list[Tensor] = []
        norms: list[Tensor] = []
        for layer in layers:
            attention, norm = layer.attention, layer.media_norm
            if type(attention.k) is not nn.Linear or type(attention.v) is not nn.Linear:
                # Adapters and quantized layers have no weights that could be multiplied.
                return [one.attention.keys_values(one.media_norm(media)) for one in layers]
            assert norm.weight is not None
            weights += [attention.k.weight, attention.v.weight]
            norms += [norm.weight, norm.weight]

        normal = F.rms_norm(media, media.shape[-1:], eps=layers[0].media_norm.eps)
        scaled = torch.stack(weights) * torch.stack(norms)[:, None]  # 2L D D
        projected = F.linear(normal, scaled.flatten(0, 1))  # B M 2L*D
        by_layer = torch.unflatten(projected, -1, (len(weights), -1)).movedim(2, 0).contiguous()  # 2L B M D
        parts = torch.unflatten(by_layer, -1, (self.num_heads, -1)).transpose(2, 3).unbind()  # B H M Dh each
        return list(zip(parts[::2], parts[1::2], strict=True))

    def forward(self, text: Float[Tensor, "B S D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B S D"]:
        """Applies the first gated layer to plain tensors, with one image per row."""
        look = self.before_block(plain_tokens(text), plain_media(image), None)
        assert look is not None
        return look(0, text)


class _GatedLayer(nn.Module):
    """One gated layer: attention to the media, optionally followed by a feed-forward part."""

    def __init__(self, dim: int, num_heads: int, *, gate: float, feed_forward: bool) -> None:
        super().__init__()
        self.norm, self.media_norm = RMSNorm(dim), RMSNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.gate = nn.Parameter(torch.tensor(gate))

        self.feed_forward_norm = RMSNorm(dim) if feed_forward else None
        self.feed_forward = FeedForward(dim, 4 * dim, form="gelu") if feed_forward else None
        self.feed_forward_gate = nn.Parameter(torch.tensor(gate)) if feed_forward else None

        initialise(self)
        # Only the gates are closed initially: if both outputs and gates were zero, neither would ever get a gradient.
        draw(self.attention.out.weight, std=dim**-0.5)
        if self.feed_forward is not None:
            draw(self.feed_forward.down.weight, std=(4 * dim) ** -0.5)

    def forward(self, hidden: Tensor, mask: Mask, sees: Tensor, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        """The output of the layer; `sees` (bool B S 1) is False for tokens that have no media and stay as they are."""
        attended = self.attention(self.norm(hidden), mask, memory=keys_values)
        hidden = torch.addcmul(hidden, torch.where(sees, self.gate.tanh(), 0.0), attended)
        if self.feed_forward is None or self.feed_forward_norm is None or self.feed_forward_gate is None:
            return hidden

        # Tokens without media skip this part too, so that rows without media equal those of the language model alone.
        changed = self.feed_forward(self.feed_forward_norm(hidden))
        return torch.addcmul(hidden, torch.where(sees, self.feed_forward_gate.tanh(), 0.0), changed)
