"""Embeddings and output head of image tokens, which are appended to the vocabulary of a language model.

The embedding of a code is a linear map of the code's vector in the image tokenizer, so that similar codes begin with similar
embeddings. Janus (Wu et al. 2024, arXiv:2410.13848) also maps vectors of codes, with a small network. Marks have embeddings
of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.image_tokens import ImageTokens
from sightweave.models.nn.init import embedding, initialise
from sightweave.models.nn.norm import RMSNorm


class ImageVocabulary(nn.Module):
    """The slice of a vocabulary that belongs to image tokens.

    Args:
        tokens: Numbering of the image tokens.
        dim: Width D of the language model.
        code_dim: Width C of the vector of a code.
        is_normalised: Whether the text's embeddings have a mean square of 1, instead of 1 / D.
    """

    def __init__(self, tokens: ImageTokens, *, dim: int, code_dim: int, is_normalised: bool) -> None:
        super().__init__()
        self.tokens = tokens
        self.code = nn.Linear(code_dim, dim)
        self.marks = embedding(tokens.num_marks, dim)
        self.norm = RMSNorm(dim, affine=False)
        self.scale = 1.0 if is_normalised else 1 / math.sqrt(dim)
        self.output = nn.Linear(dim, tokens.size, bias=False)
        initialise(self)

    def embed(
        self, ids: Int[Tensor, "*shape"], vectors: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*shape D"]:
        """Embeddings of image tokens; those of other tokens have no meaning.

        Args:
            ids: Ids in the whole vocabulary.
            vectors: Returns the vector of each code: `ImageTokenizer.vectors`.
        """
        codes = ids - self.tokens.first
        is_code = codes < self.tokens.num_codes
        known, marks = codes.clamp(0, self.tokens.num_codes - 1), codes - self.tokens.num_codes
        coded = self.code(vectors(known).to(self.code.weight.dtype))
        marked = self.marks(marks.clamp(0, self.tokens.num_marks - 1))
        return self.norm(torch.where(is_code[..., None], coded, marked)) * self.scale  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R W"]:
        """Logits of all image tokens."""
        return self.output(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped
