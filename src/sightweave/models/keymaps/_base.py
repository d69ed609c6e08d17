"""A family's table, read in both directions, and the way from a folder of Transformers to a part with its weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sightweave.core import catalog, checkpoint, transformers_folder
from sightweave.core import config as configs
from sightweave.core.errors import CheckpointError, did_you_mean
from sightweave.models.nn.embedding import with_new_rows
from sightweave.models.nn.position import resize_grid

_FAMILY = "models.keymaps"


class NoFamily(CheckpointError):
    """No family that loads natively computes what the checkpoint does; an adapter may."""


_BY_TOKEN = ("token_embedding.table.weight", "output.weight")
"""Tables with a row for each token of the vocabulary."""
_HELD = r"\.weight|\.bias|\.running_mean|\.running_var|\.num_batches_tracked"
"""Endings of the names of what a layer holds."""


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """How one family of Transformers' checkpoints becomes a part of ours."""

    part: str
    """Which part it is: ``encoder`` or ``language_model``."""
    kind: str
    """The kind of that part which computes the same."""
    model_types: tuple[str, ...]
    """``model_type`` in their config.json."""
    when: Callable[[Mapping[str, Any]], bool] = lambda theirs: True
    """Their config -> whether this table is the one, where several have that ``model_type``."""
    names: Mapping[str, str]
    """Our name -> theirs, of a weight or of a layer that holds some; ``{n}``, or another letter, is a number in both."""
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
    lead: Mapping[str, int] = field(default_factory=dict)
    """Axes of one that theirs has before those of a weight of ours."""
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
                found[renamed] = value[(0,) * self.lead[renamed]] if renamed in self.lead else value
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
                raise CheckpointError(f"{name}: the {self.model_types[0]} family has no such weight.")
            found[self.roots[0] + renamed] = value[(None,) * self.lead[name]] if name in self.lead else value
        return found

    def _renamed(self, name: str, root: str) -> str | None:
        if not name.startswith(root):
            return None
        return _rename(name.removeprefix(root), [(theirs, ours) for ours, theirs in self.names.items()])


def _rename(name: str, table: list[tuple[str, str]]) -> str | None:
    for old, new in table:
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(old))
        if match := re.fullmatch(rf"{pattern}(?P<rest>{_HELD})?", name):
            return new.format(**match.groupdict()) + (match["rest"] or "")
    return None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part stands in the checkpoint of a whole model."""

    inner: str = ""
    """Key of the part's config in that of the whole; empty where it has none of its own."""
    names: tuple[tuple[str, str], ...]
    """How the names of its weights begin in the whole, and how in the part's family."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda theirs: {}
    """The whole's config -> fields of the part that the part's own config does not give."""

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part's weights out of all, under the names of its family."""
        found = {}
        for name, value in tensors.items():
            pair = next((pair for pair in self.names if name.startswith(pair[0])), None)
            if pair is not None:
                found[pair[1] + name.removeprefix(pair[0])] = value
        return found


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A family of whole models: an encoder and a language model of any family that loads, and a connector between them."""

    model_types: tuple[str, ...]
    """``model_type`` in their config.json."""
    places: Mapping[str, Place]
    """Where ``encoder``, ``connector`` and ``language_model`` stand."""
    connector: KeyMap
    """The connector's own table."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A part that a config.json tells of."""

    keymap: KeyMap
    settings: Mapping[str, Any]
    """What the config says of the part."""
    whole: Mapping[str, Any]
    """All of the config."""
    place: Place | None = None
    """Where it stands, in a whole model."""


def find(config: Mapping[str, Any], part: str, *, where: str) -> Found:
    """The family of a config.json, and the settings in it that are the part's.

    Raises:
        NoFamily: none for this part has that ``model_type``; those that there are are named.
    """
    modules = [catalog.module(_FAMILY, kind) for kind in catalog.kinds(_FAMILY)]
    wholes = {name: one.WHOLE for one in modules if hasattr(one, "WHOLE") for name in one.WHOLE.model_types}
    parts: list[KeyMap] = [one.KEYMAP for one in modules if hasattr(one, "KEYMAP")]
    known = {name: one for one in parts if one.part == part and one.when(config) for name in one.model_types}
    model_type = str(config.get("model_type"))
    if model_type in wholes:
        whole: Whole = wholes[model_type]
        place = whole.places[part]
        if part == "connector":
            return Found(keymap=whole.connector, settings=config, whole=config, place=place)
        inner = config.get(place.inner)
        found = find(inner if isinstance(inner, dict) else {}, part, where=f"{where}: {place.inner}")
        return Found(keymap=found.keymap, settings=found.settings, whole=config, place=place)
    if model_type not in known:
        raise NoFamily(
            f"{where}: model_type {model_type!r} cannot be loaded as {part}. "
            f"{did_you_mean(model_type, known | wholes)}"
        )
    keymap = known[model_type]
    inner = config.get(keymap.inner)
    settings = inner if keymap.inner and isinstance(inner, dict) else config
    return Found(keymap=keymap, settings=settings, whole=config)


