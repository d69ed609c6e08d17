"""Context parallelism: a group of processes splits the tokens of every row, for sequences that do not fit into one GPU.

Each process runs the blocks of the language model for its own tokens. Before attention, the keys and values of all tokens
are gathered from the group, as in the training of Llama 3 (arXiv:2407.21783, section 3.3.2)::

    hidden of all tokens -> own tokens -> blocks -> norm -> hidden of all tokens
                                            |
                         own queries, and the keys and values of all tokens

The rows of the mask are computed from the mask's four vectors, so that every mask is exact: causal, prefix, packed, and with
branches. Outside of the blocks, all processes of a group compute the same, for all tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function

from sightweave.core.cache import Cache
from sightweave.core.errors import RecipeError
from sightweave.models.language_models.decoder_only import DecoderOnly
from sightweave.models.nn.sequence_split import SequenceSplit
from sightweave.models.vlm import VLM
from sightweave.programs.training.world import World


class ContextParallel:
    """Splits the tokens of a language model over the processes of a group; several groups are data-parallel.

    Args:
        model: The model, of which every process has all weights.
        world: The processes; its `context` is the group of this one.

    Raises:
        RecipeError: a model that does not work with context parallelism.
    """

    def __init__(self, model: VLM, world: World) -> None:
        assert world.context is not None
        self.world, self.over = world, world.context
        self.language_model = check_model(model, self.over.size)
        self._split = _Split(self.over)

    @contextlib.contextmanager
    def splitting(self) -> Iterator[None]:
        """In this block, the language model splits its tokens; all processes of the group must run it together."""
        self.language_model.sequence_split = self._split
        try:
            yield
        finally:
            self.language_model.sequence_split = None

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        """Adds up the gradients of all processes.

        Args:
            parameters: Parameters with a gradient, the same ones in all processes.
        """
        # Each process has the part of its own tokens. Outside of the blocks, all in a group have the same gradient.
        of_tokens = {*self.language_model.blocks.parameters(), *self.language_model.norm.parameters()}
        gradients = []
        for parameter in parameters:
            assert parameter.grad is not None
            if parameter not in of_tokens:
                parameter.grad /= self.over.size
            gradients.append(parameter.grad)
        self.world.add_up(gradients)


def check_model(model: VLM, size: int) -> DecoderOnly:
    """Checks that the tokens of a model can be split, and returns its language model.

    Args:
        model: The model.
        size: Number of processes in a group.

    Raises:
        RecipeError: they cannot.
    """
    language_model = model.language_model
    if not isinstance(language_model, DecoderOnly):
        raise RecipeError(
            f"mesh.cp is {size}, but the language model is a {type(language_model).__name__}, and only the tokens of "
            "decoder_only can be split. Set mesh.cp to 1, or use decoder_only."
        )
    if model.fusion.places != {"input"}:
        raise RecipeError(
            f"mesh.cp is {size}, but the fusion {type(model.fusion).__name__} also acts between the blocks "
            f"({', '.join(sorted(model.fusion.places))}), where each process has only some of the tokens. Set mesh.cp to 1, "
            "or use the fusion concat."
        )
    if model.image_tokenizer is not None:
        raise RecipeError(
            f"mesh.cp is {size}, but the model has an image tokenizer, which context parallelism does not support. Set "
            "mesh.cp to 1."
        )
    return language_model


class _Split(SequenceSplit):
    def __init__(self, over: World) -> None:
        super().__init__(over.rank, over.size, _AllKeys(over))
        self._over = over

    def take(self, hidden: Tensor) -> Tensor:
        found: Tensor = _Take.apply(hidden, self._over)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return found

    def join(self, hidden: Tensor) -> Tensor:
        found: Tensor = _Join.apply(hidden, self._over)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return found


class _AllKeys(Cache):
    """Instead of keeping keys and values, gathers those of all tokens."""

    def __init__(self, over: World) -> None:
        super().__init__(0)
        self._over = over

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens, given those of this process: ``B Hkv R Dh`` each."""
        both: tuple[Tensor, Tensor] = _Gather.apply(keys, values, self._over)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return both


class _Take(Function):
    """Own tokens; the gradients of all tokens are gathered, since all processes compute the same before."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, over: World) -> Tensor:
        ctx.over, ctx.length = over, hidden.shape[1]
        return hidden[:, over.rows(hidden.shape[1])].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.over.gather_rows(gradients[0], ctx.length, 1), None


class _Join(Function):
    """All tokens; the gradient of own tokens is already whole, since all processes compute the same after it."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, over: World) -> Tensor:
        length = hidden.shape[1] * over.size
        ctx.rows = over.rows(length)
        return over.gather_rows(hidden, length, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][:, ctx.rows].contiguous(), None


class _Gather(Function):
    """Keys and values of all tokens; those of own tokens get a gradient from the queries of every process."""

    @staticmethod
    def forward(ctx: Any, keys: Tensor, values: Tensor, over: World) -> tuple[Tensor, Tensor]:
        ctx.over, length = over, keys.shape[2] * over.size
        return over.gather_rows(keys, length, 2), over.gather_rows(values, length, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        keys, values = (ctx.over.add_up_rows(one, 2) for one in gradients)
        return keys, values, None
