"""Any image encoder of Transformers' AutoModel, such as ConvNeXt, Swin or BEiT, from a folder in its format.

Transformers: State-of-the-Art Natural Language Processing (Wolf et al. 2020, arXiv:1910.03771).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from pydantic import ValidationInfo, model_validator
from torch import Tensor

from sightweave.core import part_settings
from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.core.from_transformers import imported
from sightweave.models.encoders._base import Encoder
from sightweave.models.nn import foreign, from_transformers, picture


@config
class Config:
    """Options of an encoder from Transformers: its folder and the image size."""

    folder: str
    """Folder written by ``save_pretrained``, or the model's name on the Hub. A saved run no longer needs it."""
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
            CheckpointError: as raised by `from_transformers.settings`.
        """
        return self if self.config else replace(self, config=_settings(self.folder))

    def build(self) -> FromTransformers:
        """Builds the encoder with random weights; `FromTransformers.load_folder` loads those of the folder."""
        return FromTransformers(config=self.resolved().config, image_size=self.image_size)


def _settings(folder: str) -> dict[str, Any]:
    found = from_transformers.settings(folder)
    inner = found.get("vision_config")  # in the config of a model with an image encoder and a text encoder
    return inner if isinstance(inner, dict) else found


class FromTransformers(Encoder):
    """A Transformers model whose last hidden state is a grid, optionally preceded by class and register tokens.

    Weights that do not affect the features, such as a pooler, are dropped; batch norms keep their stored statistics.

    Args:
        config: Contents of a config.json of Transformers.
        image_size: Side of the input image, in pixels; None means the size in the config.

    Raises:
        CheckpointError: Transformers does not know the family.
        ValueError: there is no image size, the model cannot read this size, or its output is not a grid.
        BackendError: Transformers is not installed.
    """

    # Gradients reveal which weights are used, and the model may be trained later.
    @torch.inference_mode(False)
    def __init__(self, *, config: Mapping[str, Any], image_size: int | None = None) -> None:
        super().__init__()
        theirs = from_transformers.parsed(config)
        own = getattr(theirs, "image_size", None)
        image_size = image_size or (own if isinstance(own, int) else None)
        if image_size is None:
            raise ValueError(
                f"{theirs.model_type}: its config.json has no square image_size (got {own!r}); set image_size, such as 224."
            )
        self.image_size = image_size
        self._settings: dict[str, Any] = {}

        make = imported().AutoModel.from_config
        with torch.device("meta"):
            probe = make(theirs)
        if "add_pooling_layer" in inspect.signature(type(probe)).parameters:
            self._settings["add_pooling_layer"] = False

        forward = inspect.signature(probe.forward).parameters
        self._options = {}
        if "interpolate_pos_encoding" in forward and own != image_size:
            self._options["interpolate_pos_encoding"] = True
        patch_size = getattr(theirs, "patch_size", None)
        try:
            self.shape = picture.measure(
                probe,
                self._encode,
                image_size=image_size,
                patch_size=patch_size if isinstance(patch_size, int) else None,
            )
        except ValueError as error:
            raise ValueError(f"{theirs.model_type}: {error}") from error
        self.dim = self.shape.dim

        unused = picture.unused(probe, self._encode, image_size=image_size)
        self._config = theirs
        self.model = from_transformers.made(lambda: make(theirs, **self._settings))
        picture.drop(self.model, unused & {name for name, _ in self.model.named_parameters()})
        self.train()

    def _encode(self, model: Any, pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels, **self._options).last_hidden_state  # type: ignore[no-any-return]  # their own type

    def load_folder(self, folder: str | Path) -> None:
        """Loads the weights of the folder.

        Raises:
            CheckpointError: the folder has no safetensors file, or the file is damaged or belongs to another model or
                other shapes.
        """
        found = from_transformers.weights(folder, type(self.model), self._config, **self._settings)
        foreign.fill(self.model, found, where=folder)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, but keeps batch norms on their stored statistics."""
        super().train(mode)
        picture.keep_statistics(self)
        return self

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """The grid of the last hidden state, which is the same for all images."""
        return self.shape.grid

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes images."""
        return self.shape.encode(pixels, partial(self._encode, self.model))
