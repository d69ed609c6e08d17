"""The key-value cache of a model, and other state that it keeps between the steps of a generation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class Cache:
    """Keys and values of all tokens so far, with a separate length for each row.

    Rows may differ in length: new keys are written directly after the last token of each row, so prompts may be padded on
    the right. ``slots`` holds other results that are computed once, such as an encoder's memory or a fusion's keys, as
    tuples of tensors whose first dimension is the row.

    Args:
        rows: Number of rows B.
        capacity: Number of tokens per row to allocate at first; the allocation grows by half when needed. Unused space costs
            time, because rows are further apart in memory and `select` copies it.
    """

    def __init__(self, rows: int, *, capacity: int = 0) -> None:
        self.rows = rows
        self.capacity = capacity
        self.lengths = torch.zeros(rows, dtype=torch.int64)
        self.longest = 0
        self.uniform = True
        self.slots: dict[str, tuple[Tensor, ...]] = {}

        self.padding: Tensor | None = None
        """bool B S: slots without a token, after `begin` with rows of different lengths."""
        self.shared: Shared | None = None
        """A prefix before the rows' own tokens, not counted in ``lengths``. Only `FastDecoding` reads it."""

        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends new keys and values, ``B Hkv S Dh`` each, and returns all of them up to the length of the longest row.

        `advance` must be called afterwards, once for all layers.
        """
        width = self.longest + keys.shape[2]
        return (
            self._write(self._keys, layer, keys)[:, :, :width],
            self._write(self._values, layer, values)[:, :, :width],
        )

    def _write(self, store: dict[int, Tensor], layer: int, new: Tensor) -> Tensor:
        length = new.shape[2]
        held = store.get(layer)
        end = self.longest + length

        if held is None or held.shape[2] < end:
            room = max(self.capacity, end if held is None else 3 * end // 2 + 1)
            grown = new.new_zeros(new.shape[0], new.shape[1], room, new.shape[3])
            if held is not None:
                grown[:, :, : self.longest] = held[:, :, : self.longest]
            held = store[layer] = grown

        if self.uniform:
            held[:, :, self.longest : end] = new
        else:
            row = torch.arange(self.rows, device=new.device)[:, None]
            at = self.lengths.to(new.device)[:, None] + torch.arange(length, device=new.device)  # B S
            held.transpose(1, 2)[row, at] = new.transpose(1, 2)
        return held

    def advance(self, valid: Tensor) -> None:
        """Adds the tokens of the last `extend` to the lengths: ``valid`` is bool B S, False on padding."""
        self._set_lengths(self.lengths + valid.sum(1).to(self.lengths.device))

    def place(
        self, layer: int, row: Tensor, slot: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Writes the first tokens of all rows into an empty cache; `begin` must be called afterwards to set the lengths.

        The N tokens of all rows are given one after another, without padding.

        Args:
            layer: Layer of the keys and values.
            row: int64 N: the row of each token.
            slot: int64 N: the index of each token in its row.
            keys: N Hkv Dh.
            values: N Hkv Dh.

        Returns:
            All keys and values, ``B Hkv S Dh`` each, with zeros after shorter rows.
        """
        width = int(slot.max()) + 1
        written = []
        for store, new in ((self._keys, keys), (self._values, values)):
            held = new.new_zeros(self.rows, new.shape[1], max(self.capacity, width), new.shape[2])
            held[row, :, slot] = new
            store[layer] = held
            written.append(held[:, :, :width])
        return written[0], written[1]

    def begin(self, lengths: Tensor) -> None:
        """Sets the lengths after `place`: shorter rows are padded, so that all rows continue at the same index."""
        self.longest = int(lengths.max())
        self.lengths = torch.full_like(lengths, self.longest)
        if self.longest > int(lengths.min()):
            self.padding = torch.arange(self.longest) >= lengths[:, None]

    def select(self, rows: Tensor) -> Cache:
        """A new cache whose row i is a copy of row ``rows[i]``, for beam search and for prompts with a common prefix."""
        chosen = Cache(len(rows), capacity=self.capacity)
        chosen._keys = {layer: keys.index_select(0, rows) for layer, keys in self._keys.items()}
        chosen._values = {layer: values.index_select(0, rows) for layer, values in self._values.items()}
        chosen._copy_state(self, rows)
        return chosen

    def joined(self, other: Cache) -> Cache:
        """A new cache with the rows of this cache followed by those of another; each row keeps its length.

        Shared prefixes are copied into each row, and padding between tokens is removed.
        """
        first, second = self._unshared(), other._unshared()
        both = Cache(self.rows + other.rows, capacity=max(self.capacity, other.capacity))
        for layer in first._keys:
            both._keys[layer] = _concatenated([first._keys[layer], second._keys[layer]])
            both._values[layer] = _concatenated([first._values[layer], second._values[layer]])
        both._set_lengths(torch.cat([first.lengths, second.lengths]))

        for name in first.slots.keys() | second.slots.keys():
            slots = [first.slots.get(name), second.slots.get(name)]
            both.slots[name] = _concatenated_slots(slots, [self.rows, other.rows])
        return both

    def _unshared(self) -> Cache:
        """A cache with the same rows in which shared prefixes are copied into each row and padding is removed."""
        if self.padding is None and self.shared is None:
            return self

        plain = Cache(self.rows, capacity=self.capacity)
        plain.slots = self.slots

        # Move the slots of each row that hold a token to the front, in order.
        is_empty = torch.zeros(self.rows, self.longest, dtype=torch.bool)
        if self.padding is not None:
            is_empty[:, : self.padding.shape[1]] = self.padding
        order = is_empty.to(torch.uint8).argsort(dim=1, stable=True)

        prefix = 0 if self.shared is None else self.shared.keys[0].shape[2]
        for store, own, name in ((plain._keys, self._keys, "keys"), (plain._values, self._values, "values")):
            for layer, held in own.items():
                at = order[:, None, :, None].expand(-1, held.shape[1], -1, held.shape[3])
                store[layer] = held.gather(2, at)
                if self.shared is not None:
                    first = getattr(self.shared, name)[layer].index_select(0, self.shared.group)
                    store[layer] = torch.cat((first, store[layer]), 2)

        plain._set_lengths(prefix + self.lengths - is_empty.sum(1))
        return plain

    def _set_lengths(self, lengths: Tensor) -> None:
        self.lengths = lengths
        self.longest = int(lengths.max()) if len(lengths) else 0
        self.uniform = not len(lengths) or self.longest == int(lengths.min())

    def keep(self, rows: Tensor) -> None:
        """Moves row ``rows[i]`` to row i in place and drops the other rows. Only rows that change place are copied.

        There must not be more rows than before.
        """
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        for store in (self._keys, self._values):
            for layer, held in store.items():
                held.index_copy_(0, moved, held.index_select(0, rows[moved]))
                store[layer] = held[: len(rows)]
        self._copy_state(self, rows)

    def _copy_state(self, source: Cache, rows: Tensor) -> None:
        """Copies the lengths, slots, padding and shared prefix of the given rows from another cache."""
        self.rows = len(rows)
        self._set_lengths(source.lengths[rows.to(source.lengths.device)])
        slots = {}  # the source may be this cache itself
        for name, slot in source.slots.items():
            slots[name] = tuple(part[rows] for part in slot)
        self.slots = slots
        self.padding = None if source.padding is None else source.padding[rows]
        self.shared = None if source.shared is None else source.shared.select(rows)


