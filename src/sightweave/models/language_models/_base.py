"""The interface of language models: fusions and the VLM need not know which kind they work with."""

from collections.abc import Callable
from typing import ClassVar, Self

from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.nn.embedding import TokenEmbedding
from sightweave.models.nn.fast_decoding import FastDecoding


class LanguageModel(nn.Module):
    """A language model: ``embed -> run -> head``; an encoder-decoder adds ``encode``."""

    form: ClassVar[str]
    """``causal``, ``encoder_decoder`` or ``classify``."""
    offers: ClassVar[frozenset[str]]
    """Places where a fusion may act: ``input``, ``layer``, ``memory``, ``pool``."""
    dim: int
    """Width D."""
    depth: int
    """Number of blocks before which a fusion may act."""
    num_heads: int
    """Number of query heads, which fusions with attention use too."""
    vocab_size: int
    """Vocabulary size V."""
    token_embedding: TokenEmbedding
    """The table of token embeddings."""

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings."""
        raise NotImplementedError(type(self).__name__)

    def encode(self, hidden: Float[Tensor, "B M D"], tokens: TokenSequence) -> Memory:
        """Encodes the source of an encoder-decoder into a memory."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder")

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        memory: Memory | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Runs all blocks and the last norm.

        Args:
            hidden: Embedded tokens, after the fusion.
            tokens: The tokens, with their positions and which tokens may attend to which.
            cache: Keys and values of earlier tokens; those of these tokens are added.
            memory: Memory of an encoder-decoder; None takes the one in the cache.
            before_block: Fusion that acts before each block.
        """
        raise NotImplementedError(type(self).__name__)

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary, or over the answers."""
        raise NotImplementedError(type(self).__name__)

    def fast_decoding(self) -> FastDecoding | None:
        """A faster replacement of `run` and `head` for single tokens, for one call of generation; None if there is none."""
        return None

    def weights_changed(self) -> None:
        """Drops copies of weights that `fast_decoding` keeps between texts.

        Call it after a change that PyTorch does not count: one through ``weight.data``, as in PEFT's merging in place, or
        through an array that shares the memory of a weight. Optimizers, `load_state_dict`, ``.to()``, other changes in
        place, and changes right after a forward pass in training mode need no call.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Moves and conversions replace the memory of weights, perhaps by some at the same address.
        self.weights_changed()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]  # torch leaves it untyped

    def words(self, embeddings: Float[Tensor, "E D"]) -> Float[Tensor, "E V"]:
        """Scores of each embedding for each token of the vocabulary: products with the token embeddings."""
        return nn.functional.linear(embeddings, self.token_embedding.table.weight)
