"""Encoder-decoder: a bidirectional encoder reads the source; a causal decoder attends to it and writes the target.

Attention Is All You Need (Vaswani et al. 2017, arXiv:1706.03762), pre-norm, with T5's (arXiv:1910.10683) shared
embeddings. All design choices are arguments, so T5 itself is the same class with other settings.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.nn.block import BlockShape
from sightweave.models.nn.embedding import AddedPositions, Positions, TokenEmbedding, head_logits
from sightweave.models.nn.feed_forward import Form
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import memory_mask, self_mask
from sightweave.models.nn.position import RelativePositions, Rotary


@config
class Config:
    """Sizes and choices of the encoder-decoder."""

    dim: int = 128
    """Width D of the embeddings and hidden states."""
    encoder_depth: int = 2
    """Number of encoder blocks."""
    decoder_depth: int = 3
    """Number of decoder blocks."""
    num_heads: int = 4
    """Number of attention heads."""
    head_dim: int | None = None
    """Width of a head; None means D divided by the number of heads."""
    hidden_dim: int | None = None
    """Width inside the feed-forward layer; None means 4 D."""
    feed_forward: Form = "gelu"
    """Feed-forward activation: relu, gelu, gelu_tanh, quick_gelu, relu2, swiglu or geglu."""
    norm: str = "rms"
    """Normalisation: rms or layer."""
    norm_eps: float = 1e-6
    """Epsilon of the normalisation layers."""
    position: Positions | Literal["relative"] = "rotary"
    """Position encoding: rotary, learned, sinusoidal or relative."""
    rope_base: float = 10_000.0
    """Base of the wavelengths of rotary position embeddings."""
    max_length: int = 2048
    """Maximum sequence length, in tokens."""
    qk_norm: bool = False
    """Whether to normalise queries and keys."""
    normalise_embeddings: bool = False
    """Whether to normalise token embeddings to unit mean square."""
    tie_embeddings: bool = True
    """Whether to use the embedding table as the output head."""
    scale_scores: bool = True
    """Whether to divide attention scores by the square root of the head width; T5 does not."""
    scale_head: bool = False
    """Whether to divide the input of the head by the square root of D, as T5 does with tied embeddings."""
    dropout: float = 0.0
    """Dropout probability in the feed-forward layers."""

    @staticmethod
    def part() -> type[EncoderDecoder]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return EncoderDecoder

    def build(self, *, vocab_size: int, num_answers: int = 0) -> EncoderDecoder:
        """Builds the language model for a vocabulary."""
        shape = BlockShape(
            dim=self.dim,
            num_heads=self.num_heads,
            head_dim=self.head_dim,
            hidden_dim=self.hidden_dim or 4 * self.dim,
            feed_forward=self.feed_forward,
            norm=self.norm,
            norm_eps=self.norm_eps,
            qk_norm=self.qk_norm,
            score_scale=None if self.scale_scores else 1.0,
            dropout=self.dropout,
        )
        return EncoderDecoder(
            shape,
            vocab_size=vocab_size,
            encoder_depth=self.encoder_depth,
            decoder_depth=self.decoder_depth,
            position=self.position,
            rope_base=self.rope_base,
            max_length=self.max_length,
            normalise_embeddings=self.normalise_embeddings,
            tie_embeddings=self.tie_embeddings,
            scale_head=self.scale_head,
        )


class EncoderDecoder(LanguageModel):
    """Two stacks joined by attention to the memory; they share the embedding table, by default with the head.

    Args:
        shape: Shape of every block of both stacks.
        vocab_size: Vocabulary size V.
        encoder_depth: Number of encoder blocks.
        decoder_depth: Number of decoder blocks.
        position: ``rotary``, ``learned``, ``sinusoidal`` or ``relative``.
        rope_base: Base of the wavelengths of rotary position embeddings.
        max_length: Maximum sequence length, for learned positions.
        normalise_embeddings: Whether to normalise token embeddings to unit mean square.
        tie_embeddings: Whether to use the embedding table as the output head.
        scale_head: Whether to divide the input of the head by sqrt(D).
    """

    form = "encoder_decoder"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer", "memory"})

    def __init__(
        self,
        shape: BlockShape,
        *,
        vocab_size: int,
        encoder_depth: int,
        decoder_depth: int,
        position: Positions | Literal["relative"] = "rotary",
        rope_base: float = 10_000.0,
        max_length: int = 2048,
        normalise_embeddings: bool = False,
        tie_embeddings: bool = True,
        scale_head: bool = False,
    ) -> None:
        super().__init__()
        self.vocab_size, self.dim, self.depth = vocab_size, shape.dim, decoder_depth
        # A fusion's heads must divide the width evenly, which those of mT5 (6 at a width of 512) do not.
        self.num_heads = math.gcd(shape.dim, shape.num_heads)
        self.scale_head = scale_head

        self.token_embedding = TokenEmbedding(vocab_size, shape.dim, normalise=normalise_embeddings)
        is_relative = position == "relative"
        self.positions = (
            None if position == "relative" else AddedPositions(position, shape.dim, max_length=max_length)
        )
        self.rotary = Rotary(shape.width_of_head, base=rope_base) if position == "rotary" else None

        self.encoder_relative = RelativePositions(shape.num_heads, both_ways=True) if is_relative else None
        self.encoder_blocks = shape.blocks(encoder_depth)
        self.encoder_norm = shape.make_norm()

        self.relative = RelativePositions(shape.num_heads, both_ways=False) if is_relative else None
        self.blocks = shape.blocks(decoder_depth, reads_memory=True)
        self.norm = shape.make_norm()
        self.output = None if tie_embeddings else nn.Linear(shape.dim, vocab_size, bias=False)
        initialise(self)

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings of source or target ids."""
        return self.token_embedding(ids)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def encode(self, hidden: Float[Tensor, "B M D"], tokens: TokenSequence) -> Memory:
        """Encodes the source into a memory; the attention mask follows from the tokens."""
        hidden = hidden if self.positions is None else self.positions(hidden, tokens.positions)
        mask = self_mask(tokens)
        if self.encoder_relative is not None:
            mask = mask.plus(self.encoder_relative(tokens.positions, tokens.positions))
        rotation = None if self.rotary is None else self.rotary(tokens.positions)

        for block in self.encoder_blocks:
            hidden = block(hidden, mask, rotation=rotation)
        return Memory(self.encoder_norm(hidden), tokens.segment, tokens.branch, tokens.valid)

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Runs the decoder; the memory is given on the first call, and a cache keeps it for the following ones.

        Raises:
            ValueError: there is no memory, neither given nor in the cache.
        """
        hidden = hidden if self.positions is None else self.positions(hidden, tokens.positions)
        keys_values, memory = self._memory(memory, cache)
        mask, to_memory = self_mask(tokens, cache), memory_mask(tokens, memory)
        if self.relative is not None:
            mask = mask.plus(self.relative(tokens.positions, self._positions_of_keys(tokens, cache)))
        rotation = None if self.rotary is None else self.rotary(tokens.positions)

        for layer, block in enumerate(self.blocks):
            if before_block is not None:
                hidden = before_block(layer, hidden)
            hidden = block(
                hidden,
                mask,
                rotation=rotation,
                cache=cache,
                layer=layer,
                memory=keys_values[layer],
                memory_mask=to_memory,
            )

        if cache is not None:
            cache.advance(tokens.valid)
        return self.norm(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def _positions_of_keys(self, tokens: TokenSequence, cache: Cache | None) -> Tensor:
        """Positions of the cached and the new tokens, int64 B K; the cache stores them like the keys of one more block."""
        if cache is None:
            return tokens.positions
        new = tokens.positions[:, None, :, None]
        return cache.extend(self.depth, new, new)[0][:, 0, :, 0]

    def _memory(
        self, memory: Memory | None, cache: Cache | None
    ) -> tuple[list[tuple[Tensor, Tensor]], Memory]:
        """Keys and values of the memory for each block, and the memory itself: the given one, or the one in the cache.

        Raises:
            ValueError: there is no memory.
        """
        if memory is None:
            if cache is None or "memory" not in cache.slots:
                raise ValueError(
                    "an encoder-decoder needs a memory: give the batch a source, or pass a cache that contains one."
                )
            kept, segment, branch, valid = cache.slots["memory"]
            keys_values = [
                (cache.slots[f"memory.{i}"][0], cache.slots[f"memory.{i}"][1]) for i in range(self.depth)
            ]
            return keys_values, Memory(kept, segment, branch, valid)

        keys_values = [block.memory_attention.keys_values(memory.hidden) for block in self.blocks]  # type: ignore[union-attr,operator]  # ModuleList forgets the type
        if cache is not None:
            cache.slots["memory"] = (memory.hidden, memory.segment, memory.branch, memory.valid)
            cache.slots.update({f"memory.{i}": pair for i, pair in enumerate(keys_values)})
        return keys_values, memory

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary."""
        hidden = hidden * self.dim**-0.5 if self.scale_head else hidden
        if self.output is not None:
            return self.output(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped
        return head_logits(hidden, self.token_embedding.table.weight)
