"""The two shapes that are compared, their inputs, and the work in them that is useful."""

from __future__ import annotations

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
    "tiny": Shape("tiny", 32, 8, 32, 1, 2, 2, 32, 2, 4, 2, 64, 101),  # for the test of the harness
}


@dataclass(frozen=True)
class Work:
    """What is done in one timed step."""

    kind: str
    """train, forward, generate, questions or batched_questions."""
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
