"""Keys, values and whatever else a model must remember between two calls while it generates."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class Cache:
    """What was already read, with a length per row.

    Rows may differ in length: new keys are written behind each row's own, so prompts padded on the right need no care.
    ``slots`` hold what is computed once (an encoder's memory, a fusion's keys): tuples of tensors with rows first.

    Args:
        rows: Rows B.
        capacity: Tokens to make room for at once; it grows by half where needed. Room that stays empty costs time:
            rows lie further apart in memory, and `select` copies it.
    """

    def __init__(self, rows: int, *, capacity: int = 0) -> None:
        self.rows = rows
        self.capacity = capacity
        self.lengths = torch.zeros(rows, dtype=torch.int64)
        self.longest = 0
        self.uniform = True
        self.slots: dict[str, tuple[Tensor, ...]] = {}
        self.padding: Tensor | None = None
        """bool B S: slots that hold no token, after `begin` with rows that differ in length."""
        self.shared: Shared | None = None
        """What stands in front of the rows' own tokens; lengths do not count it. Only `FastDecoding` reads it."""
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes ``B Hkv S Dh`` behind each row's own and returns all keys and values up to the longest row."""
        width = self.longest + keys.shape[2]
        return (
            self._write(self._keys, layer, keys)[:, :, :width],
            self._write(self._values, layer, values)[:, :, :width],
        )

    def _write(self, store: dict[int, Tensor], layer: int, new: Tensor) -> Tensor:
        length = new.shape[2]
        held = store.get(layer)
        if held is None or held.shape[2] < self.longest + length:
            room = max(
                self.capacity, self.longest + length if held is None else 3 * (self.longest + length) // 2 + 1
            )
            grown = new.new_zeros(new.shape[0], new.shape[1], room, new.shape[3])
            if held is not None:
                grown[:, :, : self.longest] = held[:, :, : self.longest]
            held = store[layer] = grown
        if self.uniform:
            held[:, :, self.longest : self.longest + length] = new
        else:
            at = self.lengths.to(new.device)[:, None] + torch.arange(length, device=new.device)  # B S
            held.transpose(1, 2)[torch.arange(self.rows, device=new.device)[:, None], at] = new.transpose(
                1, 2
            )
        return held

    def advance(self, valid: Tensor) -> None:
        """Counts what the last call added: ``valid`` is bool B S, False on padding."""
        self.lengths = self.lengths + valid.sum(1).to(self.lengths.device)
        self.longest = int(self.lengths.max())
        self.uniform = self.longest == int(self.lengths.min())

    def place(
        self, layer: int, row: Tensor, slot: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Writes the first tokens of all rows of an empty cache, given without padding; `begin` counts them.

        Args:
            layer: Whose they are.
            row: int64 N: of each token.
            slot: int64 N: place in its row.
            keys: N Hkv Dh.
            values: N Hkv Dh.

        Returns:
            All keys and values, ``B Hkv S Dh`` each, with zeros behind shorter rows.
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
        """Counts what `place` wrote: rows go on at the same slot, behind padding where they are shorter."""
        self.longest = int(lengths.max())
        self.lengths = torch.full_like(lengths, self.longest)
        if self.longest > int(lengths.min()):
            self.padding = torch.arange(self.longest) >= lengths[:, None]

    def select(self, rows: Tensor) -> Cache:
        """A new cache whose row i continues row ``rows[i]``: for beams, and for many prompts behind one prefix."""
        chosen = Cache(len(rows), capacity=self.capacity)
        chosen._keys = {layer: keys.index_select(0, rows) for layer, keys in self._keys.items()}
        chosen._values = {layer: values.index_select(0, rows) for layer, values in self._values.items()}
        chosen._take(self, rows)
        return chosen

    def keep(self, rows: Tensor) -> None:
        """Makes row ``rows[i]`` row i, in place: only those that move are copied. There may be no more than before."""
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero()[:, 0]
        for store in (self._keys, self._values):
            for layer, held in store.items():
                held.index_copy_(0, moved, held.index_select(0, rows[moved]))
                store[layer] = held[: len(rows)]
        self._take(self, rows)

    def _take(self, source: Cache, rows: Tensor) -> None:
        """All but the keys and values of some rows."""
        self.rows = len(rows)
        self.lengths = source.lengths[rows.to(source.lengths.device)]
        self.longest = int(self.lengths.max()) if len(rows) else 0
        self.uniform = not len(rows) or self.longest == int(self.lengths.min())
        self.slots = {name: tuple(part[rows] for part in slot) for name, slot in source.slots.items()}
        self.padding = None if source.padding is None else source.padding[rows]
        self.shared = None if source.shared is None else source.shared.select(rows)


class Groups:
    """Rows in groups that look at the same keys and values: attention is one matrix product for each group and head.

    Groups are padded to the size N of the largest, and a group's rows are the positions of the product.

    Args:
        group: int64 B: the group of each row, from 0 to P - 1.
        num_groups: Groups P.
        heads: Key-value heads Hkv.
    """

    def __init__(self, group: Tensor, num_groups: int, heads: int) -> None:
        sizes = torch.bincount(group, minlength=num_groups)
        size = int(sizes.max())

        # Which row of its group each row is, without asking that groups stand together.
        order = group.argsort(stable=True)
        place = torch.empty_like(group)
        place[order] = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group[order]]
        row_at = torch.zeros(num_groups, size, dtype=torch.int64)
        row_at[group, place] = torch.arange(len(group))

        # Of B*Hkv queries those at each place of each group and head (padding repeats row 0), and the way back.
        head = torch.arange(heads)
        self._gather = (row_at[:, None] * heads + head[:, None]).flatten()  # P*Hkv*N
        self._scatter = ((group[:, None] * heads + head) * size + place[:, None]).flatten()  # B*Hkv

    def scores(
        self, queries: Float[Tensor, "R G Dh"], keys: Float[Tensor, "P Hkv T Dh"], scale: float = 1.0
    ) -> Float[Tensor, "R G T"]:
        """Products of the queries of each row and head (R = B Hkv) with its group's keys, times `scale`."""
        return self._product(queries, keys.flatten(0, 1).mT, scale)

    def values(
        self, weights: Float[Tensor, "R G T"], values: Float[Tensor, "P Hkv T Dh"]
    ) -> Float[Tensor, "R G Dh"]:
        """Sums of its group's values, weighted for each row and head (R = B Hkv)."""
        return self._product(weights, values.flatten(0, 1))

    def _product(self, rows: Tensor, matrices: Tensor, scale: float = 1.0) -> Tensor:
        each, length = rows.shape[1:]
        together = rows.flatten(1).index_select(0, self._gather).view(len(matrices), -1, length)
        found = torch.baddbmm(together.new_zeros(()), together, matrices, beta=0.0, alpha=scale)
        return (
            found.view(-1, each * matrices.shape[2]).index_select(0, self._scatter).view(len(rows), each, -1)
        )


