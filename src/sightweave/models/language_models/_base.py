"""What every language model offers, so that fusions and the VLM need not know which one it is."""

from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.nn.embedding import TokenEmbedding
from sightweave.models.nn.fast_decoding import FastDecoding


class LanguageModel(nn.Module):
    """The face of a language model. ``embed -> run -> head``; an encoder-decoder adds ``encode``."""

    form: ClassVar[str]
    """``causal``, ``encoder_decoder`` or ``classify``."""
    offers: ClassVar[frozenset[str]]
    """Places where a fusion may act: ``input``, ``layer``, ``memory``, ``pool``."""
    dim: int
    """Width D."""
    depth: int
    """Blocks before which a fusion may act."""
    num_heads: int
    """Query heads, handed to fusions that attend."""
    vocab_size: int
    """V."""
    token_embedding: TokenEmbedding
    """The table of token embeddings."""

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings."""
        raise NotImplementedError(type(self).__name__)

    def encode(self, hidden: Float[Tensor, "B M D"], tokens: TokenSequence) -> Memory:
        """The memory of an encoder-decoder."""
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
        """All blocks and the last norm."""
        raise NotImplementedError(type(self).__name__)

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary, or over the answers."""
        raise NotImplementedError(type(self).__name__)

    def fast_decoding(self) -> FastDecoding | None:
        """What feeds single tokens faster than `run` and `head` do, made anew for each text; None where nothing does."""
        return None

    def words(self, embeddings: Float[Tensor, "E D"]) -> Float[Tensor, "E V"]:
        """How well each embedding fits each token of the vocabulary, by the token embeddings themselves."""
        return nn.functional.linear(embeddings, self.token_embedding.table.weight)
