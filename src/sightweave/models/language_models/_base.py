"""The interface of language models, so that fusions and the VLM do not depend on the kind."""

from collections.abc import Callable
from typing import ClassVar, Self

from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import BeforeBlock, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.nn.embedding import TokenEmbedding
from sightweave.models.nn.fast_decoding import FastDecoding
from sightweave.models.nn.image_vocabulary import ImageVocabulary


class LanguageModel(nn.Module):
    """Base class of language models: ``embed -> run -> head``; an encoder-decoder adds ``encode``."""

    form: ClassVar[str]
    """Form of the model: ``causal``, ``encoder_decoder`` or ``classify``."""
    offers: ClassVar[frozenset[str]]
    """Places where a fusion may act: ``input``, ``layer``, ``memory``, ``pool``."""
    dim: int
    """Width D of the embeddings and hidden states."""
    depth: int
    """Number of blocks before which a fusion may act."""
    num_heads: int
    """Number of query heads, which fusions with attention also use."""
    vocab_size: int
    """Vocabulary size V."""
    token_embedding: TokenEmbedding
    """The table of token embeddings."""
    image_vocabulary: ImageVocabulary | None
    """Embeddings and head of image tokens, whose ids follow those of the vocabulary; None if there are none. `embed` and
    `head` know nothing of them: `VLM` joins the two."""

    def __init__(self) -> None:
        super().__init__()
        self.image_vocabulary = None

    def embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Token embeddings of ids."""
        raise NotImplementedError(type(self).__name__)

    def encode(self, hidden: Float[Tensor, "B M D"], tokens: TokenSequence) -> Memory:
        """Encodes the source of an encoder-decoder into a memory.

        Raises:
            NotImplementedError: the model has no encoder.
        """
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
        """Runs all blocks and the final norm.

        Args:
            hidden: Embedded tokens, after the fusion.
            tokens: The tokens, with their positions and which tokens may attend to which.
            cache: Keys and values of earlier tokens; those of these tokens are appended.
            memory: Memory of an encoder-decoder; None uses the memory in the cache.
            before_block: Function by which the fusion changes the hidden states before each block.
        """
        raise NotImplementedError(type(self).__name__)

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary, or over the answers."""
        raise NotImplementedError(type(self).__name__)

    def fast_decoding(self) -> FastDecoding | None:
        """A faster replacement of `run` and `head` for single tokens, for one generation; None if there is none."""
        return None

    def weights_changed(self) -> None:
        """Drops the copies of weights that `fast_decoding` keeps between generations.

        Call it after a change that PyTorch does not track: one through ``weight.data``, as in PEFT's in-place merging,
        or through an array that shares the memory of a weight. No call is needed after optimizers, `load_state_dict`,
        ``.to()`` and other tracked in-place changes, or after changes right after a forward pass in training mode.
        """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Moving or converting a weight allocates new memory, perhaps at the same address.
        self.weights_changed()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call,no-any-return]  # torch leaves it untyped

    def words(self, embeddings: Float[Tensor, "E D"]) -> Float[Tensor, "E V"]:
        """Scores of each embedding for each token of the vocabulary: its products with the token embeddings."""
        return nn.functional.linear(embeddings, self.token_embedding.table.weight)
