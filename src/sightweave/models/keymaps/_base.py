"""Tables that convert weight names in both directions, and loading of a part from a Transformers folder."""

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
    """Raised if no native kind computes the same as the checkpoint; ``from_transformers`` kinds may be able to load it."""


_BY_TOKEN = ("token_embedding.table.weight", "output.weight")
"""Names of the tables that have a row for each token of the vocabulary."""
_ENDINGS = r"\.weight|\.bias|\.running_mean|\.running_var|\.num_batches_tracked"
"""Pattern for the name endings of a layer's tensors."""


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """The mapping between the checkpoints of one Transformers family ("theirs") and one of our parts ("ours")."""

    part: str
    """The part: ``encoder``, ``connector`` or ``language_model``."""
    kind: str
    """The kind of our part that computes the same as the family."""
    model_types: tuple[str, ...]
    """Values of ``model_type`` in the family's config.json."""
    when: Callable[[Mapping[str, Any]], bool] = lambda theirs: True
    """Function that tells from their config whether this table applies, for a ``model_type`` that several tables
    share."""
    names: Mapping[str, str]
    """Maps our name of a weight (or of a layer with weights) to theirs; ``{n}`` (or another letter) is a number in
    both."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Function from their config to the fields of our kind's Config; raises ValueError if our part would not compute
    the same."""
    settings: Callable[[Any], dict[str, Any]] | None = None
    """Function from our kind's Config to their config without the vocabulary size; raises ValueError if their model
    would not compute the same."""
    roots: tuple[str, ...] = ("",)
    """Possible prefixes of all their names; the first is used for writing."""
    unused: tuple[str, ...] = ()
    """Prefixes of their names that the part does not use."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Maps the name of our weight to that of our other weight to which it may be tied."""
    lead: Mapping[str, int] = field(default_factory=dict)
    """Maps the name of our weight to the number of additional leading axes of size 1 in theirs."""
    optional: tuple[str, ...] = ()
    """Names of our weights that a part may lack although the checkpoint has them."""
    inner: str = ""
    """Key of the part's config within their config, if the checkpoint contains more than this part."""

    def ours(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Renames their weights to our names; also returns the names that are not in the table."""
        found: dict[str, Tensor] = {}
        unknown = []
        for name, value in tensors.items():
            renamed = self._our_name(name)
            if renamed is not None:
                found[renamed] = value[(0,) * self.lead[renamed]] if renamed in self.lead else value
            elif not name.startswith(self.unused):
                unknown.append(name)

        return found, unknown

    def theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames our weights to the names that the library uses.

        Raises:
            CheckpointError: a weight is not in the table.
        """
        table = list(self.names.items())

        found = {}
        for name, value in tensors.items():
            renamed = _rename(name, table)
            if renamed is None:
                raise CheckpointError(f"{name}: the {self.model_types[0]} family has no such weight.")
            found[self.roots[0] + renamed] = value[(None,) * self.lead[name]] if name in self.lead else value

        return found

    def _our_name(self, name: str) -> str | None:
        """Our name of one of their weights; None if it is not in the table."""
        table = [(theirs, ours) for ours, theirs in self.names.items()]
        for root in self.roots:
            renamed = _rename(name.removeprefix(root), table) if name.startswith(root) else None
            if renamed is not None:
                return renamed

        return None


def _rename(name: str, table: list[tuple[str, str]]) -> str | None:
    """The new name according to the first matching entry of a table; None if no entry matches."""
    for old, new in table:
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(old))
        match = re.fullmatch(rf"{pattern}(?P<ending>{_ENDINGS})?", name)
        if match:
            return new.format(**match.groupdict()) + (match["ending"] or "")

    return None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Location of a part in the checkpoint of a complete model."""

    inner: str = ""
    """Key of the part's config within the complete config; empty if the part has no config of its own."""
    names: tuple[tuple[str, str], ...]
    """Pairs of name prefixes: in the complete model, and in the part's family."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda theirs: {}
    """Function from the complete config to fields of the part that the part's own config does not contain."""

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part's weights among those of the complete model, under the names of the part's family."""
        found = {}
        for name, value in tensors.items():
            for prefix, replacement in self.names:
                if name.startswith(prefix):
                    found[replacement + name.removeprefix(prefix)] = value
                    break

        return found


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A family of complete models: a connector between an encoder and a language model of any supported families."""

    model_types: tuple[str, ...]
    """Values of ``model_type`` in the family's config.json."""
    places: Mapping[str, Place]
    """Locations of ``encoder``, ``connector`` and ``language_model``."""
    connector: KeyMap
    """Name table of the connector."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The family and settings of a part that is described by a config.json."""

    keymap: KeyMap
    settings: Mapping[str, Any]
    """The part's own config."""
    whole: Mapping[str, Any]
    """The complete config."""
    place: Place | None = None
    """Location of the part in a complete model; None if the checkpoint is of the part's own family."""


