"""Limits the number of rows in a batch to those that fit into a share of the free memory, given their lengths.

The estimate errs on the large side. If memory runs out anyway, the budget is halved and the work continues.
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
"""Divisor of the free memory: half of it is used, and the rest is for what the estimate does not include."""
_MOST_ON_CPU = 2 << 30
"""Maximum number of bytes for all batches together on a CPU, where larger batches are no faster."""
_HIDDEN = 24
"""Values per token and unit of width D that a block holds at once: its input, queries, keys, values, four-fold
layers."""
_LOGITS = 3
"""Number of copies of a row's logits: the logits, the log-probabilities, and the values to sample from."""
_GROWTH = 2
"""Factor for a cache that may be copied once while it grows or loses rows."""
_KEYS = ("k", "k_proj", "key", "wk")
"""Names that libraries give to the layer that computes keys."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a language model that determine the memory per token."""

    dim: int
    depth: int
    heads: int
    vocab_size: int
    kv_dim: int
    """Width of a token's keys in one block."""
    bytes_per_value: int = 4

    @classmethod
    def of(cls, language_model: Any) -> Shape:
        """The sizes of one of our language models, or of a model that it wraps."""
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
        """The sizes of a Transformers model, from its config; a missing value is replaced by a large one."""
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
        """Estimated number of bytes for one row of a batch.

        Args:
            length: Number of tokens in its prompt and its answer.
            read: Number of these tokens that are processed at once.
        """
        keys_and_values = 2 * _GROWTH * self.depth * self.kv_dim * length * self.bytes_per_value
        hidden = _HIDDEN * self.dim * read * self.bytes_per_value
        scores = self.heads * read * length * self.bytes_per_value
        return keys_and_values + hidden + scores + _LOGITS * self.vocab_size * 4


def _kv_dim(model: nn.Module) -> int:
    """The largest output width of a layer that computes keys; 0 if no layer has a known name."""
    found = 0
    for name, layer in model.named_modules():
        width = getattr(layer, "out_features", None)
        if name.rpartition(".")[2] in _KEYS and isinstance(width, int):
            found = max(found, width)
    return found


class Budget:
    """Limits batches by their number of rows and by memory.

    Args:
        shape: Sizes of the language model.
        device: Device of the language model.
        rows: Maximum number of rows.
        tokens: Maximum number of tokens in a batch, including padding and answers; None derives it from free memory.
        batches: Number of batches that are processed at the same time.
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
        """Number of prompts of this length that fit into a batch; at least one.

        Args:
            length: Number of tokens in the longest prompt and its answer.
            read: Number of these tokens that are processed at once.
            each: Rows per prompt.
        """
        if self.tokens is not None:
            fit = self.tokens // max(1, length * each)
        else:
            fit = self.bytes // (each * self.shape.bytes_per_row(length, read))
        return max(1, min(self.most_rows, fit))

    def batches(
        self, order: Sequence[int], lengths: Callable[[int], tuple[int, int]], each: int = 1
    ) -> Iterator[list[int]]:
        """Splits prompts into batches that fit, in order; if the budget is halved meanwhile, the next batches are smaller.

        Args:
            order: Numbers of the prompts.
            lengths: Function from a number to the prompt's tokens including the answer, and to those processed at once.
            each: Rows per prompt.
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
        """Halves later batches after memory ran out; returns False if they already had only one row."""
        could = self.most_rows > 1
        self.most_rows = max(1, self.most_rows // 2)
        self.bytes = max(1, self.bytes // 2)
        if self.tokens is not None:
            self.tokens = max(1, self.tokens // 2)
        memory.release(self.device)
        return could


def or_none(work: Callable[[], Result]) -> Result | None:
    """The result of `work`; None if memory ran out.

    The error is dropped, because its frames would keep tensors alive.
    """
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not memory.is_out_of_memory(error):
            raise
    return None


def halves(numbers: list[int]) -> list[list[int]]:
    """Splits a list into two halves, keeping the order; a list with a single number is not split."""
    middle = len(numbers) // 2
    return [numbers[:middle], numbers[middle:]] if middle else [numbers]
