"""Runs a stack of another library's blocks with our masks, positions and cache; hooks let a fusion act before each block.

The library's own forward pass runs. Whatever it would derive from the order of the tokens is instead passed to it: the
mask, as values to add to the scores; and the positions, as an argument if the library accepts it, or otherwise by
replacing the result of its table look-ups.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sightweave.core.batch import TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.errors import CheckpointError
from sightweave.models.nn.mask import self_mask

_POSITIONS = -1
"""Index of the layer of the cache that stores positions."""
_POSITION_TABLES = ("wpe", "position_embeddings", "embed_positions", "embed_position")
"""Names of learned position tables in the libraries."""


@dataclass
class _Call:
    """The arguments of the current call that the hooks need while the stack runs."""

    positions: Int[Tensor, "B S"]
    seen: Int[Tensor, "B K"]
    """Positions of the cached tokens and of the current tokens, in the layout of the cache."""
    before_block: Callable[[int, Tensor], Tensor] | None
    masks: dict[str, Tensor]
    """Masks, by argument name, that the library would not pass on to the blocks unchanged."""


class _Calls:
    """The current call of each thread, because several batches may run at the same time."""

    def __init__(self) -> None:
        self._running: dict[int, _Call] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Calls, ()  # a copy of the model has no running calls

    @contextmanager
    def running(self, call: _Call) -> Iterator[None]:
        self._running[threading.get_ident()] = call
        try:
            yield
        finally:
            del self._running[threading.get_ident()]

    def mine(self) -> _Call | None:
        return self._running.get(threading.get_ident())


class Bridge:
    """Gives our cache the interface that Transformers' attention expects of its own cache."""

    is_compileable = False

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Appends keys and values to each row, and returns all keys and values."""
        return self._cache.extend(layer, keys, values)

    def get_seq_length(self, layer: int = 0) -> int:
        """Number of tokens of the longest row."""
        return self._cache.longest


class HookedStack:
    """One stack inside a Transformers model. It holds the module and adds hooks, but does not register the module's weights.

    Args:
        module: The module with position embeddings, blocks and final norm.
        both_ways: Whether the module's attention is bidirectional, except for what the mask hides.
        hands_on: Whether the library passes a given mask to the blocks unchanged. Transformers 4 would change a
            bidirectional mask, and adds T5's mask only in layers that compute distances.

    Raises:
        CheckpointError: there is no way to set the positions, or some blocks have neither full nor sliding-window
            attention.
    """

    def __init__(self, module: Any, both_ways: bool = False, hands_on: bool = True) -> None:
        self.module, self.config, self._both_ways, self._hands_on = module, module.config, both_ways, hands_on
        lists = [layer for layer in module.modules() if isinstance(layer, nn.ModuleList) and len(layer)]
        if not lists:
            raise CheckpointError(f"{self._name}: no list of blocks found.")

        self.blocks = lists[0]
        self._calls = _Calls()
        for index, block in enumerate(self.blocks):
            names = list(inspect.signature(block.forward).parameters)
            hook = partial(_before_block, self._calls, index, names)
            block.register_forward_pre_hook(hook, with_kwargs=True)

        known = inspect.signature(module.forward).parameters
        self._takes_positions = "position_ids" in known
        # The first is the argument's name from Transformers 5.24 on, the second its name before.
        self._past = "cache" if "cache" in known else "past_key_values"
        self._has_distances = False
        self._offset = 0
        self._most: int | None = None
        self._prepare_positions()
        self._window, self._types = self._windows()

    @property
    def _name(self) -> str:
        """Name of the model in error messages."""
        return f"{self.config.model_type} ({type(self.module).__name__})"

    def _prepare_positions(self) -> None:
        """Determines how the module gets positions, and adds hooks if it does not accept them as an argument."""
        table = self._position_table()

        if self._takes_positions:
            if hasattr(getattr(self.module, "embeddings", None), "create_position_ids_from_inputs_embeds"):
                self._offset = self.module.embeddings.padding_idx + 1  # RoBERTa's first position
        elif table is not None:
            table.register_forward_hook(partial(_look_up, self._calls))
            self._offset = _first_row(table)
        else:
            distances = [layer for layer in self.blocks.modules() if _has_distances(layer)]
            if not distances:
                raise CheckpointError(
                    f"{self._name}: computes positions itself, so packed samples would affect each other."
                )
            self._has_distances = True
            for layer in distances:
                hook = partial(_by_distance, self._calls, self._hands_on)
                layer.register_forward_pre_hook(hook, with_kwargs=True)

        if isinstance(table, nn.Embedding):
            self._most = table.num_embeddings - self._offset

    def _position_table(self) -> nn.Module | None:
        """The table of position embeddings of the module; None if it has no such table."""
        tables: dict[str, nn.Module] = {}
        for path, layer in self.module.named_modules():
            name = path.rpartition(".")[2]
            if name in _POSITION_TABLES:
                tables[name] = layer

        return next(iter(tables.values()), None)

    def _windows(self) -> tuple[int | None, set[str]]:
        """Size of the attention window and types of the blocks; None or empty if there are none."""
        types = set(getattr(self.config, "layer_types", None) or ())
        unsupported = types - {"full_attention", "sliding_attention"}
        if unsupported:
            raise CheckpointError(
                f"{self._name}: has blocks of type {sorted(unsupported)}, whose masks cannot be set."
            )

        window = getattr(self.config, "sliding_window", None)
        return (None, set()) if types == {"full_attention"} else (window, types)

    def run(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        *,
        cache: Cache | None = None,
        past: Any = None,
        before_block: Callable[[int, Tensor], Tensor] | None = None,
        **more: Any,
    ) -> Float[Tensor, "B S D"]:
        """Runs all blocks and the final norm, and returns their output.

        Args:
            hidden: Token embeddings, including those of images.
            tokens: The tokens: their positions, and the vectors that determine which tokens may attend to which.
            cache: Keys and values of earlier tokens; its length is not advanced here.
            past: The same cache, with the interface that the library expects.
            before_block: Called before each block with the block's index and the hidden state; returns the new hidden
                state.
            more: Further arguments for the stack.

        Raises:
            ValueError: a position is outside the table of learned positions.
        """
        positions = tokens.positions
        if self._most is not None and positions.numel() and int(positions.max()) >= self._most:
            raise ValueError(
                f"position {int(positions.max())} is outside the {self._most} positions of {self._name}; "
                "shorten the texts (inputs.max_length)."
            )

        # Collect the positions of all keys if blocks need the distances to cached tokens.
        seen = positions
        if cache is not None and (self._window is not None or self._has_distances):
            kept = positions[:, None, :, None]
            seen = cache.extend(_POSITIONS, kept, kept)[0][:, 0, :, 0]

        if self._takes_positions:
            more["position_ids"] = positions + self._offset
        if past is not None:
            more |= {self._past: past, "use_cache": True}
        more["attention_mask"] = self._masks(_table(tokens, cache), positions, seen, hidden.dtype)

        # A mask that the library would change is instead passed to the blocks by their hooks.
        masks = {}
        by_hook = "attention_mask" if self._both_ways else "encoder_attention_mask"
        if not self._hands_on and by_hook in more:
            masks[by_hook] = more.pop(by_hook)

        with self._calls.running(_Call(positions, seen, before_block, masks)):
            output = self.module(inputs_embeds=hidden, **more)

        return output.last_hidden_state  # type: ignore[no-any-return]  # the library's own type

    def _masks(
        self, table: Bool[Tensor, "b 1 S K"], positions: Tensor, seen: Tensor, dtype: torch.dtype
    ) -> Tensor | dict[str, Tensor]:
        """The mask for all blocks, or a dictionary with one mask for each type of block."""
        if self._window is None:
            return added(table, dtype)

        distance = (positions[:, :, None] - seen[:, None, :])[:, None]
        near = distance.abs() <= self._window if self._both_ways else distance < self._window
        if not self._types:
            return added(table & near, dtype)

        return {"full_attention": added(table, dtype), "sliding_attention": added(table & near, dtype)}


def added(table: Bool[Tensor, "b 1 S K"], dtype: torch.dtype) -> Float[Tensor, "b 1 S K"]:
    """Converts a boolean mask to values to add to the scores: 0 where it is true, minus infinity elsewhere."""
    return torch.zeros(table.shape, dtype=dtype, device=table.device).masked_fill_(~table, -torch.inf)


def _table(tokens: TokenSequence, cache: Cache | None) -> Bool[Tensor, "b 1 S K"]:
    """The boolean mask of a sequence that follows the cached tokens; it has only one row if it is simply causal."""
    dense = self_mask(tokens, cache).dense
    if dense is not None:
        return dense

    length = tokens.ids.shape[1]
    before = 0 if cache is None else cache.longest
    whole = torch.ones(1, 1, length, before + length, dtype=torch.bool, device=tokens.ids.device)
    return whole.tril(before)


def _before_block(
    calls: _Calls, index: int, names: list[str], block: nn.Module, args: Any, kwargs: Any
) -> Any:
    """Forward pre-hook of a block: sets the block's masks and lets `before_block` change the hidden state."""
    call = calls.mine()
    if call is None:
        return None

    arguments = dict(zip(names, args, strict=False)) | kwargs | call.masks
    if call.before_block is not None:
        arguments[names[0]] = call.before_block(index, arguments[names[0]])

    positional = tuple(arguments.pop(name) for name in names[: len(args)])
    return positional, arguments


