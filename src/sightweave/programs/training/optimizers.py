"""AdamW for everything, or Muon for the matrices of Transformer blocks and kernels, and AdamW for the rest.

Decoupled Weight Decay Regularization (Loshchilov and Hutter 2017, arXiv:1711.05101). Muon (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/): momentum, then the nearest orthogonal matrix by five Newton-Schulz steps.
Differs from torch's own Muon: fp32 on a CPU, where bf16 may be a hundred times slower, and matrices of the same shape are
orthogonalised together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, overload

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from sightweave.core.config import config
from sightweave.core.errors import CheckpointError
from sightweave.models.nn.block import Block
from sightweave.models.parts import PartName
from sightweave.programs.training.rows import is_distributed, is_sharded, own, own_rows, split_dim
from sightweave.programs.training.weight_average import QUANTITY as AVERAGE
from sightweave.programs.training.weight_average import WeightAverage
from sightweave.programs.training.world import World

Name = Literal["adamw", "muon"]
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic with the largest slope at 0; it brings singular values to about 0.7 to 1.2."""
_STEPS = 5
_GATHERED_VALUES = 1 << 26
"""Number of values of sharded matrices that a process gathers at once, if they are more than those of one matrix."""
_TINY = 1e-7


@config
class OptimizerConfig:
    """Optimizer and its learning rates."""

    name: Name = "adamw"
    """Optimizer: adamw, or muon (for the matrices of Transformer blocks and convolution kernels, with AdamW for the
    rest)."""
    lr: NonNegativeFloat = 1e-3
    """Peak learning rate of AdamW."""
    muon_lr: NonNegativeFloat = 0.02
    """Peak learning rate of Muon: the spectral norm of one update of a wide matrix."""
    momentum: NonNegativeFloat = 0.95
    """Nesterov momentum of Muon."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of the moments of AdamW."""
    eps: PositiveFloat = 1e-8
    """Term added to the denominator of AdamW."""
    weight_decay: NonNegativeFloat = 0.05
    """Decoupled weight decay of matrices, multiplied by the learning rate; vectors are not decayed."""
    lr_multipliers: Mapping[PartName, NonNegativeFloat] = field(default_factory=dict)
    """Learning rate multipliers by part, such as {encoder: 0.1}; 1 for all others."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate multiplier from each block to the one below it, in the encoder and the language model."""

    def build(
        self, model: nn.Module, factors: Mapping[str, float] | None = None, world: World | None = None
    ) -> Optimizer:
        """The optimizer of the trainable parameters of a model.

        Args:
            model: The model.
            factors: Learning rate multipliers of parameters, by name; 1 for all others.
            world: The processes over which parameters may be sharded.
        """
        return Optimizer(
            model,
            name=self.name,
            lr=self.lr,
            muon_lr=self.muon_lr,
            momentum=self.momentum,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            factors=factors,
            world=world,
        )


