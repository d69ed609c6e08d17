"""The two shapes that are compared, their inputs, and the work in them that is useful."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A ViT, a pixel shuffle and a Llama-style decoder."""

    name: str
    image_size: int
    patch_size: int
    vision_dim: int
    vision_depth: int
    vision_heads: int
    factor: int
    dim: int
    depth: int
    heads: int
    kv_heads: int
    hidden_dim: int
    vocab_size: int

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def image_tokens(self) -> int:
        return self.patches // self.factor**2

    @property
    def image_token_id(self) -> int:
        return self.vocab_size - 1

    def forward_flops(self, batch: int, length: int, logits: int) -> float:
        """Multiplications and additions that a forward pass needs: causal attention as half, `logits` positions."""
        n, v, d = self.patches, self.vision_dim, self.dim
        vision = self.vision_depth * (2 * n * 12 * v * v + 4 * n * n * v) + 2 * n * v * 3 * self.patch_size**2
        connector = 2 * self.image_tokens * self.factor**2 * v * d
        head_dim = d // self.heads
        block = 2 * d * d + 2 * d * head_dim * self.kv_heads + 3 * d * self.hidden_dim
        text = self.depth * (2 * length * block + 2 * length * length * d)
        return batch * (vision + connector + text) + 2.0 * logits * d * self.vocab_size

    def training_flops(self, batch: int, length: int, logits: int) -> float:
        """Three times the forward pass, except that pixels need no gradient."""
        pixels = batch * 2 * self.patches * self.vision_dim * 3 * self.patch_size**2
        return 3 * self.forward_flops(batch, length, logits) - pixels


SHAPES = {
    "95M": Shape("95M", 224, 16, 768, 4, 12, 2, 576, 10, 9, 3, 1536, 49_280),
    "4M": Shape("4M", 64, 8, 192, 4, 3, 2, 192, 4, 3, 3, 512, 4_096),
    # SmolLM2-135M behind 7 x 7 embeddings of a picture; the encoder is not built.
    "135M": Shape("135M", 14, 2, 64, 1, 1, 1, 576, 30, 9, 3, 1536, 49_152),
    "tiny": Shape("tiny", 32, 8, 32, 1, 2, 2, 32, 2, 4, 2, 64, 101),  # for the test of the harness
}


@dataclass(frozen=True)
class Work:
    """What is done in one timed step."""

    kind: str
    """train, forward, generate, questions, batched_questions or adapt."""
    batch: int
    """Rows; for questions, their number on one picture."""
    length: int
    """Tokens of a row with its image's, or of the prompt."""
    new: int
    """Tokens that are learnt at the end of each row, or written."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Inputs:
    """Rows that begin with a picture's marks."""

    pixels: np.ndarray
    """float32 I 3 H W."""
    ids: np.ndarray
    """int64 B S."""


def inputs(shape: Shape, work: Work) -> Inputs:
    """The same for every contestant."""
    draw = np.random.default_rng(7)
    images = 1 if "questions" in work.kind else work.batch
    pixels = draw.uniform(-1, 1, (images, 3, shape.image_size, shape.image_size)).astype(np.float32)
    ids = draw.integers(10, shape.vocab_size - 10, (work.batch, work.length))
    ids[:, : shape.image_tokens] = shape.image_token_id
    return Inputs(pixels, ids)


@dataclass
class Adapted:
    """Rows that begin with a picture's embeddings; all of their text is learnt."""

    embeddings: np.ndarray
    """float32 B N D."""
    ids: np.ndarray
    """int64 B S, of which the first N stand for the picture."""


SHARES = (1.0, 0.81, 0.94, 0.77, 1.0, 0.71, 0.89, 0.85, 0.97, 0.74)
"""Of the longest row: batches of real data differ in their lengths, and memory that was freed fits the next less well."""


def adapted(shape: Shape, work: Work) -> Iterator[Adapted]:
    """Batches without end, the same for every contestant."""
    draw = np.random.default_rng(7)
    marks = shape.image_tokens
    while True:
        for share in SHARES:
            ids = draw.integers(10, shape.vocab_size - 10, (work.batch, round(share * work.length)))
            ids[:, :marks] = shape.image_token_id
            embeddings = draw.normal(size=(work.batch, marks, shape.dim)).astype(np.float32)
            yield Adapted(embeddings, ids)
