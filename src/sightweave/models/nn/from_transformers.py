"""Models of Transformers made from settings at hand and filled from a folder: no network, no pickles, no code of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sightweave.core import transformers_folder
from sightweave.core.errors import CheckpointError
from sightweave.core.from_transformers import imported
from sightweave.models.nn import foreign

_FETCHING = ("auto_map", "use_pretrained_backbone", "custom_pipelines")
"""Settings by which a config asks for code or for weights from elsewhere."""
_KERNELS = ("attn_implementation", "attn_implementation_internal", "experts_implementation", "use_kernels")
"""Endings of settings that may name a kernel on the hub; which one computes is no matter of the weights."""
_COUNTED = ("layers", "depth", "blocks", "heads", "experts", "labels", "stages")
"""Endings of settings that count things of which each is made one by one."""
_MOST_PARTS, _MOST_SIZE = 100_000, 1 << 31
_DTYPES = ("dtype", "torch_dtype")
"""How the weights were stored; here they are fp32 until somebody casts them."""


def version() -> int:
    """The library's first number."""
    return int(imported().__version__.partition(".")[0])


def settings(folder: str) -> dict[str, Any]:
    """What a folder's config.json says of the model.

    Raises:
        CheckpointError: no such folder or file, or a model that brings code of its own.
    """
    found = transformers_folder.read_config(folder)
    return {name: value for name, value in found.items() if name not in _DTYPES}


def parsed(config: Mapping[str, Any]) -> Any:
    """The library's own config of these settings.

    Raises:
        CheckpointError: the library knows no such family or refuses a setting, or a setting would fetch or run something.
    """
    config = _harmless(config)
    known = imported().CONFIG_MAPPING
    model_type = config.get("model_type")
    if model_type not in known:
        raise CheckpointError(
            f"model_type {model_type!r} is unknown to Transformers {imported().__version__}; a newer release may support it."
        )
    try:
        return known[model_type].from_dict(dict(config))
    except (TypeError, ValueError, _wrong_value()) as error:
        raise CheckpointError(f"model_type {model_type!r}: its config.json is invalid: {error}") from error


def _harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the choice of a kernel, which the library may fetch from the hub and run.

    Raises:
        CheckpointError: code of the checkpoint's own, weights to be fetched, or a count that no model has.
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in _FETCHING and value:
            raise CheckpointError(
                f"config.json: {name} ({value!r}) would run code or download weights from elsewhere; this is not allowed."
            )
        if name.endswith(_KERNELS):
            continue
        if type(value) is int and abs(value) > (_MOST_PARTS if name.endswith(_COUNTED) else _MOST_SIZE):
            raise CheckpointError(f"config.json: {name} is {value}, which is not plausible.")
        found[name] = _harmless(value) if isinstance(value, Mapping) else value
    return found


def _wrong_value() -> type[Exception]:
    """What the library raises for a setting of another type."""
    from huggingface_hub import errors

    found: type[Exception] = getattr(errors, "StrictDataclassError", ValueError)
    return found


def made(make: Callable[[], Any]) -> Any:
    """The model that `make` gives; on the meta device as `foreign.made` says."""
    if not foreign.is_on_meta():
        return make()
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # where Transformers 4 keeps it
        from transformers.modeling_utils import no_init_weights  # type: ignore[attr-defined,no-redef]
    with no_init_weights():  # memory that nobody writes to is not taken
        return foreign.made(make)


def weights(folder: str | Path, kind: Any, config: Any, **settings: Any) -> dict[str, Tensor]:
    """A folder's weights under the names of a model of the library.

    Args:
        folder: As written by ``save_pretrained``.
        kind: The model's class.
        config: The library's config of the folder.
        settings: What the model is made with beside its config.

    Raises:
        CheckpointError: as `transformers_folder.read_tensors`; weights that are missing or of other shapes.
    """
    tensors = transformers_folder.read_tensors(folder)
    try:
        found, report = kind.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, **settings
        )
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{folder}: {len(missing)} weight(s) of a {kind.__name__} are missing: {', '.join(missing[:10])}. "
            "The folder contains another model, or only part of one."
        )
    return found.float().state_dict()  # type: ignore[no-any-return]  # the library's own type