def _concatenated(parts: Sequence[Tensor]) -> Tensor:
    """Concatenates tensors along the first dimension after padding all other dimensions with zeros to the largest size."""
    count = sum(len(part) for part in parts)
    shapes = [part.shape[1:] for part in parts]
    size = [max(sides) for sides in zip(*shapes, strict=True)]

    full = parts[0].new_zeros(count, *size)
    start = 0
    for part in parts:
        place = (slice(start, start + len(part)), *map(slice, part.shape[1:]))
        full[place] = part
        start += len(part)
    return full


def _concatenated_slots(
    parts: Sequence[tuple[Tensor, ...] | None], rows: Sequence[int]
) -> tuple[Tensor, ...]:
    """Concatenates one slot of two caches; a missing slot is replaced by zeros, which count as invalid."""
    like = next(part for part in parts if part is not None)
    held = []
    for part, count in zip(parts, rows, strict=True):
        if part is None:
            part = tuple(one.new_zeros(count, *one.shape[1:]) for one in like)
        held.append(part)
    return tuple(_concatenated(pair) for pair in zip(*held, strict=True))


class Groups:
    """Groups of rows that attend to the same keys and values, so that one matrix product serves a whole group and head.

    Each group is padded to the size N of the largest.

    Args:
        group: int64 B: the group of each row, from 0 to P - 1.
        num_groups: Number of groups P.
        heads: Key-value heads Hkv.
    """

    def __init__(self, group: Tensor, num_groups: int, heads: int) -> None:
        sizes = torch.bincount(group, minlength=num_groups)
        size = int(sizes.max())

        # The index of each row within its group; the rows of a group need not be contiguous.
        order = group.argsort(stable=True)
        place = torch.empty_like(group)
        place[order] = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group[order]]
        row_at = torch.zeros(num_groups, size, dtype=torch.int64)
        row_at[group, place] = torch.arange(len(group))

        # The first index tensor gathers the B*Hkv queries into groups (padding repeats row 0); the second one reverses that.
        head = torch.arange(heads)
        self._gather = (row_at[:, None] * heads + head[:, None]).flatten()  # P*Hkv*N
        self._scatter = ((group[:, None] * heads + head) * size + place[:, None]).flatten()  # B*Hkv

    def scores(
        self, queries: Float[Tensor, "R G Dh"], keys: Float[Tensor, "P Hkv T Dh"], scale: float = 1.0
    ) -> Float[Tensor, "R G T"]:
        """Attention scores of each row and head (R = B Hkv): its queries times the keys of its group, times `scale`."""
        return self._product(queries, keys.flatten(0, 1).mT, scale)

    def values(
        self, weights: Float[Tensor, "R G T"], values: Float[Tensor, "P Hkv T Dh"]
    ) -> Float[Tensor, "R G Dh"]:
        """Attention outputs of each row and head (R = B Hkv): the weighted sums of its group's values."""
        return self._product(weights, values.flatten(0, 1))

    def _product(self, rows: Tensor, matrices: Tensor, scale: float = 1.0) -> Tensor:
        each, length = rows.shape[1:]
        together = rows.flatten(1).index_select(0, self._gather).view(len(matrices), -1, length)
        found = torch.baddbmm(together.new_zeros(()), together, matrices, beta=0.0, alpha=scale)
        flat = found.view(-1, each * matrices.shape[2]).index_select(0, self._scatter)
        return flat.view(len(rows), each, -1)


