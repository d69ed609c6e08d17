"""Tensors that several files of a checkpoint hold together: each file has some rows of every tensor.

The files of N processes are named ``state-00001-of-00004.safetensors`` and so on. The rows of a tensor are in the order of
the files; a tensor that is in one file only is whole. Nothing here holds more than one tensor in memory.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sightweave.core import files
from sightweave.core.checkpoint import check_finite
from sightweave.core.errors import CheckpointError

_NAME = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
_ALIGNMENT = 8


def file_name(name: str, rank: int, size: int) -> str:
    """Name of the file of one of several processes.

    Args:
        name: Common name, such as ``state``.
        rank: Number of the process, from 0.
        size: Number of processes.
    """
    return f"{name}-{rank + 1:05d}-of-{size:05d}.safetensors"


def files_of(folder: Path, name: str) -> list[Path]:
    """The files of all processes, in order; empty if there are none.

    Raises:
        CheckpointError: one of them is missing, or they are those of different numbers of processes.
    """
    found = []
    for path in sorted(folder.glob(f"{name}-*.safetensors")):
        match = _NAME.fullmatch(path.name)
        if match and match["name"] == name:
            found.append(match)
    if not found:
        return []

    count = int(found[0]["count"])
    expected = [file_name(name, rank, count) for rank in range(count)]
    names = [match[0] for match in found]
    if names != expected:
        missing = sorted(set(expected) - set(names)) or sorted(set(names) - set(expected))
        raise CheckpointError(
            f"{folder}: expected {count} files {expected[0]} to {expected[-1]}, but {', '.join(missing[:5])} is missing or "
            "does not belong to them; copy the folder again."
        )
    return [folder / one for one in expected]


class ShardedTensors(Mapping[str, Tensor]):
    """The whole tensors by name; each is read when it is asked for.

    Args:
        paths: The files, in the order of the rows.
        aliases: For each file, the stored name by each other name of the same tensor.
        prefix: Only tensors with this prefix, which is left out of their names.

    Raises:
        CheckpointError: a file is not a safetensors file.
    """

    def __init__(
        self, paths: Sequence[Path], aliases: Sequence[Mapping[str, str]] | None = None, prefix: str = ""
    ) -> None:
        self.paths, self.prefix = list(paths), prefix
        self.aliases = list(aliases or [{} for _ in paths])
        self._places: dict[str, list[tuple[Path, str]]] = {}
        for path, others in zip(self.paths, self.aliases, strict=True):
            with _opened(path) as stored:
                names = {key: key for key in stored.keys()}  # noqa: SIM118  # no dict
            names |= {alias: kept for alias, kept in others.items() if kept in names}
            for name, kept in names.items():
                if name.startswith(prefix):
                    self._places.setdefault(name.removeprefix(prefix), []).append((path, kept))

    def __getitem__(self, name: str) -> Tensor:
        rows = []
        for path, kept in self._places[name]:
            with _opened(path) as stored:
                rows.append(stored.get_tensor(kept))
            check_finite(path, {kept: rows[-1]})
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # that of `Mapping` would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def group(self, prefix: str) -> ShardedTensors:
        """The tensors whose names begin with a prefix, without it."""
        return ShardedTensors(self.paths, self.aliases, self.prefix + prefix)

    def write(self, path: Path, names: Mapping[str, str]) -> None:
        """Writes some of the tensors into one safetensors file, one after the other.

        Args:
            path: The file.
            names: For each tensor to write, the name under which it is stored here.
        """
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        # Types with the largest values first, so that all values are aligned.
        kinds = {name: self._kind(stored) for name, stored in names.items()}
        order = sorted(names, key=lambda name: (-kinds[name][2], name))
        end = 0
        for name in order:
            dtype, shape, width = kinds[name]
            begin, end = end, end + width * _product(shape)
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

        text = json.dumps(header).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        with path.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                value = self[names[name]].contiguous().reshape(-1)
                stream.write(value.view(torch.uint8).numpy().tobytes())
        files.follow_umask(path)

    def _kind(self, name: str) -> tuple[str, list[int], int]:
        """Type, shape and bytes of a value of a tensor, from the headers of its files."""
        shape: list[int] = []
        for path, kept in self._places[name]:
            with _opened(path) as stored:
                part = stored.get_slice(kept)
                dtype, own = str(part.get_dtype()), list(part.get_shape())
            shape = [shape[0] + own[0], *own[1:]] if shape else own
        return dtype, shape, _WIDTHS[dtype]


_WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a value of each type of safetensors."""


def _product(shape: Sequence[int]) -> int:
    found = 1
    for one in shape:
        found *= one
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as stored:
            yield stored
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}. Copy it again.") from error
