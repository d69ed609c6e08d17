"""Builds Transformers models from local settings and loads them from a folder, without network, pickles or remote code."""

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
"""Names of settings by which a config requests code or weights from elsewhere."""
_KERNELS = ("attn_implementation", "attn_implementation_internal", "experts_implementation", "use_kernels")
"""Endings of the names of settings that may select a kernel on the hub; the weights do not depend on them."""
_COUNTED = ("layers", "depth", "blocks", "heads", "experts", "labels", "stages")
"""Endings of the names of settings that contain a number of modules or labels to create."""
_MOST_PARTS, _MOST_SIZE = 100_000, 1 << 31
"""Largest plausible values: of the settings with these endings, and of all other settings."""
_DTYPES = ("dtype", "torch_dtype")
"""Names of settings with the dtype of the stored weights, which is ignored because weights are loaded as fp32."""


def version() -> int:
    """The library's major version."""
    return int(imported().__version__.partition(".")[0])


def settings(folder: str) -> dict[str, Any]:
    """The settings in a folder's config.json, except for the dtype.

    Raises:
        CheckpointError: the folder or the file does not exist, or the model has its own code.
    """
    found = transformers_folder.read_config(folder)
    return {name: value for name, value in found.items() if name not in _DTYPES}


def parsed(config: Mapping[str, Any]) -> Any:
    """The library's own config object for these settings.

    Raises:
        CheckpointError: the library does not know the family or rejects a setting, or a setting would download or run code.
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
    """The settings without those that select a kernel, which the library might download from the hub and run.

    Raises:
        CheckpointError: a setting requests code or weights from elsewhere, or has an implausible value.
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in _FETCHING and value:
            raise CheckpointError(
                f"config.json: {name} ({value!r}) would run code or download weights from elsewhere; this is not allowed."
            )
        if name.endswith(_KERNELS):
            continue

        most = _MOST_PARTS if name.endswith(_COUNTED) else _MOST_SIZE
        if type(value) is int and abs(value) > most:
            raise CheckpointError(f"config.json: {name} is {value}, which is not plausible.")
        found[name] = _harmless(value) if isinstance(value, Mapping) else value

    return found


def _wrong_value() -> type[Exception]:
    """The exception that the library raises for a setting of the wrong type."""
    from huggingface_hub import errors

    found: type[Exception] = getattr(errors, "StrictDataclassError", ValueError)
    return found


def made(make: Callable[[], Any]) -> Any:
    """The model that `make` returns, with random weights or, on the meta device, without weights (see `foreign.made`)."""
    if not foreign.is_on_meta():
        return make()

    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # Transformers 4
        from transformers.modeling_utils import no_init_weights  # type: ignore[attr-defined,no-redef]
    with no_init_weights():  # uninitialised memory is not actually allocated
        return foreign.made(make)


def weights(folder: str | Path, kind: Any, config: Any, **settings: Any) -> dict[str, Tensor]:
    """Loads a folder's weights, with the names that they have in a class of the library.

    Args:
        folder: Folder as written by ``save_pretrained``.
        kind: The model's class.
        config: The library's config object for the folder.
        settings: Further arguments of ``from_pretrained``.

    Raises:
        CheckpointError: the folder cannot be read (see `transformers_folder.read_tensors`), or weights are missing or
            have other shapes.
    """
    tensors = transformers_folder.read_tensors(folder)

    try:
        found, report = kind.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True, **settings
        )
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {error}") from error

    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{folder}: {len(missing)} weight(s) of a {kind.__name__} are missing: {', '.join(missing[:10])}. "
            "The folder contains another model, or only part of one."
        )

    return found.float().state_dict()  # type: ignore[no-any-return]  # the library's own type
