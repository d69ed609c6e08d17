"""Shared by the ONNX layouts: tracing, a cache of plain tensors, the image encoder, and decoding in onnxruntime."""

from __future__ import annotations

import abc
import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.core.cache import Cache
from sightweave.core.errors import BackendError
from sightweave.models.paths import MediaPath
from sightweave.programs.exports._base import ANSWER_TOKENS
from sightweave.programs.generation.stopping import Limits
from sightweave.programs.generation.writing import written

PROVIDERS = ("CPUExecutionProvider",)
"""Execution providers with which onnxruntime computes the comparison."""


def require() -> None:
    """Checks that the packages for writing graphs are installed.

    Raises:
        BackendError: a package is missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(f"onnx: {' and '.join(missing)} not installed: pip install 'sightweave[onnx]'.")


class Past(Cache):
    """A cache of keys and values as plain tensors: earlier ones are graph inputs, and all of them are graph outputs."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__(rows=len(past))
        self.past, self.present = past, list[Tensor]()

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        old_keys, old_values = self.past[2 * layer : 2 * layer + 2]
        joined = [torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)]
        self.present += joined
        return joined[0], joined[1]


class Encoder(nn.Module):
    """Module to export as an ONNX graph: the image encoder followed by the connector.

    Args:
        path: The model's path for images, from which both are taken.
    """

    def __init__(self, path: MediaPath) -> None:
        super().__init__()
        self.encoder, self.connector = path.encoder, path.connector

    def forward(self, pixels: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I Q D"]:
        """Embeddings of I images."""
        return self.connector(self.encoder(pixels))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def trace(
    graph: nn.Module,
    example: tuple[Any, ...],
    shapes: tuple[Any, ...],
    file: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    in_one_file: bool = False,
) -> None:
    """Writes a module as an ONNX graph.

    Args:
        graph: The module in fp32 on the CPU.
        example: Example arguments of its `forward`.
        shapes: Names of those axes of the arguments that may have any length.
        file: Output file.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        in_one_file: Whether large weights are stored in the graph's own file, which can hold at most 2 GB, instead of
            a second file.
    """
    with torch.no_grad(), warnings.catch_warnings(), quiet():
        # Ignore torch's warnings about its own deprecated calls, and about names that two axes share.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            example,
            file,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
            external_data=not in_one_file,
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses torch's log messages about operators that this machine lacks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class GraphSession(abc.ABC):
    """A session of rows that an onnxruntime graph continues, with the interface that `generation.Writing` needs.

    A subclass reads prompts in its own way, passes the logits after their last tokens to `begin`, and reads one more
    token of each row in `_read`.

    Args:
        graph: The decoder, with a ``past`` input for each ``present`` output.
    """

    logits: Tensor
    """Logits of the next token of each row, float B V."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._past: list[np.ndarray] = []
        self.logits = torch.zeros(0, 0)
        self._numbers = torch.zeros(0, dtype=torch.int64)
        self._found: list[list[Tensor]] = []

    @abc.abstractmethod
    def _read(self, ids: Tensor) -> Tensor:
        """Reads one token of each row (int64 B); returns the logits B V after it."""

    @abc.abstractmethod
    def _select(self, rows: Tensor) -> None:
        """Keeps some rows of the state that `_read` needs in addition to the cache; ``rows[i]`` becomes row i."""

    def begin(self, logits: Tensor) -> None:
        """Starts with the logits B V after the prompts that were just read."""
        self._numbers = torch.arange(len(logits))
        self._found = [[] for _ in logits]
        self._take(logits)

    def answers(self, end: int) -> list[tuple[list[int], Tensor]]:
        """Generates greedily after each prompt.

        Returns:
            For each prompt, the ids including the end token, and the logits T V from which they were chosen.
        """
        rows = len(self)
        decoder: Decoder = greedy.Config().build(end_id=end)
        draws = Draws(np.zeros(rows, dtype=np.uint64))  # greedy decoding uses no random numbers
        texts = written(self, decoder, draws, [Limits(ANSWER_TOKENS)] * rows, end_id=end)
        return [
            (text.ids, torch.stack(logits[: len(text.ids)]))
            for text, logits in zip(texts, self._found, strict=True)
        ]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._numbers)

    def step(self, ids: Tensor) -> None:
        """Reads one token of each row."""
        self._take(self._read(ids))

    def leave(self, is_done: Tensor) -> Tensor:
        """Removes rows; returns the old indices of the others, in the same order."""
        kept = (~is_done).nonzero()[:, 0]
        self._keep(kept)
        return kept

    def fork(self, rows: Tensor) -> GraphSession:
        """A new session whose row i continues row ``rows[i]``."""
        forked = copy.copy(self)
        forked._keep(rows)
        return forked

    def _take(self, logits: Tensor) -> None:
        self.logits = logits
        for number, row in zip(self._numbers.tolist(), logits, strict=True):
            self._found[number].append(row)

    def _keep(self, rows: Tensor) -> None:
        self._past = [one[rows.numpy()] for one in self._past]
        self.logits, self._numbers = self.logits[rows], self._numbers[rows]
        self._select(rows)
