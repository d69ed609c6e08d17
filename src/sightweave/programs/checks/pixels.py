"""A pretrained encoder gets images as its own image processor prepares them: channels, size, mean and deviation."""

from __future__ import annotations

import dataclasses

from sightweave.core.config import build
from sightweave.data.inputs import image_files, preprocessor, transforms
from sightweave.data.inputs.media.image import noise
from sightweave.programs.checks._base import Finding, Subject

_MOST = 1e-6
NEEDED = f"equal within {_MOST:g}"


def check(subject: Subject) -> Finding:
    """Compares the processor's pixels with those that the settings in the encoder's folder produce."""
    if "image" not in subject.model.modalities:
        return Finding(state="skip", measured="the model reads no images")
    folder = subject.pretrained.get("encoder")
    stated = preprocessor.seen(subject.model.encoder, folder)
    if not stated:
        return Finding(state="skip", measured="the encoder was not loaded from a folder to compare with")
    # Settings that the folder does not specify are taken from the recipe.
    assert subject.processor.transform is not None  # the model reads images
    own = dataclasses.asdict(subject.processor.transform)
    fields = {**own, **stated, "size": subject.model.encoder.image_size}
    told = build(transforms.Config, fields, where=folder or "model.encoder").build()
    off = 0.0
    for number, (width, height) in enumerate([(60, 60), (90, 41), (33, 70)]):
        medium = noise(number, width, height)
        found = subject.processor.pixels([medium])[0]
        off = max(off, float((found - told(image_files.load(medium))).abs().max()))
    return Finding(
        state="pass" if off <= _MOST else "fail", measured=f"largest difference {off:.2g}", needed=NEEDED
    )
