"""Keys, values and whatever else a model must remember between two calls while it generates."""

import torch
from torch import Tensor


class Cache:
    """What was already read, with a length per row.

    Rows may differ in length: new keys are written behind each row's own, so prompts padded on the right need no care.
    ``slots`` hold what is computed once (an encoder's memory, a fusion's keys): tuples of tensors with rows first.

    Args:
        rows: Rows B.
        capacity: Tokens to make room for at once; it grows where needed.
    """

    def __init__(self, rows: int, *, capacity: int = 0) -> None:
        self.rows = rows
        self.capacity = capacity
        self.lengths = torch.zeros(rows, dtype=torch.int64)
        self.longest = 0
        self.uniform = True
        self.slots: dict[str, tuple[Tensor, ...]] = {}
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
            room = max(self.capacity, self.longest + length if held is None else 2 * (self.longest + length))
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

    def select(self, rows: Tensor) -> "Cache":
        """A new cache whose row i continues row ``rows[i]``: for beams, and for many prompts behind one prefix."""
        chosen = Cache(len(rows), capacity=self.capacity)
        chosen.lengths = self.lengths[rows.to(self.lengths.device)]
        chosen.longest = int(chosen.lengths.max()) if len(rows) else 0
        chosen.uniform = not len(rows) or chosen.longest == int(chosen.lengths.min())
        chosen._keys = {layer: keys[rows] for layer, keys in self._keys.items()}
        chosen._values = {layer: values[rows] for layer, values in self._values.items()}
        chosen.slots = {name: tuple(part[rows] for part in slot) for name, slot in self.slots.items()}
        return chosen
