"""What all graphs of onnx share: how a module becomes one, a cache of plain tensors, and the image encoder."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.cache import Cache
from sightweave.core.errors import BackendError
from sightweave.models.paths import MediaPath

PROVIDERS = ("CPUExecutionProvider",)
"""Where onnxruntime computes what is compared."""


def require() -> None:
    """Raises what is missing to write graphs.

    Raises:
        BackendError: the packages that write such files are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(f"onnx: {' and '.join(missing)} not installed: pip install 'sightweave[onnx]'.")


class Past(Cache):
    """Keys and values as plain tensors: what was read before goes in, and all of it comes out."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__(rows=len(past))
        self.past, self.present = past, list[Tensor]()

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        joined = [
            torch.cat([old, new], 2)
            for old, new in zip(self.past[2 * layer : 2 * layer + 2], (keys, values), strict=True)
        ]
        self.present += joined
        return joined[0], joined[1]


class Encoder(nn.Module):
    """The first graph: encoder and connector.

    Args:
        path: The image's.
    """

    def __init__(self, path: MediaPath) -> None:
        super().__init__()
        self.encoder, self.connector = path.encoder, path.connector

    def forward(self, pixels: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I Q D"]:
        """Pictures to embeddings."""
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
    """Writes a module as a graph.

    Args:
        graph: In fp32 on the CPU.
        example: What its `forward` is given.
        shapes: Which axes of that may have any length, and their names.
        file: Where to.
        inputs: Their names.
        outputs: Their names.
        in_one_file: Whether large weights too stand in the file itself, which then has room for 2 GB.
    """
    with torch.no_grad(), warnings.catch_warnings(), quiet():
        warnings.simplefilter(
            "ignore"
        )  # torch warns of its own deprecated calls and of names that two axes share
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
    """Without what torch logs of operators that this machine does not have."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
