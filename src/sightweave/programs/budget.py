"""How many rows a model reads at once: as many as fit into a share of the memory that is free, however long they are.

The estimate errs on the large side. Where memory runs out all the same, the budget is halved and the work goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from sightweave.core import memory

Result = TypeVar("Result")

_SHARE = 2
"""Half of what is free is used; the rest is for what no estimate knows."""
_MOST_ON_CPU = 2 << 30
"""Bytes for all batches together on a CPU, where larger batches are no faster."""
_HIDDEN = 24
"""Values of width D for each token that a block holds at once: its input, queries, keys, values, and four-fold layers."""
_LOGITS = 3
"""Copies of a row's logits: as they are, as log-probabilities, and as what is drawn from."""
_GROWTH = 2
"""A cache may be copied once while it grows or loses rows."""
_KEYS = ("k", "k_proj", "key", "wk")
"""What libraries call the layer that makes keys."""


@dataclass(frozen=True)
class Shape:
    """What decides how much memory a token needs in a language model."""

    dim: int
    depth: int
    heads: int
    vocab_size: int
    kv_dim: int
    """Width of the keys of a token in one block."""
    bytes_per_value: int = 4

    @classmethod
    def of(cls, language_model: Any) -> Shape:
        """That of a language model of ours, or of one that it wraps."""
        dim: int = language_model.dim
        weight = next(language_model.parameters())
        return cls(
            dim=dim,
            depth=language_model.depth,
            heads=language_model.num_heads,
            vocab_size=language_model.vocab_size,
            kv_dim=_kv_dim(language_model) or dim,
            bytes_per_value=max(2, weight.element_size()),
        )

    @classmethod
    def of_transformers(cls, model: Any) -> Shape:
        """That of a model of Transformers, by its settings; a name that they lack counts as a large value."""
        settings = model.config.get_text_config()
        dim = int(getattr(settings, "hidden_size", None) or 4096)
        return cls(
            dim=dim,
            depth=int(getattr(settings, "num_hidden_layers", None) or 32),
            heads=int(getattr(settings, "num_attention_heads", None) or 32),
            vocab_size=int(getattr(settings, "vocab_size", None) or 256_000),
            kv_dim=_kv_dim(model) or dim,
            bytes_per_value=next(model.parameters()).element_size(),
        )

    def bytes_per_row(self, length: int, read: int) -> int:
        """Bytes of one row of a batch.

        Args:
            length: Tokens of its prompt and of its answer.
            read: Those of them that are read at once.
        """
        keys_and_values = 2 * _GROWTH * self.depth * self.kv_dim * length * self.bytes_per_value
        hidden = _HIDDEN * self.dim * read * self.bytes_per_value
        scores = self.heads * read * length * self.bytes_per_value
        return keys_and_values + hidden + scores + _LOGITS * self.vocab_size * 4


def _kv_dim(model: nn.Module) -> int:
    """The widest output of a layer that makes keys; 0 where none has a known name."""
    found = 0
    for name, layer in model.named_modules():
        width = getattr(layer, "out_features", None)
        if name.rpartition(".")[2] in _KEYS and isinstance(width, int):
            found = max(found, width)
    return found


class Budget:
    """Bounds batches by rows and by memory.

    Args:
        shape: Of the language model.
        device: Where it is.
        rows: Rows at most.
        tokens: Tokens of a batch at most, padding and answers included; None follows from the memory that is free.
        batches: Batches that are worked on at the same time.
    """

    def __init__(
        self, shape: Shape, device: torch.device, *, rows: int, tokens: int | None = None, batches: int = 1
    ) -> None:
        self.shape, self.device, self.most_rows, self.tokens = shape, device, rows, tokens
        free = memory.free_bytes(device) // _SHARE
        if device.type == "cpu":
            free = min(free, _MOST_ON_CPU)
        self.bytes = max(1, free // max(1, batches))

    def rows(self, length: int, read: int, each: int = 1) -> int:
        """Prompts of this length that fit, at least one.

        Args:
            length: Tokens of the longest with its answer.
            read: Those of them that are read at once.
            each: Rows of a prompt.
        """
        if self.tokens is not None:
            fit = self.tokens // max(1, length * each)
        else:
            fit = self.bytes // (each * self.shape.bytes_per_row(length, read))
        return max(1, min(self.most_rows, fit))

    def batches(
        self, order: Sequence[int], lengths: Callable[[int], tuple[int, int]], each: int = 1
    ) -> Iterator[list[int]]:
        """Numbers in batches that fit, in their order. What is halved meanwhile holds for those that follow.

        Args:
            order: The numbers.
            lengths: Tokens with the answer, and those that are read at once, by number.
            each: Rows for each number.
        """
        start = 0
        while start < len(order):
            length = read = 0
            end = start
            while end < len(order):
                own_length, own_read = lengths(order[end])
                length, read = max(length, own_length), max(read, own_read)
                if end > start and end - start >= self.rows(length, read, each):
                    break
                end += 1
            yield list(order[start:end])
            start = end

    def halve(self) -> bool:
        """After memory ran out: later batches are half as large. False where they had one row already."""
        could = self.most_rows > 1
        self.most_rows = max(1, self.most_rows // 2)
        self.bytes = max(1, self.bytes // 2)
        if self.tokens is not None:
            self.tokens = max(1, self.tokens // 2)
        memory.release(self.device)
        return could


def or_none(work: Callable[[], Result]) -> Result | None:
    """What the work gives; None where memory ran out. The error is dropped, since its frames hold what was computed."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not memory.is_out_of_memory(error):
            raise
    return None


def halves(numbers: list[int]) -> list[list[int]]:
    """Two halves in their order; one number stays alone."""
    middle = len(numbers) // 2
    return [numbers[:middle], numbers[middle:]] if middle else [numbers]