def find(config: Mapping[str, Any], part: str, *, where: str) -> Found:
    """Determines the family of a config.json, and the settings in it that belong to the part.

    Args:
        config: Contents of the config.json.
        part: ``encoder``, ``connector`` or ``language_model``.
        where: Name of the folder, for error messages.

    Raises:
        NoFamily: no family for this part has this ``model_type``; the message lists the families that exist.
    """
    wholes, parts = _families(config, part)
    model_type = str(config.get("model_type"))

    if model_type in wholes:
        whole = wholes[model_type]
        place = whole.places[part]
        if part == "connector":
            return Found(keymap=whole.connector, settings=config, whole=config, place=place)
        inner = config.get(place.inner)
        found = find(inner if isinstance(inner, dict) else {}, part, where=f"{where}: {place.inner}")
        return Found(keymap=found.keymap, settings=found.settings, whole=config, place=place)

    if model_type not in parts:
        raise NoFamily(
            f"{where}: model_type {model_type!r} cannot be loaded as {part}. "
            f"{did_you_mean(model_type, parts.keys() | wholes.keys())}"
        )

    keymap = parts[model_type]
    inner = config.get(keymap.inner)
    settings = inner if keymap.inner and isinstance(inner, dict) else config
    return Found(keymap=keymap, settings=settings, whole=config)


def _families(config: Mapping[str, Any], part: str) -> tuple[dict[str, Whole], dict[str, KeyMap]]:
    """Families of complete models, and families of this part that apply to a config, both by ``model_type``."""
    wholes: dict[str, Whole] = {}
    parts: dict[str, KeyMap] = {}
    for kind in catalog.kinds(_FAMILY):
        module = catalog.module(_FAMILY, kind)
        whole: Whole | None = getattr(module, "WHOLE", None)
        if whole is not None:
            wholes.update(dict.fromkeys(whole.model_types, whole))

        keymap: KeyMap | None = getattr(module, "KEYMAP", None)
        if keymap is not None and keymap.part == part and keymap.when(config):
            parts.update(dict.fromkeys(keymap.model_types, keymap))

    return wholes, parts


def read(folder: Path | str, part: str) -> dict[str, Any]:
    """The kind and the fields of a part in a Transformers folder, as they appear in a recipe.

    Args:
        folder: Folder written by ``save_pretrained``.
        part: ``encoder``, ``connector`` or ``language_model``.

    Raises:
        CheckpointError: the folder or its config.json is missing or damaged.
        NoFamily: the family is unsupported, or its settings are such that our part would not compute the same.
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
    """Number of rows of the token embedding table in a folder of any family.

    Raises:
        CheckpointError: the folder is missing, or its config.json has no vocabulary size.
    """
    config = transformers_folder.read_config(folder)
    inner = config.get("text_config")
    found = config.get("vocab_size", inner.get("vocab_size") if isinstance(inner, dict) else None)

    if not isinstance(found, int):
        raise CheckpointError(f"{folder}: its config.json has no vocab_size (got {found!r}).")

    return found


def describe(part: str, config: Any) -> tuple[KeyMap, dict[str, Any]]:
    """The Transformers family that computes the same as one of our parts, and its config for the part's settings.

    Args:
        part: ``encoder`` or ``language_model``.
        config: The part's Config.

    Raises:
        ValueError: there is no such family; the message gives the reason for each family of the same kind.
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
    """Reads a part's weights from a folder, under our names but otherwise unchanged.

    Returns:
        The part's family and settings, its weights by our names, and the names of weights that are not in the family's
        table.

    Raises:
        CheckpointError: as raised by `read` and `transformers_folder.read_tensors`.
    """
    found = find(transformers_folder.read_config(folder), part, where=str(folder))
    everything = transformers_folder.read_tensors(folder)

    tensors, unknown = found.keymap.ours(everything if found.place is None else found.place.of(everything))
    return found, tensors, unknown