class Shared:
    """Keys and values that several rows begin with, held once.

    Args:
        keys: By layer: ``P Hkv T Dh``.
        values: By layer: ``P Hkv T Dh``.
        group: int64 B: which of the P each row continues.
    """

    def __init__(self, keys: dict[int, Tensor], values: dict[int, Tensor], group: Tensor) -> None:
        self.keys, self.values, self.group = keys, values, group
        self.groups = self.grouped(group)

    @classmethod
    def of(cls, prefix: Cache, group: Tensor) -> Shared:
        """All texts of a cache, which have one length."""
        length = prefix.longest
        # Scores are quicker where the numbers of one channel, not those of one token, lie side by side.
        keys = {layer: whole[:, :, :length].mT.contiguous().mT for layer, whole in prefix._keys.items()}
        values = {layer: whole[:, :, :length].contiguous() for layer, whole in prefix._values.items()}
        return cls(keys, values, group)

    def grouped(self, group: Tensor) -> Groups:
        """Other rows, such as several tokens of each, that look at the same."""
        held = self.keys[0]
        return Groups(group, len(held), held.shape[1])

    def select(self, rows: Tensor) -> Shared:
        """For some rows; groups without any are dropped once they are a quarter of all."""
        group = self.group[rows]
        used, renumbered = torch.unique(group, return_inverse=True)
        if len(used) > 0.75 * len(self.keys[0]):
            return Shared(self.keys, self.values, group)
        keys = {layer: whole.mT.index_select(0, used).mT for layer, whole in self.keys.items()}
        values = {layer: whole.index_select(0, used) for layer, whole in self.values.items()}
        return Shared(keys, values, renumbered)