class Shared:
    """Keys and values of prefixes shared by several rows, stored once.

    Args:
        keys: Keys by layer, ``P Hkv T Dh`` each, for P prefixes of T tokens.
        values: Values by layer, ``P Hkv T Dh`` each.
        group: int64 B: the index of the prefix that each row continues.
    """

    def __init__(self, keys: dict[int, Tensor], values: dict[int, Tensor], group: Tensor) -> None:
        self.keys, self.values, self.group = keys, values, group
        self.groups = self.grouped(group)

    @classmethod
    def of(cls, prefix: Cache, group: Tensor) -> Shared:
        """Takes the prefixes from a cache, one per row; all rows must have the same length."""
        length = prefix.longest
        # Scores are computed faster if each channel, rather than each token, is contiguous in memory.
        keys = {layer: whole[:, :, :length].mT.contiguous().mT for layer, whole in prefix._keys.items()}
        values = {layer: whole[:, :, :length].contiguous() for layer, whole in prefix._values.items()}
        return cls(keys, values, group)

    def grouped(self, group: Tensor) -> Groups:
        """The grouping of other rows that attend to the same prefixes, such as one row for each of several tokens.

        `group` gives the number of the prefix of each row.
        """
        held = self.keys[0]
        return Groups(group, len(held), held.shape[1])

    def select(self, rows: Tensor) -> Shared:
        """The prefixes of the given rows; unused prefixes are dropped if they are at least a quarter of all."""
        group = self.group[rows]
        used, renumbered = torch.unique(group, return_inverse=True)
        if len(used) > 0.75 * len(self.keys[0]):
            return Shared(self.keys, self.values, group)

        keys = {layer: whole.mT.index_select(0, used).mT for layer, whole in self.keys.items()}
        values = {layer: whole.index_select(0, used) for layer, whole in self.values.items()}
        return Shared(keys, values, renumbered)
