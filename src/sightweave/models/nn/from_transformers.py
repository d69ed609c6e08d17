"""Models of Transformers made from settings at hand and filled from a folder: no network, no pickles, no code of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightweave.core import transformers_folder
from sightweave.core.errors import BackendError, CheckpointError
from sightweave.models.nn.embedding import with_new_rows

_DTYPES = ("dtype", "torch_dtype")
"""How the weights were stored; here they are fp32 until somebody casts them."""


def library() -> Any:
    """The library.

    Raises:
        BackendError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise BackendError(
            "from_transformers needs Transformers, which is not installed: pip install 'sightweave[hf]'."
        ) from error
    return transformers


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
        CheckpointError: the library knows no such family, or refuses a setting.
    """
    known = library().CONFIG_MAPPING
    model_type = config.get("model_type")
    if model_type not in known:
        raise CheckpointError(
            f"model_type {model_type!r} is no family of Transformers {library().__version__}; a newer release may have it."
        )
    try:
        return known[model_type].from_dict(dict(config))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"model_type {model_type!r}: its config.json is refused: {error}") from error


def made(make: Callable[[], Any]) -> Any:
    """The model that `make` gives. On the meta device it has no weights, but all that is computed once and never saved.

    A run is loaded that way: its file replaces the weights, and nothing would replace tables of sines.
    """
    if not torch.empty(0).is_meta:
        return make()
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # where Transformers 4 keeps it
        from transformers.modeling_utils import no_init_weights  # type: ignore[attr-defined,no-redef]
    with torch.device("cpu"), no_init_weights():  # memory that nobody writes to is not taken
        model = make()
    _empty(model)
    return model


def _empty(model: nn.Module) -> None:
    """Takes the memory of all that a checkpoint holds; tied weights stay tied."""
    taken: dict[int, tuple[Tensor, nn.Parameter]] = {}  # the old ones are kept, since ids are used again
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fresh = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
                module._parameters[name] = taken.setdefault(id(weight), (weight, fresh))[1]
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(buffer, device="meta")


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
            "The folder holds another model, or a part of one."
        )
    return found.float().state_dict()  # type: ignore[no-any-return]  # the library's own type


def fill(model: nn.Module, found: Mapping[str, Tensor], *, where: str | Path) -> None:
    """Puts weights into a model whose tables of tokens may be longer or shorter, and which may do without some.

    Raises:
        CheckpointError: other shapes; the model is unchanged.
    """
    own = model.state_dict()
    fitted = {name: _fitted(found[name], table) for name, table in own.items() if name in found}
    if wrong := [name for name, table in own.items() if name not in fitted or fitted[name].shape != table.shape]:
        name = wrong[0]
        shape = tuple(found[name].shape) if name in found else "nothing"
        raise CheckpointError(
            f"{where}: {len(wrong)} weights do not fit; {name} is {shape} there and {tuple(own[name].shape)} here."
        )
    model.load_state_dict(fitted)


def _fitted(found: Tensor, own: Tensor) -> Tensor:
    """With as many rows (or biases) as the vocabulary has; where it is shorter, the last ones go."""
    if found.shape == own.shape or found.dim() != own.dim():
        return found
    if found.dim() == 2 and found.shape[0] == own.shape[0] == 1:  # a bias of the logits
        return nn.functional.pad(found, (0, own.shape[1] - found.shape[1]))
    if found.shape[1:] != own.shape[1:]:
        return found
    return found[: len(own)] if len(found) >= len(own) else with_new_rows(found, own[len(found) :])
