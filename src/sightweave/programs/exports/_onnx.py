"""Shared parts of the ONNX exports: tracing of a module, a cache of plain tensors, and the image encoder."""

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
from sightweave.models.vlm import MediaPath

PROVIDERS = ("CPUExecutionProvider",)
"""Providers with which onnxruntime computes the comparison."""


def require() -> None:
    """Checks that the packages for writing graphs are installed.

    Raises:
        BackendError: they are not.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(f"onnx: {' and '.join(missing)} not installed: pip install 'sightweave[onnx]'.")


class Past(Cache):
    """Keys and values as plain tensors: earlier ones are inputs, and all of them are outputs."""

    def __init__(self, past: Sequence[Tensor]) -> None:
        super().__init__(rows=len(past))
        self.past, self.present = past, list[Tensor]()

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        old_keys, old_values = self.past[2 * layer : 2 * layer + 2]
        joined = [torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)]
        self.present += joined
        return joined[0], joined[1]


class Encoder(nn.Module):
    """The first graph: encoder and connector.

    Args:
        path: Encoder and connector of images.
    """

    def __init__(self, path: MediaPath) -> None:
        super().__init__()
        self.encoder, self.connector = path.encoder, path.connector

    def forward(self, pixels: Float[Tensor, "I 3 H W"]) -> Float[Tensor, "I Q D"]:
        """Embeddings of images."""
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
        in_one_file: Whether large weights are also stored in the file itself, which then holds at most 2 GB.
    """
    with torch.no_grad(), warnings.catch_warnings(), quiet():
        # torch warns of its own deprecated calls, and of names that two axes share.
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
    """Suppresses torch's log of operators that this machine lacks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
