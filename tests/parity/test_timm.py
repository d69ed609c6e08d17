"""Encoders of timm, from folders that timm wrote: its features, at its size and at another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity._checkpoints import shaken
from PIL import Image
from torch import Tensor

import sightweave
from sightweave.core import checkpoint
from sightweave.core.config import build
from sightweave.data.inputs import transforms
from sightweave.models.encoders import from_timm

timm = pytest.importorskip("timm")

TINY_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 4, "img_size": 32, "patch_size": 8}
MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "residual": ("resnet10t", 64, {}),
    "vit": ("vit_tiny_patch16_224", 32, TINY_VIT),
    "registers": (
        "vit_small_patch14_reg4_dinov2",
        28,
        {"embed_dim": 32, "depth": 1, "num_heads": 4, "img_size": 28},
    ),
    "convnext": ("convnext_atto", 64, {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}),
    "windows": ("swin_tiny_patch4_window7_224", 224, {"embed_dim": 12, "depths": (1, 1, 1, 1)}),
    "no norm": ("vgg11", 32, {}),
}


def write(folder: Path, name: str) -> tuple[Any, int]:
    architecture, size, settings = MODELS[name]
    torch.manual_seed(0)
    model = shaken(timm.create_model(architecture, num_classes=3, **settings))
    timm.models.save_for_hf(model, folder, model_args=settings, safe_serialization=True)
    return model, size


def expected_of(model: Any, pixels: Tensor) -> Tensor:
    output = model.forward_features(pixels)
    if output.ndim == 4:
        return (
            output.flatten(1, 2) if output.shape[1] == output.shape[2] else output.flatten(2).transpose(1, 2)
        )
    return output[:, model.num_prefix_tokens :]  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_the_features_are_theirs_and_a_run_needs_no_folder(tmp_path: Path, name: str) -> None:
    theirs, size = write(tmp_path, name)
    config = from_timm.Config(folder=str(tmp_path), image_size=size)
    ours = config.build()
    ours.load_folder(tmp_path)
    pixels = torch.randn(2, 3, size, size)
    found = ours.eval()(pixels).values
    torch.testing.assert_close(found, expected_of(theirs, pixels), atol=1e-5, rtol=1e-5)
    checkpoint.write_folder(tmp_path / "run", {"model": ours.state_dict()})
    with torch.device("meta"):
        again = config.build()
    checkpoint.load_into(again, tmp_path / "run", assign=True)
    assert again.eval()(pixels).values.equal(found)


@torch.no_grad()
def test_places_are_interpolated(tmp_path: Path) -> None:
    theirs, _ = write(tmp_path, "vit")
    ours = from_timm.Config(folder=str(tmp_path), image_size=64).build()
    ours.load_folder(tmp_path)
    theirs.set_input_size(img_size=64)
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours.eval()(pixels).values, expected_of(theirs, pixels), atol=1e-5, rtol=1e-5)


def test_what_it_was_trained_to_see_are_fields_of_the_transform(tmp_path: Path) -> None:
    write(tmp_path, "residual")
    ours = from_timm.Config(folder=str(tmp_path), image_size=224).build()
    found = build(transforms.Config, ours.preprocessing | {"size": 224})
    assert (found.fit, found.resize_to, found.resample, found.exact) == ("crop", 256, "bicubic", True)
    assert found.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("shape", [(300, 451), (447, 300), (61, 83), (256, 256), (259, 256)])
@pytest.mark.parametrize("name", ["residual", "convnext"])
def test_pixels_are_those_of_timms_own_transform(tmp_path: Path, name: str, shape: tuple[int, int]) -> None:
    write(tmp_path, name)
    ours = from_timm.Config(folder=str(tmp_path), image_size=224).build()
    transform = build(transforms.Config, ours.preprocessing | {"size": 224}).build()
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    seen = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    names = ("mean", "std", "crop_pct", "interpolation", "crop_mode")
    theirs = timm.data.create_transform(input_size=224, **{key: seen[key] for key in names})
    expected = theirs(Image.fromarray(pixels))
    torch.testing.assert_close(transform(pixels), expected, atol=1e-6, rtol=0)


def test_the_check_of_pixels_passes(tmp_path: Path) -> None:
    write(tmp_path, "residual")
    made = sightweave.check(
        {
            "data": [{"kind": "scenes", "size": 4}],
            "model": {
                "encoder": {"kind": str(tmp_path), "image_size": 64},
                "fusion": "concat",
                "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2},
            },
            "inputs": {"vocab_size": 300},
            "train": {"device": "cpu", "stages": [{"steps": 1}]},
        }
    )
    assert [one.finding.state for one in made if one.name == "pixels"] == ["pass"]


def test_a_folder_of_transformers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"its config\.json has no architecture, so it was not written"):
        from_timm.Config(folder=str(tmp_path))


def test_an_architecture_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot create 'resnet_that_is_not'"):
        from_timm.Config(folder="gone", config={"architecture": "resnet_that_is_not"}).build()
