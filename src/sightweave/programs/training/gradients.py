"""The gradient of one update, from one batch or from several: one after another, or side by side on a CPU's cores.

Two threads that share each small multiplication gain a sixth; two threads with a batch each gain a half (measured, two
cores, a million parameters). The bits are those of one thread and one batch after another: sums keep the order of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.core.device import Precision
from sightweave.models.loss import Amounts, amounts, training_loss
from sightweave.models.vlm import VLM
from sightweave.programs.training.settings import Stage


class Gradients:
    """Computes the loss of an update and leaves its gradient in the parameters.

    Args:
        model: The model, in the mode that the stage wants.
        parameters: What trains.
        stage: Says how the loss is made, and how many batches make an update.
        precision: In which format to multiply.
    """

    def __init__(
        self, model: VLM, parameters: Sequence[nn.Parameter], stage: Stage, precision: Precision
    ) -> None:
        self.model, self.parameters, self.stage, self.precision = model, parameters, stage, precision
        self.threads = torch.get_num_threads()
        workers = min(self.threads, stage.microsteps)
        self.pool: ThreadPoolExecutor | None = None
        if precision.device.type == "cpu" and workers > 1 and not _has_state(model):
            self.pool = ThreadPoolExecutor(workers, thread_name_prefix="microstep")

    def add(self, batches: Sequence[Batch]) -> float:
        """Adds the gradient of all these batches together to what the parameters hold, and returns their loss."""
        batches = [batch.to(self.precision.device) for batch in batches]
        of = sum((amounts(batch, length_power=self.stage.length_power) for batch in batches), Amounts())
        if self.pool is None:
            losses = [self._loss(batch, of) for batch in batches]
            return sum(losses)
        found = list(self.pool.map(lambda batch: self._alone(batch, of), batches))
        torch.set_num_threads(self.threads)
        for _, gradients in found:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return sum(loss for loss, _ in found)

    def close(self) -> None:
        """Ends its threads."""
        if self.pool is not None:
            self.pool.shutdown()

    def _loss(self, batch: Batch, of: Amounts) -> float:
        loss = self._forward(batch, of)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(loss.detach())

    def _alone(self, batch: Batch, of: Amounts) -> tuple[float, tuple[Tensor | None, ...]]:
        torch.set_num_threads(1)  # the cores are taken by the other batches
        loss = self._forward(batch, of)
        # Not `backward`: threads that write into one place do so in any order.
        return float(loss.detach()), torch.autograd.grad(loss, self.parameters, allow_unused=True)

    def _forward(self, batch: Batch, of: Amounts) -> Tensor:
        with self.precision.autocast():
            output = self.model(batch)
        return training_loss(
            output,
            batch,
            region_weight=self.stage.word_weight,
            length_power=self.stage.length_power,
            z_loss=self.stage.z_loss,
            of=of,
        )


def _has_state(model: nn.Module) -> bool:
    """Whether a forward pass draws random numbers or moves statistics, so that the order of batches matters."""
    norms = nn.modules.batchnorm._BatchNorm  # the one name for all of them
    return any(
        isinstance(module, norms | nn.Dropout) or bool(getattr(module, "dropout", 0.0))
        for module in model.modules()
        if module.training
    )
