"""The exponential moving average of the weights of a stage, which may score better than the last weights.

``average = d * average + (1 - d) * weight`` after each update (Polyak and Juditsky 1992; Tarvainen and Valpola 2017,
arXiv:1703.01780), beginning with the weights at the start of the stage. The decay d is min(decay, (1 + n) / (10 + n)) after
n updates, as in TensorFlow's ``ExponentialMovingAverage``: with a fixed decay, the average of a short stage would consist
mostly of its initial weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError

QUANTITY = "average"
"""Name of an average among the tensors of the optimizer: ``<parameter>/average``."""


class WeightAverage:
    """Averages parameters; buffers, such as running statistics, are not averaged.

    Args:
        parameters: The trained parameters by name; of sharded ones, the rows of this process.
        decay: Largest decay, 0 to 1.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self.parameters, self.decay = dict(parameters), decay
        self.values = {name: value.detach().clone() for name, value in self.parameters.items()}
        """The averages by the parameter's name."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Includes the parameters after an update; `step` is the number of updates before it."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), list(self.parameters.values()), 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Sets the parameters to their averages."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.values[name])

    @torch.no_grad()
    def write_into(self, copied: nn.Module) -> None:
        """Sets the parameters of a copy of the model to the averages."""
        parameters = dict(copied.named_parameters())
        for name, value in self.values.items():
            parameters[name].copy_(value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Exchanges the parameters and their averages, and exchanges them back at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # One parameter after the other, so that there is never a second copy of all of them.
        for name, parameter in self.parameters.items():
            kept = parameter.clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)

    def state_tensors(self) -> dict[str, Tensor]:
        """The averages by ``<parameter>/average``, for safetensors."""
        return {f"{name}/{QUANTITY}": value for name, value in self.values.items()}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the averages from `state_tensors`; other tensors are ignored.

        Raises:
            CheckpointError: an average is missing or has another shape. Nothing is changed then.
        """
        for name, parameter in self.parameters.items():
            value = tensors.get(f"{name}/{QUANTITY}")
            if value is None:
                raise CheckpointError(
                    f"optimizer state: it has no average of {name!r}, but the stage has an ema of {self.decay}; resume with "
                    "the recipe that wrote it."
                )
            if value.shape != parameter.shape:
                raise CheckpointError(
                    f"optimizer state: the average of {name!r} has shape {tuple(value.shape)}, but the parameter has "
                    f"{tuple(parameter.shape)}."
                )

        for name in self.values:
            self.values[name].copy_(tensors[f"{name}/{QUANTITY}"])
