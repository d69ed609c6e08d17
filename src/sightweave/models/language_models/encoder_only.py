"""Bidirectional encoder with a classification head over a list of answers.

BERT (Devlin et al. 2018, arXiv:1810.04805) as a text encoder; answers as classes as in VQA (Agrawal et al. 2015,
arXiv:1505.00468).
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
from sightweave.models.nn.embedding import AddedPositions, Positions, TokenEmbedding
from sightweave.models.nn.feed_forward import Form
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import self_mask
from sightweave.models.nn.position import Rotary


@config
class Config:
    """Sizes and choices of the encoder."""

    dim: int = 128
    """Width D of the embeddings and hidden states."""
    depth: int = 3
    """Number of blocks."""
    num_heads: int = 4
    """Number of attention heads."""
    hidden_dim: int | None = None
    """Width inside the feed-forward layer; None means 4 D."""
    feed_forward: Form = "gelu"
    """Feed-forward activation: relu, gelu, gelu_tanh, quick_gelu, relu2, swiglu or geglu."""
    norm: str = "rms"
    """Normalisation: rms or layer."""
    position: Positions = "rotary"
    """Position encoding: rotary, learned or sinusoidal."""
    rope_base: float = 10_000.0
    """Base of the wavelengths of rotary position embeddings."""
    max_length: int = 2048
    """Maximum sequence length, in tokens."""
    normalise_embeddings: bool = False
    """Whether to normalise token embeddings to unit mean square."""
    dropout: float = 0.0
    """Dropout probability in the feed-forward layers."""

    @staticmethod
    def part() -> type[EncoderOnly]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return EncoderOnly

    def build(self, *, vocab_size: int, num_answers: int = 0) -> EncoderOnly:
        """Builds the language model for a vocabulary and a list of answers."""
        shape = BlockShape(
            dim=self.dim,
            num_heads=self.num_heads,
            hidden_dim=self.hidden_dim or 4 * self.dim,
            feed_forward=self.feed_forward,
            norm=self.norm,
            dropout=self.dropout,
        )
        return EncoderOnly(
            shape,
            vocab_size=vocab_size,
            num_answers=num_answers,
            depth=self.depth,
            position=self.position,
            rope_base=self.rope_base,
            max_length=self.max_length,
            normalise_embeddings=self.normalise_embeddings,
        )


class EncoderOnly(LanguageModel):
    """A bidirectional stack with a classifier: it chooses from a list of answers and cannot generate text.

    Args:
        shape: Shape of every block.
        vocab_size: Vocabulary size V.
        num_answers: Length A of the list of answers; at least 1.
        depth: Number of blocks L.
        position: ``rotary``, ``learned`` or ``sinusoidal``.
        rope_base: Base of the wavelengths of rotary position embeddings.
        max_length: Maximum sequence length, for learned positions.
        normalise_embeddings: Whether to normalise token embeddings to unit mean square.

    Raises:
        ValueError: the list of answers is empty.
    """

    form = "classify"
    offers: ClassVar[frozenset[str]] = frozenset({"input", "layer", "pool"})

    def __init__(
        self,
        shape: BlockShape,
        *,
        vocab_size: int,
        num_answers: int,
        depth: int,
        position: Positions = "rotary",
        rope_base: float = 10_000.0,
        max_length: int = 2048,
        normalise_embeddings: bool = False,
    ) -> None:
        super().__init__()
        if num_answers < 1:
            raise ValueError(
                "encoder_only chooses from a list of answers, but the list is empty (num_answers 0)."
            )
        self.vocab_size, self.dim, self.depth, self.num_heads = vocab_size, shape.dim, depth, shape.num_heads
        self.num_answers = num_answers

        self.token_embedding = TokenEmbedding(vocab_size, shape.dim, normalise=normalise_embeddings)
        self.positions = AddedPositions(position, shape.dim, max_length=max_length)

        # Build the blocks first, because their error names the number of heads that does not divide the width.
        self.blocks = shape.blocks(depth)
        self.rotary = Rotary(shape.width_of_head, base=rope_base) if self.positions.rotary else None
        self.norm = shape.make_norm()
        self.classifier = nn.Linear(shape.dim, num_answers)
        initialise(self)

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings of ids."""
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
        """Runs all blocks and the final norm; `cache` and `memory` are not used."""
        hidden = self.positions(hidden, tokens.positions)
        mask = self_mask(tokens)
        rotation = None if self.rotary is None else self.rotary(tokens.positions)

        for layer, block in enumerate(self.blocks):
            if before_block is not None:
                hidden = before_block(layer, hidden)
            hidden = block(hidden, mask, rotation=rotation)

        return self.norm(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R A"]:
        """Logits over the answers."""
        return self.classifier(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped
