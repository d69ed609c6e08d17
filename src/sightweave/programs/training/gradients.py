"""The gradient of one update, from one batch or several; on a CPU, several are computed in parallel.

The result is bit-identical to that in one thread, batch by batch, since sums keep the order of the batches. With several
processes, each computes the gradient of its own batches, alone or in a group, and they are added up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.core.device import Precision, side_by_side
from sightweave.models.loss import Amounts, amounts, is_chunked, training_loss
from sightweave.models.vlm import VLM
from sightweave.programs.training.context_parallel import ContextParallel
from sightweave.programs.training.logit_norms import LogitNorms
from sightweave.programs.training.rows import is_sharded
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.sharding import Sharding
from sightweave.programs.training.split_model import SplitModel
from sightweave.programs.training.tensor_parallel import TensorParallel
from sightweave.programs.training.world import World

_ALONE = World()


class Gradients:
    """Computes the loss of an update and leaves its gradient in the parameters.

    Args:
        model: The model, in the mode of the stage.
        parameters: The parameters to train.
        stage: The stage, with the settings of the loss.
        precision: Device and number format.
        world: The processes that train together.
        split: The split model; None if each process has a whole one.
        stand_in: For a sharded model, the batch of a process without one; it does not change the gradient.
        context: Splits the tokens over several processes; None if each process has whole rows.
    """

    def __init__(
        self,
        model: VLM,
        parameters: Sequence[nn.Parameter],
        stage: Stage,
        precision: Precision,
        world: World = _ALONE,
        split: SplitModel | None = None,
        stand_in: Batch | None = None,
        context: ContextParallel | None = None,
    ) -> None:
        self.model, self.parameters, self.stage, self.precision = model, parameters, stage, precision
        self.world, self.split, self.context = world, split, context
        self.stand_in = None if stand_in is None else stand_in.to(precision.device)
        self.logit_norms = LogitNorms()
        # Threads of several processes would exchange activations in any order.
        may_thread = precision.device.type == "cpu" and split is None and context is None
        self.may_go_side_by_side = may_thread and not _has_state(model)

    def add(self, batches: Sequence[Batch | None]) -> float:
        """Adds the gradient of the loss over all batches to the parameters, and returns the loss.

        With several processes, it is the loss over the batches of all of them; the parameters must have no gradient before.

        Args:
            batches: The batches of an update, equally many in each process; None where this process has none.
        """
        moved = [None if batch is None else batch.to(self.precision.device) for batch in batches]
        present = [batch for batch in moved if batch is not None]
        stage = self.stage
        each = [
            amounts(batch, length_power=stage.length_power, image_token_weight=stage.image_token_weight)
            for batch in present
        ]
        own = sum(each, Amounts())
        if isinstance(self.split, Sharding):
            return self._over_shards(self.split, moved, own)

        of = self._over_all(own)
        splitting = contextlib.nullcontext() if self.context is None else self.context.splitting()
        with splitting, self.world.exchanging("exchange activations"):
            loss = self._local(present, of)
        return loss if self.world.size == 1 else self._add_up(loss)

    def _over_all(self, own: Amounts) -> Amounts:
        """The amounts of the samples of all processes together."""
        targets, words, pictures = self.world.data.sum([own.targets, own.words, own.pictures])
        return Amounts(targets, int(words), int(pictures))

    def _add_up(self, loss: float) -> float:
        """Adds up the gradients and the losses of all processes."""
        # A parameter without a gradient in every process keeps none, so that it is not decayed; one with a gradient in some,
        # such as an encoder's where only some batches have images, counts as zero in the others.
        has = [parameter.grad is not None for parameter in self.parameters]
        loss, *counts = self.world.data.sum([loss, *has])

        used: list[nn.Parameter] = []
        for parameter, count in zip(self.parameters, counts, strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                used.append(parameter)

        if isinstance(self.split, TensorParallel):
            self.split.add_up(used)
        elif self.context is not None:
            self.context.add_up(used)
        else:
            self.world.add_up([one.grad for one in used if one.grad is not None])
        self._average_statistics()
        return loss

    def _over_shards(self, sharding: Sharding, batches: Sequence[Batch | None], own: Amounts) -> float:
        """The loss over the batches of all processes; leaves its gradient in the rows of this process."""
        # If one process has a batch in a pass, or encodes images, all must do the same.
        exists = [batch is not None for batch in batches]
        encodes = [_encodes(batch) for batch in batches]
        targets, words, *counts = self.world.sum([own.targets, own.words, *exists, *encodes])
        of = Amounts(targets, int(words))
        num_batches, num_encoding = counts[: len(batches)], counts[len(batches) :]

        loss, used = 0.0, set[str]()
        for number, batch in enumerate(batches):
            if num_batches[number]:
                is_encoded = bool(num_encoding[number]) and sharding.has_sharded_encoder
                needs_pass = is_encoded and not encodes[number]
                loss += self._pass(sharding, batch, of, used, needs_pass=needs_pass)

        # A weight that no process used has no gradient, as with a single process, so that it is not decayed.
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        has = []
        for parameter in self.parameters:
            name = names[id(parameter)]
            has.append(name in used if name in sharding.outside else parameter.grad is not None)
        loss, *users = self.world.sum([loss, *has])
        for parameter, num_users in zip(self.parameters, users, strict=True):
            if not num_users:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

        # FSDP2 has added up the others.
        replicated = [one for one in self.parameters if not is_sharded(one)]
        self.world.add_up([one.grad for one in replicated if one.grad is not None])
        self._average_statistics()
        return loss

    def _pass(
        self, sharding: Sharding, batch: Batch | None, of: Amounts, used: set[str], *, needs_pass: bool
    ) -> float:
        """The loss of one batch, or of none, in the same order of weights as in all other processes.

        Args:
            sharding: The sharded model.
            batch: The batch of this process.
            of: The amounts of all processes together.
            used: Gets the names of the weights outside of blocks that this process uses.
            needs_pass: Whether to run the encoder without an image.
        """

        def compute() -> Tensor:
            loss = torch.zeros((), device=self.precision.device, requires_grad=True) * 1.0
            if needs_pass:
                loss = loss + sharding.empty_pass()
            if batch is not None:
                loss = loss + self.forward(batch, of)
            elif self.stand_in is not None:
                loss = loss + 0.0 * self.forward(self.stand_in, Amounts(1.0, 1))
            sharding.fill_gradients(loss, set() if batch is None else used)
            return loss

        with self.world.exchanging("exchange weights and gradients"):
            loss = sharding.run(compute)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(loss.detach())

    def _average_statistics(self) -> None:
        """Averages the running statistics of batch norms, so that all processes have the same model."""
        found: list[Tensor] = []
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                found += [one for one in (module.running_mean, module.running_var) if one is not None]
        self.world.add_up(found)
        for one in found:
            one /= self.world.size

    def _local(self, batches: Sequence[Batch], of: Amounts) -> float:
        """The share of this process in the loss; adds its gradient to the parameters."""
        if len(batches) < 2 or not self.may_go_side_by_side:
            return sum([self._backward(batch, of) for batch in batches], 0.0)

        total = 0.0
        for loss, gradients in side_by_side(lambda one: self._alone(one, of), batches, self.precision.device):
            total += loss
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    gradient = _in_memory_order_of(parameter, gradient)
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return total

    def _backward(self, batch: Batch, of: Amounts) -> float:
        loss = self.forward(batch, of)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(loss.detach())

    def _alone(self, batch: Batch, of: Amounts) -> tuple[float, tuple[Tensor | None, ...]]:
        loss = self.forward(batch, of)
        # Not `backward`: threads would add to the same gradient in any order.
        return float(loss.detach()), torch.autograd.grad(loss, self.parameters, allow_unused=True)

    def forward(self, batch: Batch, of: Amounts) -> Tensor:
        """The loss of one batch, with its graph: its share of the loss of all batches that `of` counts."""
        language_model = self.model.with_head
        with self.precision.autocast():
            output = self.model(batch, with_logits=not is_chunked(batch, language_model.vocab_size))
            if self.logit_norms.is_measured and output.labels is not None and output.logits is not None:
                assert batch.image_tokens is not None
                self.logit_norms.add(output.logits.detach(), output.labels, batch.image_tokens.first)
            return training_loss(
                output,
                batch,
                region_weight=self.stage.word_weight,
                length_power=self.stage.length_power,
                image_token_weight=self.stage.image_token_weight,
                z_loss=self.stage.z_loss,
                edge_weight=self.stage.edge_weight,
                of=of,
                language_model=language_model,
            )


def _encodes(batch: Batch | None) -> bool:
    """Whether the encoder runs for a batch: it has images, and their features are not cached."""
    images = None if batch is None else batch.media.get("image")
    return images is not None and images.features is None


def _in_memory_order_of(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with the strides of its parameter, as `backward` would leave it.

    On some processors the gradient of a convolution kernel has its channels last, and fused optimizers expect the same
    memory order in both.
    """
    same = gradient.stride() == parameter.stride()
    return gradient if same else torch.empty_like(parameter).copy_(gradient)


def _has_state(model: nn.Module) -> bool:
    """Whether a forward pass draws random numbers or updates statistics, so that the order of batches matters."""
    stateful = (
        nn.modules.batchnorm._BatchNorm | nn.Dropout
    )  # the private class is the base of all batch norms
    training = [module for module in model.modules() if module.training]
    return any(isinstance(one, stateful) or getattr(one, "dropout", 0.0) for one in training)
