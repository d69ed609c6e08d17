"""Simulates one training step on the meta device, which computes the shapes of tensors but not their values.

Each operator of the real model runs on tensors without data. This gives the operations and the bytes of each operator,
and the number of bytes that are alive at every moment, for a model of any size, within a second and without allocating
its memory.

The integers of a batch (ids, masks, positions) stay real, because a model selects rows by them. An operator with both
kinds of tensors runs on the meta device. Three functions are replaced because torch would run them differently there:
attention and RMS norms use fused kernels, and autocast, which the meta device lacks, is applied to each function
separately.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

from sightweave.core.batch import Batch, Media
from sightweave.core.device import Precision
from sightweave.models.loss import amounts
from sightweave.models.nn.norm import OneScaleNorm
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting.flops import Flops, of_operator
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.settings import Stage

META = torch.device("meta")
_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


@dataclass(frozen=True, slots=True)
class Operator:
    """One call of an operator, except for views."""

    flops: int
    """Number of floating-point operations in matrix products."""
    bytes: int
    """Number of bytes of the tensors that are read and written."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The operations and the memory of one forward and backward pass of a batch."""

    flops: Flops
    operators: tuple[Operator, ...]
    """All operators of both passes, in order."""
    peak_bytes: int
    """Maximum number of bytes alive at once, in addition to weights and batch; includes the gradients of this pass."""
    gradient_bytes: int
    """Size in bytes of the gradients after the pass."""

    @property
    def bytes_moved(self) -> int:
        """Number of bytes that all operators read and write."""
        return sum(one.bytes for one in self.operators)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its hooks untyped
    """Context manager that records each operator, and the bytes of all tensors that were created in it and are still alive.

    It also works with real tensors, so that a simulation can be compared with them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.operators: list[Operator] = []
        self.alive = 0
        """Number of bytes of the storages that were created and still exist."""
        self.peak = 0
        """Largest value that `alive` has had."""
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operator, on the meta device if any of its tensors is on it."""
        args, kwargs = _on_one_device(func, args, kwargs or {})
        out = func(*args, **kwargs)

        read = {one.untyped_storage()._cdata for one in _tensors((args, kwargs))}
        made = list(_tensors(out))
        is_view = not func._schema.is_mutable and all(one.untyped_storage()._cdata in read for one in made)
        if made and not is_view:
            moved = sum(map(_used_bytes, _tensors((args, kwargs)))) + sum(map(_used_bytes, made))
            self.operators.append(Operator(of_operator(func, args, kwargs, out), moved))
        for one in made:
            self._count(one)
        return out

    def _count(self, tensor: Tensor) -> None:
        """Counts the storage of a new tensor as alive until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def forget(_: Any) -> None:
            self._known.pop(key, None)
            self.alive -= size

        self._known[key] = weakref.ref(storage, forget)
        self.alive += size
        self.peak = max(self.peak, self.alive)


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_iter(values) if isinstance(one, Tensor)]


def _used_bytes(tensor: Tensor) -> int:
    """Number of bytes of a tensor's values; values that an expanded tensor repeats count once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride else min(size, 1)
    return count * tensor.element_size()


def _on_one_device(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of an operator, moved to the meta device if any of their tensors is on it."""
    there = [one.is_meta for one in _tensors((args, kwargs))]
    if not any(there) or all(there):
        return args, kwargs

    def without_data(one: Tensor) -> Tensor:
        return one if one.is_meta else one.to(META)

    moved: tuple[Any, dict[str, Any]] = tree_map_only(Tensor, without_data, (tuple(args), kwargs))
    return moved


class Emulation(TorchFunctionMode):
    """Makes torch compute on the meta device as on a real one: with fused attention and, if requested, autocast to bf16.

    Args:
        is_bf16: Whether matrices are multiplied in bf16, with fp32 weights, as in `Precision.autocast`.
    """

    def __init__(self, *, is_bf16: bool) -> None:
        super().__init__()
        self.is_bf16 = is_bf16
        self.casts: dict[int, Tensor] | None = {}
        """Casts of trained weights, which autocast keeps until the end of the forward pass; None after the pass."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls a function of torch or its replacement, with casts to bf16 where autocast would cast."""
        kwargs = kwargs or {}
        if self.is_bf16 and func in _IN_BF16:
            args, kwargs = tree_map_only(Tensor, self._cast, (tuple(args), kwargs))
        elif self.is_bf16 and func in _ALIKE:
            args, kwargs = _widest((tuple(args), kwargs))
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func is F.rms_norm:
            return _rms_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, tensor: Tensor) -> Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        is_kept = self.casts is not None and tensor.is_leaf and tensor.requires_grad
        if not is_kept:
            return tensor.bfloat16()

        assert self.casts is not None
        if id(tensor) not in self.casts:
            self.casts[id(tensor)] = tensor.bfloat16()
        return self.casts[id(tensor)]


