"""Against the image processors of Transformers, on real photographs: what a pretrained encoder was trained to see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from contracts._compose import Case, compose

from sightweave.core.config import build
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files, preprocessor
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.transforms import Config

pytest.importorskip("transformers")
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

PHOTOGRAPHS = Path(skimage.data.__file__).parent
CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SIGLIP_SIZE = {"height": 384, "width": 384}
PROCESSORS = {
    "clip": (CLIPImageProcessorPil(), Config(size=224, fit="crop", exact=True, **CLIP)),
    "clip 336": (
        CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        Config(size=336, fit="crop", exact=True, **CLIP),
    ),
    "siglip": (SiglipImageProcessorPil(), Config(size=224, fit="squash", exact=True)),
    "siglip 384": (SiglipImageProcessorPil(size=SIGLIP_SIZE), Config(size=384, fit="squash", exact=True)),
    "siglip 2": (
        SiglipImageProcessorPil(resample=2),
        Config(size=224, fit="squash", exact=True, resample="bilinear"),
    ),
    "siglip lanczos": (
        SiglipImageProcessorPil(resample=1),
        Config(size=224, fit="squash", exact=True, resample="lanczos"),
    ),
    "vit": (ViTImageProcessorPil(), Config(size=224, fit="squash", exact=True, resample="bilinear")),
    "dinov2": (
        BitImageProcessorPil(
            size={"shortest_edge": 256}, image_mean=list(IMAGENET["mean"]), image_std=list(IMAGENET["std"])
        ),
        Config(size=224, fit="crop", resize_to=256, exact=True, **IMAGENET),
    ),
    "convnext": (
        ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875),
        Config(size=224, fit="crop", resize_to=256, exact=True),
    ),
    "convnext 384": (
        ConvNextImageProcessorPil(size={"shortest_edge": 384}, crop_pct=0.875),
        Config(size=384, fit="squash", exact=True),
    ),
    "resnet": (
        ConvNextImageProcessorPil(
            size={"shortest_edge": 224},
            crop_pct=0.875,
            image_mean=list(IMAGENET["mean"]),
            image_std=list(IMAGENET["std"]),
        ),
        Config(size=224, fit="crop", resize_to=256, exact=True, **IMAGENET),
    ),
    "resnet 384": (ConvNextImageProcessorPil(), Config(size=384, fit="squash", exact=True)),
    "idefics3": (
        Idefics3ImageProcessorPil(
            do_image_splitting=False, size={"longest_edge": 700}, max_image_size={"longest_edge": 224}
        ),
        Config(size=224, fit="squash", resize_to=700, exact=True, resample="lanczos"),
    ),
    "idefics3, exported": (
        Idefics3ImageProcessorPil(
            do_image_splitting=False, do_resize=False, resample=3, max_image_size={"longest_edge": 224}
        ),
        Config(size=224, fit="squash", exact=True),
    ),
    "smolvlm": (
        SmolVLMImageProcessorPil(
            do_image_splitting=False, size={"longest_edge": 512}, max_image_size={"longest_edge": 128}
        ),
        Config(size=128, fit="squash", resize_to=512, exact=True, resample="lanczos"),
    ),
}
CUTS = {
    "coffee.png": np.s_[:, :],
    "rocket.jpg": np.s_[:, :],
    "chelsea.png": np.s_[:299, :],
    "astronaut.png": np.s_[:, 100:433],
    "hubble_deep_field.jpg": np.s_[:611, :],
    "motorcycle_left.png": np.s_[:231, :101],
}
"""Photographs, most of them cut to odd sizes; the last one is narrower than every encoder's square."""


def photograph(name: str) -> np.ndarray:
    return np.ascontiguousarray(image_files.load(Medium(PHOTOGRAPHS / name, key=name))[CUTS[name]])


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("name", CUTS)
def test_our_pixels_are_theirs(kind: str, name: str) -> None:
    theirs, config = PROCESSORS[kind]
    pixels = photograph(name)
    expected = torch.from_numpy(np.asarray(theirs(pixels, return_tensors="np")["pixel_values"][0]))
    expected = expected[0] if expected.ndim == 4 else expected  # a list of pictures for each prompt
    assert expected.dtype == torch.float32
    torch.testing.assert_close(config.build()(pixels), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_a_processor_decodes_a_jpeg_file_whole(kind: str) -> None:
    theirs, config = PROCESSORS[kind]
    _, composed = compose(Case("concat", (), "decoder_only"))
    medium = Medium(PHOTOGRAPHS / "rocket.jpg", key="rocket")
    found = Processor(tokenizer=composed.tokenizer, transform=config, layout=composed.layout).pixels([medium])
    expected = theirs(image_files.load(medium), return_tensors="np")["pixel_values"]
    torch.testing.assert_close(found, torch.from_numpy(np.asarray(expected)), rtol=0, atol=1e-6)


def test_without_exact_the_pixels_are_near_but_not_theirs() -> None:
    """The quicker way differs, so the tests above can tell the two apart."""
    theirs, config = PROCESSORS["siglip"]
    pixels = photograph("coffee.png")
    expected = theirs(pixels, return_tensors="np")["pixel_values"][0]
    found = Config(size=config.size, fit=config.fit).build()(pixels).numpy()
    assert 1e-6 < np.abs(found - expected).max() < 0.05


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_processors_own_settings_give_the_same_transform(name: str) -> None:
    theirs, ours = PROCESSORS[name]
    found = preprocessor.fields(theirs.to_dict(), ours.size)
    assert build(Config, found | {"size": ours.size}) == dataclasses.replace(
        ours, resize_to=found.get("resize_to", 0)
    )
    assert found.get("resize_to", ours.size) == (ours.resize_to or ours.size)
