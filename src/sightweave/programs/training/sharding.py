"""Shards a model over the processes that train it, with PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`).

Each process holds some rows of every weight, of its gradient and of the optimizer's state (ZeRO-3, Rajbhandari et al. 2020,
arXiv:1910.02054). A block gets its whole weights from all processes just before it runs, and frees them afterwards; other
weights are whole during a forward and backward pass. An encoder that no stage trains is not sharded, and neither are single
numbers, such as gates.

Whole weights are exchanged while a batch runs, so all processes must run the same blocks in the same order, even one
whose batch is empty or has no image; see `Gradients`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sightweave.core.errors import RecipeError
from sightweave.models.nn.block import Block
from sightweave.models.parts import named_parts
from sightweave.models.paths import MediaPath
from sightweave.models.vlm import VLM
from sightweave.programs.training import split_model
from sightweave.programs.training.rows import is_sharded, own
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.split_model import SplitModel, tensors_of
from sightweave.programs.training.validation import undisturbed
from sightweave.programs.training.world import World


class Sharding(SplitModel):
    """A model whose weights are spread over all processes.

    Args:
        model: Sharded in place. In the first process it has the initial weights; in the others its weights do not matter,
            and may be on the meta device.
        settings: The stages, which decide whether the encoder is sharded.
        world: The processes.
        device: The device of this process.

    Raises:
        RecipeError: a setting that does not work with sharded weights.
    """

    def __init__(self, model: VLM, settings: Settings, world: World, device: torch.device) -> None:
        check(settings)
        if model.image_tokenizer is not None:
            raise RecipeError(
                "mesh.shard is true, but the model has an image tokenizer, which reads images outside the blocks that are "
                "sharded. Set mesh.shard to false."
            )
        super().__init__(model, world, world, device)
        first = {name: value.detach() for name, value in tensors_of(model).items()}

        # FSDP2 cannot shard single numbers.
        self._replicated = {one for one in model.parameters() if not one.ndim}
        self._is_encoder_trained = any("encoder" in stage.parts for stage in settings.stages)
        if not self._is_encoder_trained:
            self._replicated.update(named_parts(model)["encoder"].parameters())
        self._path = self._sharded_encoder()

        self._shard()
        self.receive(first)

        # The first pass through the root prepares all modules. All weights need a gradient in it, since FSDP2 determines the
        # number format of gradients only once.
        model.requires_grad_(True)
        self._sharded_names = {name for name, value in model.named_parameters() if is_sharded(value)}
        with torch.no_grad():
            self.run(lambda: torch.zeros((), device=device))
            self._root.reshard()

    # Building.

    def _sharded_encoder(self) -> MediaPath | None:
        """The path whose encoder gets its weights block by block; None if no encoder does.

        With several modalities, the order of the encoders depends on the batch, and an encoder for media of any size runs
        once for each size. The weights of such encoders are whole during a pass instead.
        """
        paths = [path for path in self.model.encoders.values() if isinstance(path, MediaPath)]
        if len(paths) != 1 or not self._is_encoder_trained or self.model.modalities != ("image",):
            return None
        encoder = paths[0].encoder
        has_blocks = any(isinstance(module, Block) for module in encoder.modules())
        return paths[0] if has_blocks and not encoder.stride else None

    def _shard(self) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.world.size,))
        owners = (
            [self.model.language_model]
            if self._path is None
            else [self._path.encoder, self.model.language_model]
        )
        for owner in owners:
            for module in _units(owner):
                fully_shard(module, mesh=mesh, ignored_params=self._replicated)

        self.outside = {
            name
            for name, value in self.model.named_parameters()
            if not is_sharded(value) and value not in self._replicated
        }
        """Names of the sharded weights outside of blocks."""
        self._root: Any = _Root(self.model)  # FSDP2 adds methods to it
        fully_shard(self._root, mesh=mesh, ignored_params=self._replicated)
        self.model.language_model.token_embedding.register_forward_hook(_with_gradient)
        self._groups: list[Any] = [
            one for one in self._root.modules() if hasattr(one, "set_requires_gradient_sync")
        ]
        for group in self._groups:
            # Sums, as the loss is divided by the tokens of all processes.
            group.set_gradient_divide_factor(1.0)
            group.set_force_sum_reduction_for_comms(True)

    # Running.

    def run(self, compute: Callable[[], Tensor]) -> Tensor:
        """Runs a function that uses the model's weights, and returns its result, a loss with a graph."""
        found: Tensor = self._root(compute)
        return found

    @contextlib.contextmanager
    def readable(self) -> Iterator[None]:
        """In this block, the model can be called directly; all processes must call the same parts in the same order."""
        with self.world.exchanging("exchange weights"):
            self._root.unshard()
            try:
                yield
            finally:
                for group in self._groups:
                    group.reshard()

    @property
    def has_sharded_encoder(self) -> bool:
        """Whether all processes must run the encoder equally often."""
        return self._path is not None

    def empty_pass(self) -> Tensor:
        """Encodes an image without content, for a process without images; returns 0 with a graph."""
        assert self._path is not None
        encoder = self._path.encoder
        side = encoder.image_size
        # Running statistics must not see it.
        with undisturbed(encoder, self.device):
            features = encoder(torch.zeros(1, 3, side, side, device=self.device))
        found: Tensor = 0.0 * features.values.float().sum()
        return found

    def fill_gradients(self, loss: Tensor, used: set[str]) -> None:
        """Makes the backward pass give a gradient of 0 to weights outside of blocks that this process does not use.

        Other processes may use them, and all must exchange the same gradients. Called inside of `run`.

        Args:
            loss: The loss, before its backward pass.
            used: Gets the names of the weights with a gradient of their own.
        """
        if not loss.requires_grad:
            return

        def fill() -> None:
            for name, parameter in self.model.named_parameters():
                if name not in self._sharded_names or is_sharded(parameter) or not parameter.requires_grad:
                    continue
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                else:
                    used.add(name)

        # FSDP2 exchanges the gradients at the end of the backward pass, in a callback that its hook on the loss queues. This
        # hook comes first, and so does its callback.
        def queue(_gradient: Tensor) -> None:
            torch.autograd.Variable._execution_engine.queue_callback(fill)

        loss.register_hook(queue)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    # Weights.

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this process saves of tensors by name: its rows of sharded ones; the first one saves all others."""
        found = {}
        for name, value in tensors.items():
            mine = own(value)
            is_shared = is_sharded(value) or name.rpartition("/")[0] in self._sharded_names
            if self.world.is_first or (is_shared and mine.ndim and len(mine)):
                found[name] = mine
        return found


def check(settings: Settings) -> None:
    """Checks that a training can shard its weights.

    Raises:
        RecipeError: a setting that does not work with sharded weights.
    """
    split_model.check(settings, "mesh.shard is true", "set mesh.shard to false")
    is_trained = any("encoder" in stage.parts for stage in settings.stages)
    for stage in settings.stages:
        if stage.cache_features and is_trained:
            raise RecipeError(
                f"mesh.shard is true, but stage {stage.name!r} caches features (cache_features={stage.cache_features}) of "
                "an encoder that is sharded, since another stage trains it. Set cache_features to 0, or mesh.shard to false."
            )


class _Root(nn.Module):
    """Runs any function as its forward pass: the loss uses weights before, in and after the model's own forward pass."""

    def __init__(self, model: VLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()


def _with_gradient(_module: nn.Module, _given: Any, embeddings: Tensor) -> Tensor:
    """Lets a gradient flow through all blocks of the language model, even from a text without images to frozen embeddings.

    Processes with images need it for the connector, and all must exchange the weights of the same blocks.
    """
    if not torch.is_grad_enabled() or embeddings.requires_grad:
        return embeddings
    return embeddings + torch.zeros((), device=embeddings.device, dtype=embeddings.dtype, requires_grad=True)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that get their weights together: each block, or the layers of a block whose weights others read too."""
    for block in module.modules():
        if not isinstance(block, Block):
            continue
        if block.memory_attention is None:
            yield block
        else:  # the keys and values of the memory are computed before the blocks run
            yield block.attention
            yield block.feed_forward
