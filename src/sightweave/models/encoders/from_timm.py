"""Any image encoder of timm, from a folder in timm's Hub format.

PyTorch Image Models (Wightman 2019, https://github.com/huggingface/pytorch-image-models). The features are those of
``forward_features``, before any pooling.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from pydantic import ValidationInfo, model_validator
from torch import Tensor

from sightweave.core import box_operators, part_settings, transformers_folder
from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.core.errors import BackendError, CheckpointError
from sightweave.models.encoders._base import Encoder
from sightweave.models.nn import foreign, picture

_FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
"""Arguments of ``timm.create_model`` that fetch or load weights."""


@config
class Config:
    """Options of an encoder from timm: its folder and the image size."""

    folder: str
    """Folder with config.json and model.safetensors, or the model's name on the Hub. A saved run no longer needs it."""
    image_size: int | None = None
    """Side of the input image, in pixels; None means the size that the encoder was trained on."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Contents of the folder's config.json, filled in automatically."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any, info: ValidationInfo) -> Any:
        return part_settings.filled(given, info, _settings)

    def resolved(self) -> Config:
        """A copy with the config.json filled in; for a name on the Hub, the file is downloaded unless it is cached.

        Raises:
            CheckpointError: as raised by `transformers_folder.read_config`, or the config was not written by timm.
        """
        return self if self.config else replace(self, config=_settings(self.folder))

    def build(self) -> FromTimm:
        """Builds the encoder with random weights; `FromTimm.load_folder` loads those of the folder."""
        config = self.resolved().config
        seen = config.get("pretrained_cfg") or {}
        return FromTimm(
            architecture=config["architecture"],
            image_size=self.image_size or seen.get("input_size", (3, 224, 224))[1],
            settings=config.get("model_args") or {},
            pretrained_on=seen,
        )


def _settings(folder: str) -> dict[str, Any]:
    found = transformers_folder.read_config(folder)
    if not isinstance(found.get("architecture"), str):
        raise CheckpointError(
            f"{folder}: its config.json has no architecture, so it was not written by timm; "
            "use from_transformers for Transformers folders."
        )
    return found


class FromTimm(Encoder):
    """A timm model without its head; weights that do not affect the features are dropped.

    Args:
        architecture: Name of the model in timm.
        image_size: Side of the input image, in pixels.
        settings: Further arguments of ``timm.create_model``.
        pretrained_on: timm's ``pretrained_cfg``, with the mean, std, interpolation and crop of the preprocessing.

    Raises:
        BackendError: timm is not installed, or has no such architecture.
        ValueError: the model cannot read this image size, or its output is not a grid.
    """

    # Gradients reveal which weights are used, and the model may be trained later.
    @torch.inference_mode(False)
    def __init__(
        self,
        *,
        architecture: str,
        image_size: int,
        settings: Mapping[str, Any] | None = None,
        pretrained_on: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        seen = pretrained_on or {}
        self.image_size = image_size
        self.preprocessing = _preprocessing(seen, image_size)
        make = partial(
            _make, architecture, dict(settings or {}), image_size if seen.get("fixed_input_size") else None
        )
        with torch.device("meta"):
            probe = make()
        self._is_last = getattr(probe, "output_fmt", "NCHW") == "NHWC"
        patch = getattr(getattr(probe, "patch_embed", None), "patch_size", None)
        try:
            self.shape = picture.measure(
                probe,
                self._encode,
                image_size=image_size,
                patch_size=patch[0] if isinstance(patch, tuple) else None,
            )
        except ValueError as error:
            raise ValueError(f"{architecture}: {error}") from error
        self.dim = self.shape.dim
        unused = picture.unused(probe, self._encode, image_size=image_size)
        self.model = foreign.made(make)
        picture.drop(self.model, unused)
        self.train()

    def _encode(self, model: Any, pixels: Tensor) -> Tensor:
        output = model.forward_features(pixels)
        return output.permute(0, 3, 1, 2) if self._is_last and output.dim() == 4 else output  # type: ignore[no-any-return]  # the library's own type

    def load_folder(self, folder: str | Path) -> None:
        """Loads the weights of the folder; a table of position embeddings is interpolated to the model's grid.

        Raises:
            CheckpointError: the folder has no safetensors file, or the file is damaged or belongs to another model or
                other shapes.
        """
        from timm.layers import resample_abs_pos_embed

        found = transformers_folder.read_tensors(folder)
        places, own = found.get("pos_embed"), getattr(self.model, "pos_embed", None)
        if places is not None and own is not None and places.shape != own.shape:
            found["pos_embed"] = resample_abs_pos_embed(
                places,
                list(self.grid()[1:]),
                num_prefix_tokens=own.shape[1] - self.grid()[1] * self.grid()[2],
            )
        foreign.fill(self.model, found, where=folder)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, but keeps batch norms on their stored statistics."""
        super().train(mode)
        picture.keep_statistics(self)
        return self

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """The grid of the features before any pooling, which is the same for all images."""
        return self.shape.grid

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes images."""
        return self.shape.encode(pixels, partial(self._encode, self.model))


def import_timm() -> Any:
    """Imports timm, whether or not torchvision is installed.

    Raises:
        BackendError: timm is not installed, or cannot be imported.
    """
    if importlib.util.find_spec("timm") is None:
        raise BackendError("from_timm needs timm, which is not installed: pip install 'sightweave[timm]'.")
    box_operators.supply()
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        raise BackendError(
            f"timm is installed but cannot be imported: {error}. "
            "Install compatible releases of torch, torchvision and timm."
        ) from error


def _make(architecture: str, settings: dict[str, Any], image_size: int | None) -> Any:
    timm = import_timm()
    # timm itself would download an architecture named by a URL, and unpickle files named by these settings.
    if odd := [name for name in _FETCHING if settings.get(name)] or [architecture] * (":" in architecture):
        raise CheckpointError(
            f"config.json: {odd[0]!r} would download or unpickle weights; this is not allowed."
        )
    settings = settings | {"num_classes": 0} | ({} if image_size is None else {"img_size": image_size})
    try:
        return timm.create_model(architecture, pretrained=False, **settings)
    except RuntimeError as error:
        raise BackendError(f"timm {timm.__version__} cannot create {architecture!r}: {error}") from error


def _preprocessing(seen: Mapping[str, Any], image_size: int) -> dict[str, Any]:
    """The preprocessing with which the encoder was trained, as fields of the image transform."""
    fields: dict[str, Any] = {name: tuple(seen[name]) for name in ("mean", "std") if name in seen}
    if seen.get("interpolation") in ("bilinear", "bicubic", "lanczos"):
        fields |= {"exact": True, "resample": seen["interpolation"]}
    if seen.get("crop_mode") == "squash":
        return fields | {"fit": "squash"}
    if seen.get("crop_mode") == "center" and "crop_pct" in seen:
        # timm crops with torchvision, which rounds a margin of half a pixel to an even number.
        return fields | {
            "fit": "crop",
            "resize_to": int(image_size / seen["crop_pct"]),
            "margin": "nearest",
        }
    return fields
