"""Causal decoder for next-token prediction, by default with Llama's block.

Llama 2: Open Foundation and Fine-Tuned Chat Models (Touvron et al. 2023, arXiv:2307.09288). All design choices are
arguments, so the original Transformer decoder (arXiv:1706.03762) is the same class with other settings.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.nn.block import BlockShape
from sightweave.models.nn.embedding import AddedPositions, Positions, TokenEmbedding, head_logits
from sightweave.models.nn.fast_decoding import FastDecoding, Layouts, prepare
from sightweave.models.nn.feed_forward import Form, default_hidden_dim
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import Mask, allowed, self_mask
from sightweave.models.nn.position import Rotary
from sightweave.models.nn.sequence_split import SequenceSplit


@config
class Config:
    """Sizes and choices of the decoder."""

    dim: int = 128
    """Width D of the embeddings and hidden states."""
    depth: int = 4
    """Number of blocks."""
    num_heads: int = 4
    """Number of query heads."""
    num_kv_heads: int | None = None
    """Number of key-value heads; None means the number of query heads."""
    head_dim: int | None = None
    """Width of a head; None means D divided by the number of query heads."""
    hidden_dim: int | None = None
    """Width inside the feed-forward layer; None means 8/3 of D for swiglu and geglu (rounded to 32), else 4 D."""
    feed_forward: Form = "swiglu"
    """Feed-forward activation: relu, gelu, gelu_tanh, quick_gelu, relu2, swiglu or geglu."""
    norm: str = "rms"
    """Normalisation: rms or layer."""
    norm_eps: float = 1e-6
    """Epsilon of the normalisation layers."""
    position: Positions = "rotary"
    """Position encoding: rotary, learned or sinusoidal."""
    rope_base: float = 10_000.0
    """Base of the wavelengths of rotary position embeddings."""
    max_length: int = 2048
    """Maximum sequence length, in tokens."""
    qk_norm: bool = False
    """Whether to normalise queries and keys, which is more stable at high learning rates."""
    normalise_embeddings: bool = False
    """Whether to normalise token embeddings to unit mean square."""
    tie_embeddings: bool = True
    """Whether to use the embedding table as the output head."""
    bias: bool = False
    """Whether the projections have biases."""
    qkv_bias: bool | None = None
    """Whether the query, key and value projections have biases; None means the value of `bias`."""
    dropout: float = 0.0
    """Dropout probability in the feed-forward layers."""

    @staticmethod
    def part() -> type[DecoderOnly]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return DecoderOnly

    def build(self, *, vocab_size: int, num_answers: int = 0) -> DecoderOnly:
        """Builds the language model for a vocabulary."""
        shape = BlockShape(
            dim=self.dim,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            hidden_dim=self.hidden_dim or default_hidden_dim(self.dim, self.feed_forward),
            feed_forward=self.feed_forward,
            norm=self.norm,
            norm_eps=self.norm_eps,
            qk_norm=self.qk_norm,
            bias=self.bias,
            qkv_bias=self.qkv_bias,
            dropout=self.dropout,
        )
        return DecoderOnly(
            shape,
            vocab_size=vocab_size,
            depth=self.depth,
            position=self.position,
            rope_base=self.rope_base,
            max_length=self.max_length,
            normalise_embeddings=self.normalise_embeddings,
            tie_embeddings=self.tie_embeddings,
        )


class DecoderOnly(LanguageModel):
    """A stack of causal blocks over one sequence; the attention mask follows from the tokens.

    Args:
        shape: Shape of every block.
        vocab_size: Vocabulary size V.
        depth: Number of blocks L.
        position: ``rotary``, ``learned`` or ``sinusoidal``.
        rope_base: Base of the wavelengths of rotary position embeddings.
        max_length: Maximum sequence length, for learned positions.
        normalise_embeddings: Whether to normalise token embeddings to unit mean square.
        tie_embeddings: Whether to use the embedding table as the output head.
    """

    form = "causal"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer"})

    def __init__(
        self,
        shape: BlockShape,
        *,
        vocab_size: int,
        depth: int,
        position: Positions = "rotary",
        rope_base: float = 10_000.0,
        max_length: int = 2048,
        normalise_embeddings: bool = False,
        tie_embeddings: bool = True,
    ) -> None:
        super().__init__()
        self.vocab_size, self.dim, self.depth, self.num_heads = vocab_size, shape.dim, depth, shape.num_heads

        self.token_embedding = TokenEmbedding(vocab_size, shape.dim, normalise=normalise_embeddings)
        self.positions = AddedPositions(position, shape.dim, max_length=max_length)

        # Build the blocks first, because their error names the number of heads that does not divide the width.
        self.blocks = shape.blocks(depth)
        self.rotary = Rotary(shape.width_of_head, base=rope_base) if self.positions.rotary else None
        self.norm = shape.make_norm()
        self.output = None if tie_embeddings else nn.Linear(shape.dim, vocab_size, bias=False)
        self.sequence_split: SequenceSplit | None = None
        """How several processes split the tokens of each row, while they do."""
        self._layouts = Layouts()
        initialise(self)

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings of ids; positions are added in `run`, after the image embeddings have been inserted."""
        return self.token_embedding(ids)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Runs all blocks and the final norm; `memory` is not used."""
        if self.training:  # training may change weights in ways that PyTorch does not track
            self.weights_changed()
        hidden = self.positions(hidden, tokens.positions)
        if self.sequence_split is not None:
            assert cache is None
            assert before_block is None
            return self._run_own(hidden, tokens, self.sequence_split)
        mask = self_mask(tokens, cache)
        rotation = None if self.rotary is None else self.rotary(tokens.positions)

        for layer, block in enumerate(self.blocks):
            if before_block is not None:
                hidden = before_block(layer, hidden)
            hidden = block(hidden, mask, rotation=rotation, cache=cache, layer=layer)

        if cache is not None:
            cache.advance(tokens.valid)
        return self.norm(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def _run_own(
        self, hidden: Float[Tensor, "B S D"], tokens: TokenSequence, split: SequenceSplit
    ) -> Float[Tensor, "B S D"]:
        """Runs all blocks and the final norm for the tokens of this process, and joins those of all processes."""
        length = hidden.shape[1]
        hidden, tokens = split.padded(hidden, tokens)
        own = split.own(hidden.shape[1])
        mask = Mask(dense=allowed(tokens, own)[:, None])
        rotation = None if self.rotary is None else self.rotary(tokens.positions[:, own])

        hidden = split.take(hidden)
        for layer, block in enumerate(self.blocks):
            hidden = block(hidden, mask, rotation=rotation, cache=split.keys, layer=layer)
        return split.join(self.norm(hidden))[:, :length]

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary."""
        if self.output is not None:
            return self.output(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped
        return head_logits(hidden, self.token_embedding.table.weight)

    def fast_decoding(self) -> FastDecoding | None:
        """Fast decoding for Llama's block without biases, on a CPU in fp32; None for other blocks."""
        head = self.token_embedding.table.weight if self.output is None else self.output.weight
        return prepare(self.blocks, self.rotary, self.norm, head, self._layouts)

    def weights_changed(self) -> None:
        """Drops the copies of weights that are kept between generations."""
        self._layouts.forget()
