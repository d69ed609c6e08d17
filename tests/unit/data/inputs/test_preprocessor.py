"""What an image processor's file says becomes the fields of our transform, or is refused with the setting's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightweave.core.config import build
from sightweave.core.errors import CheckpointError
from sightweave.data.inputs import preprocessor
from sightweave.data.inputs.transforms import Config

SQUARE = {
    "size": {"height": 224, "width": 224},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 3,
}
CROP = SQUARE | {
    "size": {"shortest_edge": 256},
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
}


def test_a_square() -> None:
    found = build(Config, preprocessor.fields(SQUARE, 224) | {"size": 224})
    assert (found.fit, found.exact, found.resample, found.mean) == (
        "squash",
        True,
        "bicubic",
        (0.5, 0.5, 0.5),
    )


@pytest.mark.parametrize(("size", "edge"), [(224, 256), (448, 512), (112, 128)])
def test_a_crop_keeps_its_margin_at_every_size(size: int, edge: int) -> None:
    found = build(Config, preprocessor.fields(CROP, size) | {"size": size})
    assert (found.fit, found.resize_to) == ("crop", edge)


def test_a_share_of_the_side_is_cut_out_below_384_pixels() -> None:
    share = SQUARE | {"size": {"shortest_edge": 224}, "crop_pct": 0.875}
    assert preprocessor.fields(share, 448) == preprocessor.fields(CROP, 448)
    assert preprocessor.fields(share | {"size": {"shortest_edge": 384}}, 384)["fit"] == "squash"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"do_normalize": False}, "do_normalize is off"),
        ({"rescale_factor": 1.0}, "rescale_factor is 1.0"),
        ({"resample": 0}, "resample is 0"),
        ({"image_mean": [0.5]}, "image_mean must be three numbers"),
        ({"image_std": None}, "image_std must be three numbers"),
        ({"size": {"shortest_edge": 224}}, "neither a square nor"),
        ({"size": {"height": 224, "width": 448}}, "neither a square nor"),
        ({"size": {"longest_edge": 224}}, "neither a square nor"),
        (CROP | {"crop_size": None}, "crop_size must be"),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0}, "crop_pct a share \\(got 224 and 0\\)"),
        (
            {"size": {"shortest_edge": None}, "crop_pct": 0.9},
            "must be a number of pixels and crop_pct a fraction.*got None and 0.9",
        ),
    ],
)
def test_what_the_transform_does_not_do_is_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(CheckpointError, match=fault):
        preprocessor.fields(SQUARE | change, 224)


def test_where_the_settings_are(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no preprocessor_config\.json"):
        preprocessor.read(tmp_path, 224)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SQUARE), encoding="utf-8")
    assert preprocessor.read(tmp_path, 224)["fit"] == "squash"
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": CROP}), encoding="utf-8")
    assert preprocessor.read(tmp_path, 224)["fit"] == "crop"
