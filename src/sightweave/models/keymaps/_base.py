"""Tables of weight names, read in both directions, and loading a part from a Transformers folder."""

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
    """No natively supported family computes the same as the checkpoint; the ``from_transformers`` kinds may load it."""


_BY_TOKEN = ("token_embedding.table.weight", "output.weight")
"""Tables with a row for each token of the vocabulary."""
_ENDINGS = r"\.weight|\.bias|\.running_mean|\.running_var|\.num_batches_tracked"
"""Name endings of the tensors that a layer may hold."""


@dataclass(frozen=True, kw_only=True)
class KeyMap:
    """The mapping between the checkpoints of one Transformers family ("theirs") and one of our parts ("ours")."""

    part: str
    """The part: ``encoder``, ``connector`` or ``language_model``."""
    kind: str
    """The kind of the part that computes the same."""
    model_types: tuple[str, ...]
    """Values of ``model_type`` in their config.json."""
    when: Callable[[Mapping[str, Any]], bool] = lambda theirs: True
    """Their config -> whether this table applies, for a ``model_type`` that several tables share."""
    names: Mapping[str, str]
    """Our name -> theirs, of a weight or of a layer with weights; ``{n}`` (or another letter) is a number in both."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Their config -> fields of our kind's Config; raises ValueError if ours would not compute the same."""
    settings: Callable[[Any], dict[str, Any]] | None = None
    """Our kind's Config -> their config without the vocabulary size; raises ValueError if theirs would not compute the
    same."""
    roots: tuple[str, ...] = ("",)
    """Possible prefixes of all of their names; the first is used for writing."""
    unused: tuple[str, ...] = ()
    """Prefixes of their names that the part does not need."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Our weight -> our other weight that it may be tied to."""
    lead: Mapping[str, int] = field(default_factory=dict)
    """Our weight -> number of leading axes of size 1 that theirs has in addition."""
    optional: tuple[str, ...] = ()
    """Our weights that a part may lack although the checkpoint has them."""
    inner: str = ""
    """Key of the part's config within theirs, if the checkpoint holds more than the part."""

    def ours(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Their weights under our names, and the names of those that are not in the table."""
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
        """Our weights under the names that the library uses.

        Raises:
            CheckpointError: a weight that is not in the table.
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
    """The new name by the first line of a table that matches; None if none does."""
    for old, new in table:
        pattern = re.sub(r"\\{(\w)\\}", r"(?P<\1>\\d+)", re.escape(old))
        match = re.fullmatch(rf"{pattern}(?P<ending>{_ENDINGS})?", name)
        if match:
            return new.format(**match.groupdict()) + (match["ending"] or "")

    return None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Location of a part in the checkpoint of a whole model."""

    inner: str = ""
    """Key of the part's config within that of the whole; empty if it has none of its own."""
    names: tuple[tuple[str, str], ...]
    """Pairs of prefixes of its weight names: in the whole model, and in the part's family."""
    fields: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda theirs: {}
    """The whole's config -> fields of the part that the part's own config does not contain."""

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part's weights among those of the whole, under the names of its family."""
        found = {}
        for name, value in tensors.items():
            for prefix, replacement in self.names:
                if name.startswith(prefix):
                    found[replacement + name.removeprefix(prefix)] = value
                    break

        return found


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A family of whole models: a connector between an encoder and a language model of any supported families."""

    model_types: tuple[str, ...]
    """Values of ``model_type`` in their config.json."""
    places: Mapping[str, Place]
    """Locations of ``encoder``, ``connector`` and ``language_model``."""
    connector: KeyMap
    """The connector's own table."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A part described by a config.json."""

    keymap: KeyMap
    settings: Mapping[str, Any]
    """The part's own config."""
    whole: Mapping[str, Any]
    """The complete config."""
    place: Place | None = None
    """Location of the part in a whole model; None if the checkpoint is of the part's own family."""


def find(config: Mapping[str, Any], part: str, *, where: str) -> Found:
    """The family of a config.json, and the settings in it that belong to the part.

    Raises:
        NoFamily: no family for this part has that ``model_type``; the message lists those that exist.
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
    """Families of whole models, and families of this part that apply to a config, both by their ``model_type``."""
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
    """The kind and the fields of the part in a Transformers folder, as in a recipe.

    Raises:
        CheckpointError: the folder or its config.json is missing or damaged.
        NoFamily: an unsupported family, or settings with which our part would not compute the same.
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
    """Number of rows of the token embedding table in a folder, of any family.

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
        ValueError: no family does; for each family of the same kind, the message gives the reason.
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
    """The part in a folder, its unchanged weights under our names, and the names that are not in its table.

    Raises:
        CheckpointError: as `read` and `transformers_folder.read_tensors`.
    """
    found = find(transformers_folder.read_config(folder), part, where=str(folder))
    everything = transformers_folder.read_tensors(folder)

    tensors, unknown = found.keymap.ours(everything if found.place is None else found.place.of(everything))
    return found, tensors, unknown


def load_into(module: nn.Module, folder: Path | str, part: str) -> None:
    """Loads the weights of a Transformers folder into a part; position tables are resized to the part's grid.

    Args:
        module: The part, built with the fields from `read`; on an error it is unchanged.
        folder: As written by ``save_pretrained``.
        part: ``encoder``, ``connector`` or ``language_model``.

    Raises:
        CheckpointError: as `read_tensors`; or names or shapes that differ from the part's.
    """
    found, tensors, unknown = read_tensors(folder, part)
    own = module.state_dict()

    # Leave out what the part may lack, and add what is stored under another name only.
    if part == "encoder":  # fewer blocks, if it reads the features of an earlier one
        tensors = {name: value for name, value in tensors.items() if _has_block(own, name)}
    _tie(tensors, own, found)
    for name in found.keymap.optional:
        if name not in own:
            tensors.pop(name, None)

    for name in tensors.keys() & own.keys():
        if tensors[name].shape != own[name].shape:
            tensors[name] = _resized(name, tensors[name], own[name])

    # Names that are not in the table are reported as unexpected.
    present = {name: tuple(value.shape) for name, value in tensors.items()}
    present |= dict.fromkeys(unknown, ())
    expected = {name: tuple(value.shape) for name, value in own.items()}
    checkpoint.compare_shapes(Path(folder), present, expected)
    module.load_state_dict(tensors)


def _tie(tensors: dict[str, Tensor], own: Mapping[str, Tensor], found: Found) -> None:
    """Removes tied weights that the part does not have, and adds those that the checkpoint does not store."""
    for name, other in found.keymap.tied.items():
        if other not in tensors:
            continue
        if name in tensors and name not in own and tensors[name].equal(tensors[other]):
            del tensors[name]
        elif name in own and name not in tensors and found.settings.get("tie_word_embeddings"):
            tensors[name] = tensors[other]


def _has_block(own: Mapping[str, Tensor], name: str) -> bool:
    """Whether a weight belongs to no block, or to one that the part has."""
    number = re.match(r"blocks\.(\d+)\.", name)
    return number is None or any(one.startswith(number[0]) for one in own)


def _resized(name: str, table: Tensor, own: Tensor) -> Tensor:
    """A table of the part's size: positions are interpolated, and rows for new tokens are drawn near the others."""
    if name == "place_table":
        return resize_grid(table, own.shape[0])
    if name in _BY_TOKEN and table.shape[1:] == own.shape[1:] and len(table) < len(own):
        return with_new_rows(table, own[len(table) :])

    return table


def refuse(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for any setting, given as (their value, the supported value), in which the two differ."""
    faults = []
    for name, (given, supported) in wrong.items():
        if given != supported:
            faults.append(f"{name} is {given!r}, but only {supported!r} is supported")

    if faults:
        raise ValueError("; ".join(faults) + ". Use another checkpoint.")


def need(**wrong: tuple[Any, Any]) -> None:
    """Raises ValueError for any of our fields, given as (our value, the family's value), in which the two differ."""
    faults = []
    for name, (ours, theirs) in wrong.items():
        if ours != theirs:
            faults.append(f"{name} is {ours!r} (theirs: {theirs!r})")

    if faults:
        raise ValueError("; ".join(faults))
