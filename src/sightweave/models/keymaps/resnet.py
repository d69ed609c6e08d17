"""ResNet, from its own checkpoints or a classifier's; the loaded batch-norm statistics stay fixed.

Deep Residual Learning for Image Recognition (He et al. 2015, arXiv:1512.03385). Its config.json has no image size: set
``image_size`` next to the folder for a size other than 224 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps._base import KeyMap, refuse


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(
        num_channels=(theirs.get("num_channels", 3), 3),
        hidden_act=(theirs.get("hidden_act", "relu"), "relu"),
        downsample_in_bottleneck=(bool(theirs.get("downsample_in_bottleneck", False)), False),
    )

    # Transformers omits settings that have their default values, which are those of ResNetConfig.
    return {
        "image_size": 224,
        "stem_dim": theirs.get("embedding_size", 64),
        "widths": tuple(theirs.get("hidden_sizes", (256, 512, 1024, 2048))),
        "depths": tuple(theirs.get("depths", (3, 4, 6, 3))),
        "form": theirs.get("layer_type", "bottleneck"),
        "halves_first": bool(theirs.get("downsample_in_first_stage", False)),
    }


_LAYER = "encoder.stages.{m}.layers.{n}"
KEYMAP = KeyMap(
    part="encoder",
    kind="resnet",
    model_types=("resnet",),
    roots=("", "resnet."),
    unused=("classifier.",),
    names={
        "stem": "embedder.embedder.convolution",
        "stem_norm": "embedder.embedder.normalization",
        "stages.{m}.{n}.convolutions.{k}": f"{_LAYER}.layer.{{k}}.convolution",
        "stages.{m}.{n}.norms.{k}": f"{_LAYER}.layer.{{k}}.normalization",
        "stages.{m}.{n}.shortcut": f"{_LAYER}.shortcut.convolution",
        "stages.{m}.{n}.shortcut_norm": f"{_LAYER}.shortcut.normalization",
    },
    fields=_fields,
)