def load_into(module: nn.Module, folder: Path | str, part: str) -> None:
    """Loads the weights of a Transformers folder into a part; position tables are resized to the part's grid.

    Args:
        module: The part, built with the fields from `read`; it stays unchanged if loading fails.
        folder: Folder written by ``save_pretrained``.
        part: ``encoder``, ``connector`` or ``language_model``.

    Raises:
        CheckpointError: as raised by `read_tensors`, or the names or shapes differ from those of the part.
    """
    found, tensors, unknown = read_tensors(folder, part)
    own = module.state_dict()

    # Remove weights that the part may lack, and add those that are stored only under another name.
    if part == "encoder":  # the part has fewer blocks if it returns the features of an earlier one
        tensors = {name: value for name, value in tensors.items() if _has_block(own, name)}
    _tie(tensors, own, found)
    for name in found.keymap.optional:
        if name not in own:
            tensors.pop(name, None)

    for name in tensors.keys() & own.keys():
        if tensors[name].shape != own[name].shape:
            tensors[name] = _resized(name, tensors[name], own[name])

    # The check reports names that are not in the table as unexpected.
    present = {name: tuple(value.shape) for name, value in tensors.items()}
    present |= dict.fromkeys(unknown, ())
    expected = {name: tuple(value.shape) for name, value in own.items()}
    checkpoint.compare_shapes(Path(folder), present, expected)
    module.load_state_dict(tensors)


def _tie(tensors: dict[str, Tensor], own: Mapping[str, Tensor], found: Found) -> None:
    """Removes tied weights that the part does not have, and adds tied weights that the checkpoint does not store."""
    for name, other in found.keymap.tied.items():
        if other not in tensors:
            continue
        if name in tensors and name not in own and tensors[name].equal(tensors[other]):
            del tensors[name]
        elif name in own and name not in tensors and found.settings.get("tie_word_embeddings"):
            tensors[name] = tensors[other]


def _has_block(own: Mapping[str, Tensor], name: str) -> bool:
    """Whether a weight belongs to no block, or to a block that the part has."""
    number = re.match(r"blocks\.(\d+)\.", name)
    return number is None or any(one.startswith(number[0]) for one in own)


def _resized(name: str, table: Tensor, own: Tensor) -> Tensor:
    """Resizes a table to the part's size: interpolates positions, and initialises rows for new tokens near the others."""
    if name == "place_table":
        return resize_grid(table, own.shape[0])
    if name in _BY_TOKEN and table.shape[1:] == own.shape[1:] and len(table) < len(own):
        return with_new_rows(table, own[len(table) :])

    return table


def refuse(**wrong: tuple[Any, Any]) -> None:
    """Checks that each of their settings, given as (their value, the supported value), is supported.

    Raises:
        ValueError: a setting has another value.
    """
    faults = []
    for name, (given, supported) in wrong.items():
        if given != supported:
            faults.append(f"{name} is {given!r}, but only {supported!r} is supported")

    if faults:
        raise ValueError("; ".join(faults) + ". Use another checkpoint.")


def need(**wrong: tuple[Any, Any]) -> None:
    """Checks that each of our fields, given as (our value, the family's value), agrees with the family.

    Raises:
        ValueError: a field has another value.
    """
    faults = []
    for name, (ours, theirs) in wrong.items():
        if ours != theirs:
            faults.append(f"{name} is {ours!r} (theirs: {theirs!r})")

    if faults:
        raise ValueError("; ".join(faults))