def _first_row(table: nn.Module) -> int:
    """Index of the table's row for position 0."""
    if isinstance(table, nn.Embedding):
        return int(getattr(table, "offset", 0))

    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else padding + 1


def _look_up(calls: _Calls, table: nn.Module, args: Any, output: Tensor) -> Tensor:
    """Forward hook of a position table: returns the rows of our positions instead of the rows that the library looked up."""
    call = calls.mine()
    if call is None:
        return output

    rows = table.weight if isinstance(table, nn.Embedding) else table.weights
    assert isinstance(rows, Tensor)
    return nn.functional.embedding(call.positions + _first_row(table), rows)


def _has_distances(layer: Any) -> bool:
    """Whether an attention layer adds a bias for each distance, as T5 does."""
    if not hasattr(layer, "relative_attention_bias"):
        return False

    return "bidirectional" in inspect.signature(layer._relative_position_bucket).parameters


def _by_distance(calls: _Calls, hands_on: bool, attention: Any, args: Any, kwargs: Any) -> Any:
    """Forward pre-hook of T5's attention: computes the biases from our positions."""
    call = calls.mine()
    if call is None:
        return None

    distance = call.seen[:, None, :] - call.positions[:, :, None]
    bucket = attention._relative_position_bucket(
        distance,
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )

    bias = attention.relative_attention_bias(bucket).permute(0, 3, 1, 2)
    return args, kwargs | {"position_bias": bias if hands_on else bias + kwargs["mask"]}