class Optimizer:
    """One or two torch optimizers over the trainable parameters of a model, used as one.

    Of a sharded parameter, each process updates its own rows, and has the state of these rows only.

    Args:
        model: The model; parameters that do not require gradients are left alone.
        name: ``adamw`` or ``muon``.
        lr: Peak learning rate of AdamW.
        muon_lr: Peak learning rate of Muon.
        momentum: Nesterov momentum of Muon.
        betas: Decay rates of the moments of AdamW.
        eps: Term added to the denominator of AdamW.
        weight_decay: Decoupled weight decay of matrices, including embedding tables and kernels, but not of vectors.
        factors: Learning rate multipliers of parameters, by name; 1 for all others.
        world: The processes over which parameters may be sharded.

    Raises:
        ValueError: unknown `name`, or no trainable parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: Name = "adamw",
        lr: float = 1e-3,
        muon_lr: float = 0.02,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
        factors: Mapping[str, float] | None = None,
        world: World | None = None,
    ) -> None:
        if name not in ("adamw", "muon"):
            raise ValueError(f"optimizer is adamw or muon (got {name!r}).")
        self.parameters = {key: value for key, value in model.named_parameters() if value.requires_grad}
        if not self.parameters:
            raise ValueError(
                "nothing to train: no parameter of the model requires gradients; unfreeze a part."
            )
        self.world = world or World()
        self.own = {key: own(value) for key, value in self.parameters.items()}
        """The rows of the parameters that this process updates, by the parameter's name."""

        # Matrices of blocks go to Muon; everything else to AdamW, where vectors are not decayed.
        hidden = hidden_matrices(model) if name == "muon" else {}
        matrices = {key: self.own[key] for key in hidden}
        rest = {key: value for key, value in self.own.items() if key not in matrices}
        tables = {key: value for key, value in rest.items() if value.ndim >= 2}
        vectors = {key: value for key, value in rest.items() if value.ndim < 2}
        factors = factors or {}
        groups = [
            *_groups(tables, factors, lr=lr, weight_decay=weight_decay),
            *_groups(vectors, factors, lr=lr, weight_decay=0.0),
        ]

        self.optimizers: list[torch.optim.Optimizer] = []
        if groups:
            self.optimizers.append(torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True))
        if matrices:
            groups = _groups(matrices, factors, lr=muon_lr, weight_decay=weight_decay)
            sharded = {self.own[key]: value for key, value in hidden.items() if is_sharded(value)}
            self.optimizers.append(Muon(groups, momentum=momentum, sharded=sharded, world=self.world))
        self.average: WeightAverage | None = None
        """The average of the parameters, if there is one; its tensors are part of the optimizer's state."""
        self._peaks = [[float(group["lr"]) for group in one.param_groups] for one in self.optimizers]

    def set_factor(self, factor: float) -> None:
        """Sets every learning rate to `factor` times its peak."""
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def step(self) -> None:
        """Updates the parameters from their gradients."""
        for key, parameter in self.parameters.items():
            if is_distributed(parameter):
                self.own[key].grad = None if parameter.grad is None else own(parameter.grad)
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Clears all gradients."""
        for key, parameter in self.parameters.items():
            parameter.grad = self.own[key].grad = None

    def state_tensors(self) -> dict[str, Tensor]:
        """The state of the optimizer by ``<parameter>/<quantity>``, for safetensors; of sharded ones, the own rows."""
        tensors = {}
        for key, parameter in self.own.items():
            for quantity, value in self._state(parameter).items():
                tensors[f"{key}/{quantity}"] = value
        if self.average is not None:
            tensors |= self.average.state_tensors()
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores a state from `state_tensors`, with all rows of every parameter.

        Raises:
            CheckpointError: the state has a parameter that this optimizer does not train, or another shape, or the average
                is only in one of the two. Nothing is changed then.
        """
        averages = [name for name in tensors if name.endswith(f"/{AVERAGE}")]
        if averages and self.average is None:
            raise CheckpointError(
                "optimizer state: it has averages of the weights, but the stage has no ema; resume with the recipe that "
                "wrote it."
            )

        loaded: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name in tensors:
            key, _, quantity = name.rpartition("/")
            if quantity == AVERAGE:
                continue
            value, parameter = tensors[name], self.parameters.get(key)
            if parameter is None:
                raise CheckpointError(
                    f"optimizer state {name!r} belongs to no trained parameter; resume with the recipe that wrote it."
                )
            if value.ndim and value.shape != parameter.shape:
                raise CheckpointError(
                    f"optimizer state {name!r} has shape {tuple(value.shape)}, but its parameter has "
                    f"{tuple(parameter.shape)}."
                )
            # The fused kernel of AdamW also needs its counter on the device of the parameter.
            rows = own_rows(value.detach(), parameter)
            loaded[key][quantity] = rows.clone().to(parameter.device)

        self.load_average(tensors)
        for key, state in loaded.items():
            self._owner(self.own[key]).state[self.own[key]] = state

    def load_average(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the average of the weights, if there is one, from `state_tensors` with all rows.

        Raises:
            CheckpointError: as `WeightAverage.load_state_tensors`.
        """
        if self.average is None:
            return
        rows = {}
        for key, parameter in self.parameters.items():
            name = f"{key}/{AVERAGE}"
            if name in tensors:
                rows[name] = own_rows(tensors[name], parameter)
        self.average.load_state_tensors(rows)

    def _owner(self, parameter: Tensor) -> torch.optim.Optimizer:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                if any(parameter is own for own in group["params"]):
                    return optimizer
        raise AssertionError("every trained parameter has an optimizer")

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        """The optimizer's state for a parameter; empty before its first update."""
        for optimizer in self.optimizers:
            if parameter in optimizer.state:
                found: dict[str, Tensor] = optimizer.state[parameter]
                return found
        return {}


def _groups(
    parameters: Mapping[str, Tensor], factors: Mapping[str, float], *, lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups by learning rate, in order of first appearance."""
    found: dict[float, list[Tensor]] = defaultdict(list)
    for name, parameter in parameters.items():
        found[factors.get(name, 1.0)].append(parameter)

    return [
        {"params": group, "lr": lr * factor, "weight_decay": weight_decay} for factor, group in found.items()
    ]


def hidden_matrices(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that Muon updates: trainable linear weights inside Transformer blocks, and convolution kernels.

    Embedding tables, heads, connectors and vectors are left to AdamW.
    """
    found: dict[str, Tensor] = {}
    for prefix, block in model.named_modules():
        if isinstance(block, Block):
            for name, layer in block.named_modules(prefix=prefix):
                if isinstance(layer, nn.Linear) and layer.weight.requires_grad:
                    found[f"{name}.weight"] = layer.weight
        elif isinstance(block, nn.Conv2d) and block.weight.requires_grad:
            found[f"{prefix}.weight"] = block.weight
    return found


class Muon(torch.optim.Optimizer):
    """``w -= lr * sqrt(max(1, rows / columns)) * orthogonal(nesterov(gradient))``, after ``w -= lr * decay * w``.

    Newton-Schulz runs on all matrices of the same shape together. With `parts`, each matrix is a stack of that many equal
    matrices (such as queries, keys and values joined into one), and each of them is orthogonalised separately. A kernel
    counts as a matrix with one row per output channel.

    Of a sharded matrix, each process gathers the whole gradient and orthogonalises it, and then updates its own part; the
    result does not depend on the number of processes. Orthogonalising the rows of each process separately would be a
    different optimizer.

    Args:
        params: Matrices.
        lr: Learning rate.
        momentum: Nesterov momentum.
        weight_decay: Decoupled weight decay, multiplied by the learning rate.
        parts: Number of equal matrices stacked along the rows of each.
        sharded: The sharded matrices of which `params` has only the rows, or columns, of this process.
        world: The processes over which these are sharded.

    Raises:
        ValueError: a parameter is not a matrix, or `parts` does not divide its rows.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        parts: int = 1,
        sharded: Mapping[Tensor, Tensor] | None = None,
        world: World | None = None,
    ) -> None:
        self.sharded, self.world = dict(sharded or {}), world or World()
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": parts}
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim < 2:
                    raise ValueError(
                        f"Muon updates matrices (got a parameter of shape {tuple(p.shape)}); use AdamW for it."
                    )
                rows = self._shape(p)[0]
                if rows % group["parts"]:
                    raise ValueError(
                        f"Muon: {group['parts']} parts do not divide the {rows} rows of a parameter."
                    )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Updates every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        for group in self.param_groups:
            alike: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[(self._shape(p), self._split_dim(p), p.dtype, p.device)].append(p)
            for matrices in alike.values():
                # Sharded ones may not fit into memory all at once.
                is_shared = self._split_dim(matrices[0]) is not None
                size = self._shape(matrices[0]).numel()
                count = max(1, _GATHERED_VALUES // size) if is_shared else len(matrices)
                for start in range(0, len(matrices), count):
                    self._update(matrices[start : start + count], group)
        return loss

    def _shape(self, matrix: Tensor) -> torch.Size:
        """The shape of a whole matrix."""
        return self.sharded.get(matrix, matrix).shape

    def _split_dim(self, matrix: Tensor) -> int | None:
        """The dimension along which a matrix is sharded; None if it is not."""
        return split_dim(self.sharded.get(matrix, matrix))

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """Updates matrices of the same shape."""
        # Nesterov momentum.
        gradients = [m.grad for m in matrices if m.grad is not None]
        for m in matrices:
            if "momentum" not in self.state[m]:
                self.state[m]["momentum"] = torch.zeros_like(m)
        buffers = [self.state[m]["momentum"] for m in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])

        # Orthogonalise all of them at once.
        shape, dim = self._shape(matrices[0]), self._split_dim(matrices[0])
        rows, columns = shape[0] // group["parts"], shape[1:].numel()
        stacked = torch.stack(list(ahead))
        if dim is not None:
            stacked = self.world.gather_rows(stacked, shape[dim], dim + 1)
        directions = orthogonalise(stacked.reshape(-1, rows, columns)).to(matrices[0].dtype)
        directions = directions.view(len(matrices), *shape)
        if dim is not None:
            rows_here = self.world.rows(shape[dim])
            directions = directions.movedim(dim + 1, 0)[rows_here].movedim(0, dim + 1)

        # Decay, then step.
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        scale = max(1.0, rows / columns) ** 0.5
        torch._foreach_add_(matrices, list(directions.unbind(0)), alpha=-group["lr"] * scale)


def orthogonalise(matrices: Float[Tensor, "n r c"]) -> Float[Tensor, "n r c"]:
    """Approximately the nearest matrix with orthonormal rows (or columns) to each matrix; zero stays zero.

    Computes in fp32 on a CPU, in bf16 on a GPU. In fp32, wide matrices are multiplied only by the product of the five
    polynomials, which are polynomials of the small matrix ``x @ x.T``; for 128 x 1152 this takes 0.4 of the time.
    """
    is_precise = matrices.device.type == "cpu"
    x = matrices.float() if is_precise else matrices.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x

    # In bf16, rounding errors of the recurrence for the small matrix would grow too much.
    is_wide = x.shape[2] > WIDE * x.shape[1]
    x = _by_gram(x) if is_wide and is_precise else _newton_schulz(x)

    return x.mT if is_tall else x


WIDE = 1.5
"""Ratio of columns to rows above which the recurrence of small matrices needs fewer multiplications."""


def _normalised(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.matrix_norm(x, keepdim=True)
    return x / (norm + _TINY)


def _newton_schulz(x: Tensor) -> Tensor:
    """Five times ``x = (a I + b G + c G^2) x`` with ``G = x @ x.T``, from normalised matrices on."""
    a, b, c = _COEFFICIENTS
    x = _normalised(x)  # here, so that nothing else keeps them in memory
    for _ in range(_STEPS):
        gram = x @ x.mT
        inner = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, inner, x, beta=a)
    return x


def _by_gram(x: Tensor) -> Tensor:
    """The same as `_newton_schulz`: the polynomial P of each step commutes with G, so that G becomes ``P G P``."""
    a, b, c = _COEFFICIENTS
    x = _normalised(x)
    gram = x @ x.mT
    product: Tensor | None = None
    for step in range(_STEPS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial if product is None else polynomial @ product
        if step < _STEPS - 1:
            gram = polynomial @ gram @ polynomial
    assert product is not None
    return product @ x
