"""Tensor parallelism: a group of processes splits every block of the language model, with PyTorch's `parallelize_module`.

Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053), section 3. Each process computes some of the heads, and some of the
hidden values of the feed-forward layer, for the same tokens::

    hidden -> q, k, v       own heads    -> attention  -> out   -> sum over the group -> hidden
    hidden -> up, gate      own columns  -> activation -> down  -> sum over the group -> hidden

Backwards, the gradient of `hidden` is summed instead. Everything outside of these layers is whole in every process, and all
processes of a group compute the same there: norms, embeddings, head, fusion, connector and encoder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightweave.core.errors import RecipeError
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.nn.block import Block
from sightweave.models.vlm import VLM
from sightweave.programs.training import split_model
from sightweave.programs.training.rows import is_sharded, own, split_dim
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.split_model import SplitModel, tensors_of
from sightweave.programs.training.world import World


class TensorParallel(SplitModel):
    """A model whose language model is split over the processes of a group; several groups are data-parallel.

    Args:
        model: Split in place. In the first process it has the initial weights; in the others its weights do not matter, and
            may be on the meta device.
        settings: The settings of the training.
        world: The processes; its `tensor` is the group of this one.
        device: The device of this process.

    Raises:
        RecipeError: a setting or a model that does not work with tensor parallelism.
    """

    def __init__(self, model: VLM, settings: Settings, world: World, device: torch.device) -> None:
        assert world.tensor is not None
        check(settings, world.tensor.size)
        language_model = check_model(model, world.tensor.size)
        super().__init__(model, world, world.tensor, device)

        first = {name: value.detach() for name, value in tensors_of(model).items()}
        language_model.blocks.to("meta")  # so that no process holds whole blocks on its device
        self._split(language_model)
        self.receive(first)
        self._sharded = {name: value for name, value in model.named_parameters() if is_sharded(value)}
        self._norms_of_heads = set(_norms_of_heads(language_model))

    def _split(self, language_model: DecoderOnly) -> None:
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.tensor.parallel import parallelize_module

        assert self.over.link is not None
        mesh = DeviceMesh.from_group(self.over.link.group, self.device.type)
        for block in language_model.blocks:
            assert isinstance(block, Block)
            # Without communication, since the weights are received afterwards.
            parallelize_module(block, mesh, _plan(block), src_data_rank=None)

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """In this block, the model can be called directly; all processes must call the same parts in the same order."""
        with self.world.exchanging("exchange activations"):
            yield

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        """Adds up the gradients of all groups, so that every process has the gradients of its part of the weights.

        Args:
            parameters: Parameters with a gradient, the same ones in all processes.
        """
        sharded, whole = [], []
        for parameter in parameters:
            assert parameter.grad is not None
            gradient = own(parameter.grad)
            if is_sharded(parameter):
                sharded.append(gradient)
                continue
            # All processes of a group have the same gradient, up to rounding on a GPU; their mean has the same bits in all.
            # In a norm of heads, each has a part of the sum.
            if parameter not in self._norms_of_heads:
                gradient /= self.over.size
            whole.append(gradient)
        self.world.data.add_up(sharded)
        self.world.add_up(whole)

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this process saves of tensors by name: whole ones, in turns; the first process saves those never split."""
        found = {}
        turn = 0
        for name, value in tensors.items():
            parameter = self._sharded.get(name, self._sharded.get(name.rpartition("/")[0]))
            dim = None if parameter is None or not value.ndim else split_dim(parameter)
            writer, whole = 0, own(value)
            if parameter is not None and dim is not None:
                writer, turn = turn % self.world.size, turn + 1
                whole = self.over.gather_rows(whole.detach(), parameter.shape[dim], dim)
            if self.world.rank == writer:
                # Not on the device, which may have no room for it.
                found[name] = whole if dim is None else whole.contiguous().cpu()
        return found


def check(settings: Settings, size: int) -> None:
    """Checks that the settings of a training work with tensor parallelism.

    Args:
        settings: The settings.
        size: Number of processes in a group.

    Raises:
        RecipeError: one of them does not.
    """
    split_model.check(settings, f"mesh.tp is {size}", "set mesh.tp to 1")


def check_model(model: VLM, size: int) -> DecoderOnly:
    """Checks that a model can be split, and returns its language model.

    Args:
        model: The model, which is not split yet.
        size: Number of processes in a group.

    Raises:
        RecipeError: it cannot.
    """
    language_model = model.language_model
    if not isinstance(language_model, DecoderOnly):
        raise RecipeError(
            f"mesh.tp is {size}, but the language model is a {type(language_model).__name__}, and only decoder_only can be "
            "split. Set mesh.tp to 1 and mesh.shard to true, which shards any model, or use decoder_only."
        )
    if model.image_tokenizer is not None:
        raise RecipeError(
            f"mesh.tp is {size}, but the model has an image tokenizer, which tensor parallelism does not support. Set "
            "mesh.tp to 1."
        )

    block = language_model.blocks[0]
    assert isinstance(block, Block)
    counts = {
        "num_heads": block.attention.num_heads,
        "num_kv_heads": block.attention.num_kv_heads,
        "hidden_dim": block.feed_forward.up.out_features,
    }
    for name, count in counts.items():
        if count % size:
            raise RecipeError(
                f"mesh.tp is {size}, which does not divide model.language_model.{name}, which is {count}. Choose a divisor "
                f"of it as mesh.tp, or set {name} to a multiple of {size}."
            )
    return language_model


def _plan(block: Block) -> dict[str, Any]:
    """How each layer of a block is split, by its name."""
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, PrepareModuleInput, RowwiseParallel

    whole = Replicate()
    plan: dict[str, Any] = {}
    # One sum of gradients for all layers that read the same input.
    plan["attention"] = PrepareModuleInput(input_layouts=(whole, None), desired_input_layouts=(whole, None))
    plan["feed_forward"] = PrepareModuleInput(input_layouts=whole, desired_input_layouts=whole)

    for name in ("attention.q", "attention.k", "attention.v", "feed_forward.up", "feed_forward.gate"):
        if name != "feed_forward.gate" or block.feed_forward.gate is not None:
            plan[name] = ColwiseParallel()
    for name in ("attention.out", "feed_forward.down"):
        plan[name] = RowwiseParallel()
    return plan


def _norms_of_heads(language_model: DecoderOnly) -> Iterator[nn.Parameter]:
    """The weights of the norms of queries and keys, which each process applies to its own heads only."""
    for block in language_model.blocks:
        assert isinstance(block, Block)
        for norm in (block.attention.q_norm, block.attention.k_norm):
            if norm is not None:
                yield from norm.parameters()
