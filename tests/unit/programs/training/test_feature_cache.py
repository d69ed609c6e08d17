"""A frozen encoder sees each picture once, and the loss is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import vit_model

import sightweave
from sightweave.core.batch import Batch, Media
from sightweave.core.device import Precision
from sightweave.core.errors import RecipeError
from sightweave.models.connectors import linear
from sightweave.models.encoders import vit
from sightweave.models.paths import MediaPath, MediaPaths
from sightweave.programs.training.feature_cache import FeatureCache

FP32 = Precision("fp32", torch.device("cpu"), "")


def encoder() -> Any:
    torch.manual_seed(0)
    made = vit.Config(image_size=16, patch_size=8, dim=16, depth=1, num_heads=2).build().eval()
    made.seen = []
    made.register_forward_pre_hook(lambda _, pixels: made.seen.append(len(pixels[0])))
    return made


def paths(encoder: Any) -> MediaPaths:
    connector = linear.Config().build(in_dim=encoder.dim, out_dim=8, grid=encoder.grid())
    return MediaPaths({"image": MediaPath(encoder, connector)})


def batch(*keys: str) -> Batch:
    pixels = torch.stack([torch.full((3, 16, 16), float(ord(key))) for key in keys]) / 100
    places = torch.arange(len(keys))
    return Batch(target=None, media={"image": Media(pixels, places, places, places, places, keys=keys)})


def test_each_picture_is_encoded_once() -> None:
    made = encoder()
    known = FeatureCache(paths(made), FP32, 1 << 20)
    first = known.fill(batch("a", "b")).media["image"].features
    second = known.fill(batch("b", "c", "b")).media["image"].features
    assert made.seen == [1, 1, 1]  # one at a time, so that what is cached already changes no bits
    torch.testing.assert_close(second.values, made(batch("b", "c", "b").media["image"].dense).values)
    assert second.values[0].equal(first.values[1])
    assert second.values[2].equal(first.values[1])
    assert known.bytes == 3 * first.values[0].nbytes


def test_what_is_full_stays_full() -> None:
    made = encoder()
    one = made(batch("a").media["image"].dense).values.nbytes
    known = FeatureCache(paths(made), FP32, 2 * one)
    made.seen.clear()
    for keys in (("a", "b"), ("c",), ("a", "b"), ("c",)):
        expected = made(batch(*keys).media["image"].dense).values
        torch.testing.assert_close(known.fill(batch(*keys)).media["image"].features.values, expected)
    assert known.bytes == 2 * one
    assert made.seen == [2, 1, 1, 1, 1, 2, 1, 1]  # the test's own are of 2, 1, 2 and 1


def test_a_batch_without_pictures_stays_what_it_is() -> None:
    known = FeatureCache(encoder(), FP32, 1 << 20)
    empty = Batch(target=None)
    assert known.fill(empty) is empty


def recipe(**stage: Any) -> dict[str, Any]:
    parts = ["connector", "language_model"]
    return {
        "data": [{"kind": "scenes", "size": 6}],
        "model": vit_model(),
        "inputs": {"vocab_size": 400},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "log_every": 1,
            "stages": [{"steps": 8, "batch_size": 2, "parts": parts, **stage}],
        },
    }


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_with_it_has_the_losses_of_one_without(tmp_path: Path) -> None:
    sightweave.train(recipe(), out=tmp_path / "without", evaluate=False)
    sightweave.train(recipe(cache_features=8), out=tmp_path / "with", evaluate=False)
    assert len(losses(tmp_path / "with")) == 8
    assert losses(tmp_path / "with") == pytest.approx(losses(tmp_path / "without"), abs=1e-6)


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ({"parts": ["encoder"]}, "but the encoder is trained; set it to 0 or remove encoder"),
        ({"augment": True}, "but augment changes the images"),
    ],
)
def test_it_is_refused_where_features_change(stage: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        sightweave.build(recipe(cache_features=8, **stage))
