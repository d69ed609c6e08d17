"""A family's table, read in both directions, and the way from a folder of Transformers to a part with its weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightweave.core import catalog, checkpoint, transformers_folder
from sightweave.core import config as configs
from sightweave.core.errors import CheckpointError, did_you_mean
from sightweave.models.nn.position import resize_grid

_FAMILY = "models.keymaps"
_BY_TOKEN = ("token_embedding.table.weight", "output.weight")
"""Tables with a row for each token of the vocabulary."""
_NEW_TOKEN_SPREAD = 0.1
"""Deviation of the rows of new tokens, as a share of that of the others."""


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """How one family of Transformers' checkpoints becomes a part of ours."""

    part: str
    """Which part it is: ``encoder`` or ``language_model``."""
    kind: str
    """The kind of that part which computes the same."""
    model_types: tuple[str, ...]
    """``model_type`` in their config.json."""
    names: Mapping[str, str]
    """Our name -> theirs, of a weight or of a layer that holds some; ``{n}`` is the number of a block."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Their config -> fields of our kind's Config; raises ValueError where ours would not compute the same."""
    settings: Callable[[Any], dict[str, Any]] | None = None
    """Our kind's Config -> their config, the size of the vocabulary left out; raises ValueError where theirs would not
    compute the same."""
    roots: tuple[str, ...] = ("",)
    """What may stand before all of their names; the first is written."""
    unused: tuple[str, ...] = ()
    """Beginnings of names of theirs that the part does not need."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """A weight of ours that may be another one under a second name."""
    optional: tuple[str, ...] = ()
    """Weights of ours that a part may do without though the checkpoint has them."""
    inner: str = ""
    """Key of their config under which that of this part stands, where the checkpoint holds more than the part."""

    def ours(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Their weights under our names, and the names of those that no line of the table knows."""
        found: dict[str, Tensor] = {}
        unknown = []
        for name, value in tensors.items():
            renamed = next(
                (new for root in self.roots if (new := self._renamed(name, root)) is not None), None
            )
            if renamed is not None:
                found[renamed] = value
            elif not name.startswith(self.unused):
                unknown.append(name)
        return found, unknown

    def theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our weights under their names.

        Raises:
            CheckpointError: a weight that no line of the table knows.
        """
        table = list(self.names.items())
        found = {}
        for name, value in tensors.items():
            renamed = _rename(name, table)
            if renamed is None:
                raise CheckpointError(
                    f"{name}: the family {self.model_types[0]} has no place for this weight."
                )
            found[self.roots[0] + renamed] = value
        return found

    def _renamed(self, name: str, root: str) -> str | None:
        if not name.startswith(root):
            return None
        return _rename(name.removeprefix(root), [(theirs, ours) for ours, theirs in self.names.items()])


def _rename(name: str, table: list[tuple[str, str]]) -> str | None:
    for old, new in table:
        pattern = re.escape(old).replace(re.escape("{n}"), r"(?P<n>\d+)")
        if match := re.fullmatch(rf"{pattern}(?P<rest>\.weight|\.bias)?", name):
            return new.replace("{n}", match.groupdict().get("n") or "") + (match["rest"] or "")
    return None


def find(config: Mapping[str, Any], part: str, *, where: str) -> tuple[KeyMap, Mapping[str, Any]]:
    """The family of a config.json, and the settings in it that are the part's.

    Raises:
        CheckpointError: no family for this part has that ``model_type``; those that there are are named.
    """
    known: dict[str, KeyMap] = {}
    for kind in catalog.kinds(_FAMILY):
        keymap: KeyMap = catalog.module(_FAMILY, kind).KEYMAP
        known |= {name: keymap for name in keymap.model_types if keymap.part == part}
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in known:
        raise CheckpointError(
            f"{where}: model_type {model_type!r} is no family that loads as {part}. "
            f"{did_you_mean(str(model_type), known)}"
        )
    keymap = known[model_type]
    inner = config.get(keymap.inner)
    return keymap, inner if keymap.inner and isinstance(inner, dict) else config


def read(folder: Path | str, part: str) -> dict[str, Any]:
    """The kind and the fields of the part that a folder of Transformers holds, as a recipe names them.

    Raises:
        CheckpointError: no such folder, another family, or settings with which our part would not compute the same.
    """
    keymap, config = find(transformers_folder.read_config(folder), part, where=str(folder))
    try:
        return {"kind": keymap.kind, **keymap.fields(config)}
    except KeyError as error:
        raise CheckpointError(f"{folder}: its config.json has no {error}.") from None
    except ValueError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def settings(folder: Path | str, part: str) -> Mapping[str, Any]:
    """What a folder's config.json says of a part, in its own words.

    Raises:
        CheckpointError: as `read`.
    """
    return find(transformers_folder.read_config(folder), part, where=str(folder))[1]


def describe(part: str, config: Any) -> tuple[KeyMap, dict[str, Any]]:
    """The family that computes what a part of ours does, and the part's settings in its words.

    Args:
        part: ``encoder`` or ``language_model``.
        config: The part's Config.

    Raises:
        ValueError: no family does; each that is built of the same kind says why not.
    """
    kind = configs.kind_of(config)
    reasons = []
    for name in catalog.kinds(_FAMILY):
        keymap: KeyMap = catalog.module(_FAMILY, name).KEYMAP
        if keymap.part != part or keymap.kind != kind or keymap.settings is None:
            continue
        try:
            return keymap, keymap.settings(config)
        except ValueError as error:
            reasons.append(f"{keymap.model_types[0]}: {error}")
    raise ValueError("; ".join(reasons) or f"no family of Transformers' is built as {kind}")


def load_into(module: nn.Module, folder: Path | str, part: str) -> None:
    """Puts the weights of a folder of Transformers into a part; a table of places is resized to the part's grid.

    Args:
        module: The part, built with the fields that `read` gave; on an error it is unchanged.
        folder: As written by ``save_pretrained``.
        part: ``encoder`` or ``language_model``.

    Raises:
        CheckpointError: as `read` and `transformers_folder.read_tensors`; other names or shapes than the part's.
    """
    keymap, _ = find(transformers_folder.read_config(folder), part, where=str(folder))
    tensors, unknown = keymap.ours(transformers_folder.read_tensors(folder))
    own = module.state_dict()
    for name, twin in keymap.tied.items():
        if name in tensors and name not in own and tensors[name].equal(tensors[twin]):
            del tensors[name]
    for name in keymap.optional:
        if name not in own:
            tensors.pop(name, None)
    for name in tensors.keys() & own.keys():
        if tensors[name].shape != own[name].shape:
            tensors[name] = _resized(name, tensors[name], own[name])
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    found |= {name: () for name in unknown}
    expected = {name: tuple(value.shape) for name, value in own.items()}
    checkpoint.compare_shapes(Path(folder), found, expected)
    module.load_state_dict(tensors)


def _resized(name: str, table: Tensor, own: Tensor) -> Tensor:
    """A table as large as the part's: places are interpolated, and the rows of new tokens are drawn near the others."""
    if name == "place_table":
        return resize_grid(table, own.shape[0])
    if name in _BY_TOKEN and table.shape[1:] == own.shape[1:] and len(table) < len(own):
        # Around the mean of all rows a new token starts neither likelier nor unlikelier than the others.
        drawn = own[len(table) :] / own.std().clamp(min=1e-12)
        return torch.cat([table, table.mean(0) + _NEW_TOKEN_SPREAD * table.std(0) * drawn])
    return table


def refuse(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for settings (given, and what ours computes) that differ, each by name."""
    faults = [
        f"{name} is {given!r}, and only {ours!r} is built"
        for name, (given, ours) in wrong.items()
        if given != ours
    ]
    if faults:
        raise ValueError("; ".join(faults) + ". Use a checkpoint without it.")


def need(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for fields of ours (as set, and what the family computes) that differ, each by name."""
    faults = [
        f"{name} is {ours!r} (theirs: {theirs!r})" for name, (ours, theirs) in wrong.items() if ours != theirs
    ]
    if faults:
        raise ValueError("; ".join(faults))