_IN_BF16 = frozenset(
    [
        *(F.linear, F.conv1d, F.conv2d, F.conv3d, F.scaled_dot_product_attention),
        *(torch.mm, torch.bmm, torch.matmul, torch.addmm, torch.baddbmm, torch.einsum),
        *(Tensor.mm, Tensor.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.baddbmm),
    ]
)
"""Functions that autocast computes in bf16."""
_ALIKE = frozenset([torch.cat, torch.stack, torch.index_copy, Tensor.index_copy])
"""Functions for which autocast converts all tensors to the widest type among them."""


def _widest(values: Any) -> Any:
    """Converts all floating-point tensors among the arguments to the widest type among them."""
    kinds = {one.dtype for one in _tensors(values) if one.is_floating_point()}
    if kinds != {torch.float32, torch.bfloat16}:
        return values
    return tree_map_only(Tensor, lambda one: one.float() if one.is_floating_point() else one, values)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Applies attention with the fused kernel, which stores its output and one number per query for the backward pass."""
    if query.ndim != 4:
        return _plain_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
    # Gradients are needed here, so the kernel for decoding must not be used.
    out, _ = _ATTENTION(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)
    return out  # type: ignore[no-any-return]  # operators are untyped


def _rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Applies an RMS norm that stores one number per token, as on a CPU; fused kernels of other devices store as much."""
    if weight is None or x.dtype != torch.float32 or eps is None:
        return F.rms_norm(x, shape, weight, eps)
    return OneScaleNorm.apply(x, weight, eps)  # type: ignore[no-any-return,no-untyped-call]  # torch leaves apply untyped


_plain_attention: Callable[..., Tensor] = F.scaled_dot_product_attention


@dataclass(frozen=True)
class Subject:
    """A model without data, built on the meta device and prepared for one stage, with the stage's parts trainable."""

    model: VLM
    stage: Stage
    precision: str
    """Number format: ``fp32`` or ``bf16``."""

    @property
    def trained(self) -> list[nn.Parameter]:
        """Parameters that the stage trains."""
        return [one for one in self.model.parameters() if one.requires_grad]

    def simulate(self, batch: Batch, *, passes: int = 1) -> Simulation:
        """Simulates forward and backward passes of a batch, and returns the last one.

        Args:
            batch: A batch of the stage, on the CPU or without data.
            passes: Number of successive passes whose gradients are added up. In later passes, the gradients of the
                earlier ones exist already.

        Raises:
            RuntimeError, NotImplementedError: the model reads the values of tensors, which do not exist here.
        """
        gradients = Gradients(self.model, self.trained, self.stage, Precision("fp32", META, "simulated"))
        shown = without_media_values(batch)
        of = amounts(batch, length_power=self.stage.length_power)

        try:
            for _ in range(passes):
                recorded, forward, backward = self._pass(gradients, shown, of)
            made = sum(one.grad.nbytes for one in self.trained if one.grad is not None)
        finally:
            for parameter in self.trained:
                parameter.grad = None

        flops = Flops(forward, backward)
        return Simulation(flops, tuple(recorded.operators), recorded.peak, made)

    def _pass(self, gradients: Gradients, batch: Batch, of: Any) -> tuple[Recorder, int, int]:
        emulation = Emulation(is_bf16=self.precision == "bf16")
        with torch.random.fork_rng(devices=[]), Recorder() as recorder, emulation:
            loss = gradients.forward(batch, of)
            emulation.casts = None
            forward = sum(one.flops for one in recorder.operators)
            backward(loss)
        total = sum(one.flops for one in recorder.operators)
        return recorder, forward, total - forward


def backward(loss: Tensor) -> None:
    """Like ``loss.backward()``, which would suspend a function mode, so that recomputed operators would not be recorded."""
    run: Callable[..., Any] = torch.autograd.graph._engine_run_backward
    run((loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True)


def without_media_values(batch: Batch) -> Batch:
    """A copy of the batch in which media have shapes but no data."""
    media = {name: _without_values(one) for name, one in batch.media.items()}
    return replace(batch, media=media)


def _without_values(media: Media) -> Media:
    if isinstance(media.values, Tensor):
        return replace(media, values=media.values.to(META))
    return replace(media, values=tuple(one.to(META) for one in media.values))
