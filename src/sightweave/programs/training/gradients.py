"""The gradient of one update, from one batch or from several; on a CPU, those are computed side by side.

The bits are those of one thread and one batch after another: sums keep the order of the batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.core.device import Precision, side_by_side
from sightweave.models.loss import Amounts, amounts, is_chunked, training_loss
from sightweave.models.vlm import VLM
from sightweave.programs.training.settings import Stage


class Gradients:
    """Computes the loss of an update and leaves its gradient in the parameters.

    Args:
        model: The model, in the mode that the stage wants.
        parameters: What trains.
        stage: Says how the loss is made.
        precision: In which format to multiply.
    """

    def __init__(
        self, model: VLM, parameters: Sequence[nn.Parameter], stage: Stage, precision: Precision
    ) -> None:
        self.model, self.parameters, self.stage, self.precision = model, parameters, stage, precision
        self.may_go_side_by_side = precision.device.type == "cpu" and not _has_state(model)

    def add(self, batches: Sequence[Batch]) -> float:
        """Adds the gradient of all these batches together to what the parameters hold, and returns their loss."""
        batches = [batch.to(self.precision.device) for batch in batches]
        of = sum((amounts(batch, length_power=self.stage.length_power) for batch in batches), Amounts())
        if len(batches) < 2 or not self.may_go_side_by_side:
            return sum([self._backward(batch, of) for batch in batches])
        total = 0.0
        for loss, gradients in side_by_side(lambda one: self._alone(one, of), batches, self.precision.device):
            total += loss
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    gradient = _as_it_lies(gradient, parameter)
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return total

    def _backward(self, batch: Batch, of: Amounts) -> float:
        loss = self._forward(batch, of)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(loss.detach())

    def _alone(self, batch: Batch, of: Amounts) -> tuple[float, tuple[Tensor | None, ...]]:
        loss = self._forward(batch, of)
        # Not `backward`: threads that write into one place do so in any order.
        return float(loss.detach()), torch.autograd.grad(loss, self.parameters, allow_unused=True)

    def _forward(self, batch: Batch, of: Amounts) -> Tensor:
        language_model = self.model.language_model
        with self.precision.autocast():
            output = self.model(batch, with_logits=not is_chunked(batch, language_model.vocab_size))
            return training_loss(
                output,
                batch,
                region_weight=self.stage.word_weight,
                length_power=self.stage.length_power,
                z_loss=self.stage.z_loss,
                of=of,
                language_model=language_model,
            )


def _as_it_lies(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A gradient in its parameter's order of memory, as `backward` would leave it.

    On some processors the gradient of a kernel comes with its channels last, and fused optimizers walk through the memory
    of both side by side.
    """
    same = gradient.stride() == parameter.stride()
    return gradient if same else torch.empty_like(parameter).copy_(gradient)


def _has_state(model: nn.Module) -> bool:
    """Whether a forward pass draws random numbers or moves statistics, so that the order of batches matters."""
    norms = nn.modules.batchnorm._BatchNorm  # the one name for all of them
    return any(
        isinstance(module, norms | nn.Dropout) or bool(getattr(module, "dropout", 0.0))
        for module in model.modules()
        if module.training
    )