def read(folder: Path | str, part: str) -> dict[str, Any]:
    """The kind and the fields of the part that a folder of Transformers holds, as a recipe names them.

    Raises:
        CheckpointError: no such folder or file, or a damaged one.
        NoFamily: another family, or settings with which our part would not compute the same.
    """
    found = find(transformers_folder.read_config(folder), part, where=str(folder))
    try:
        more = {} if found.place is None else found.place.fields(found.whole)
        return {"kind": found.keymap.kind, **found.keymap.fields(found.settings), **more}
    except KeyError as error:
        raise CheckpointError(f"{folder}: its config.json has no {error}.") from None
    except ValueError as error:
        raise NoFamily(f"{folder}: {error}") from None


def vocab_size(folder: Path | str) -> int:
    """Rows of the table of token embeddings in a folder, of any family.

    Raises:
        CheckpointError: no such folder, or its config.json does not say.
    """
    config = transformers_folder.read_config(folder)
    inner = config.get("text_config")
    found = config.get("vocab_size", inner.get("vocab_size") if isinstance(inner, dict) else None)
    if not isinstance(found, int):
        raise CheckpointError(f"{folder}: its config.json has no vocab_size (got {found!r}).")
    return found


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
        keymap: KeyMap | None = getattr(catalog.module(_FAMILY, name), "KEYMAP", None)
        if keymap is None or keymap.part != part or keymap.kind != kind or keymap.settings is None:
            continue
        try:
            return keymap, keymap.settings(config)
        except ValueError as error:
            reasons.append(f"{keymap.model_types[0]}: {error}")
    raise ValueError("; ".join(reasons) or f"no Transformers family corresponds to {kind}")


def read_tensors(folder: Path | str, part: str) -> tuple[Found, dict[str, Tensor], list[str]]:
    """What a folder says of a part, its weights under our names as they are, and the names that no line knows.

    Raises:
        CheckpointError: as `read` and `transformers_folder.read_tensors`.
    """
    found = find(transformers_folder.read_config(folder), part, where=str(folder))
    everything = transformers_folder.read_tensors(folder)
    tensors, unknown = found.keymap.ours(everything if found.place is None else found.place.of(everything))
    return found, tensors, unknown


def load_into(module: nn.Module, folder: Path | str, part: str) -> None:
    """Puts the weights of a folder of Transformers into a part; a table of places is resized to the part's grid.

    Args:
        module: The part, built with the fields that `read` gave; on an error it is unchanged.
        folder: As written by ``save_pretrained``.
        part: ``encoder``, ``connector`` or ``language_model``.

    Raises:
        CheckpointError: as `read_tensors`; other names or shapes than the part's.
    """
    found, tensors, unknown = read_tensors(folder, part)
    keymap = found.keymap
    own = module.state_dict()
    if part == "encoder":  # one that is to read the features of an earlier block has fewer
        tensors = {name: value for name, value in tensors.items() if _has_block(own, name)}
    for name, twin in keymap.tied.items():
        if twin not in tensors:
            continue
        if name in tensors and name not in own and tensors[name].equal(tensors[twin]):
            del tensors[name]
        elif name in own and name not in tensors and found.settings.get("tie_word_embeddings"):
            tensors[name] = tensors[twin]
    for name in keymap.optional:
        if name not in own:
            tensors.pop(name, None)
    for name in tensors.keys() & own.keys():
        if tensors[name].shape != own[name].shape:
            tensors[name] = _resized(name, tensors[name], own[name])
    there = {name: tuple(value.shape) for name, value in tensors.items()}
    there |= {name: () for name in unknown}
    expected = {name: tuple(value.shape) for name, value in own.items()}
    checkpoint.compare_shapes(Path(folder), there, expected)
    module.load_state_dict(tensors)


def _has_block(own: Mapping[str, Tensor], name: str) -> bool:
    """Whether a weight belongs to no block, or to one that there is."""
    number = re.match(r"blocks\.(\d+)\.", name)
    return number is None or any(one.startswith(number[0]) for one in own)


def _resized(name: str, table: Tensor, own: Tensor) -> Tensor:
    """A table as large as the part's: places are interpolated, and the rows of new tokens are drawn near the others."""
    if name == "place_table":
        return resize_grid(table, own.shape[0])
    if name in _BY_TOKEN and table.shape[1:] == own.shape[1:] and len(table) < len(own):
        return with_new_rows(table, own[len(table) :])
    return table


def refuse(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for settings (given, and what ours computes) that differ, each by name."""
    faults = [
        f"{name} is {given!r}, but only {ours!r} is supported"
        for name, (given, ours) in wrong.items()
        if given != ours
    ]
    if faults:
        raise ValueError("; ".join(faults) + ". Use another checkpoint.")


def need(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for fields of ours (as set, and what the family computes) that differ, each by name."""
    faults = [
        f"{name} is {ours!r} (theirs: {theirs!r})" for name, (ours, theirs) in wrong.items() if ours != theirs
    ]
    if faults:
        raise ValueError("; ".join(faults))
