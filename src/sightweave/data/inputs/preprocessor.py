"""Converts settings of Transformers image processors to fields of `transforms.Config`, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core import transformers_folder
from sightweave.core.errors import CheckpointError
from sightweave.data.inputs import transforms

logger = logging.getLogger(__name__)
_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Names of resampling filters by Pillow's number."""
_MAX_LONGER_SIDE = 4096
"""Maximum longer side in pixels in Idefics3's image processor."""
_NO_CROP_SIDE = 384
"""Shorter side in pixels from which the image processor of ResNet and ConvNeXt resizes without cropping."""
_FILES = (("processor_config.json", "image_processor"), ("preprocessor_config.json", ""))
"""Files that may hold the settings, with the key of the settings in the file; an empty key means the whole file. The first
file belongs to a whole model (Transformers 5), and the second one to an encoder."""


def read(folder: Path | str, size: int) -> dict[str, Any]:
    """Reads the image processor in a folder; returns the fields of a `transforms.Config` that gives the same pixels.

    Args:
        folder: A folder written by a processor's ``save_pretrained``.
        size: Side of the encoder's input in pixels. If it differs from the processor's, the crop margin is scaled.

    Raises:
        CheckpointError: Neither file exists, or a setting is not supported by the transform.
    """
    for name, inner in _FILES:
        if (transformers_folder.place(folder) / name).is_file():
            whole = transformers_folder.read_json(folder, name)
            settings = whole.get(inner) if inner else whole
            if isinstance(settings, dict):
                return fields(settings, size, where=f"{folder}/{name}")
    raise CheckpointError(
        f"{folder}: has no preprocessor_config.json, which defines how images are resized and normalised for this encoder. "
        "Run hf download OWNER/NAME preprocessor_config.json; the encoder would misread images prepared differently."
    )


def seen(encoder: Any, folder: Path | str | None) -> dict[str, Any]:
    """Fields of `transforms.Config` for the preprocessing with which an encoder was trained; empty if unknown.

    Args:
        encoder: The encoder; its own ``preprocessing`` takes precedence (timm stores it in config.json).
        folder: Folder of the encoder's pretrained weights; None for an encoder that is trained from scratch.

    Raises:
        CheckpointError: As for `read`.
    """
    own = dict(getattr(encoder, "preprocessing", {}))
    return own if own or folder is None else read(folder, encoder.image_size)


def fields(settings: Mapping[str, Any], size: int, *, where: str = "image processor") -> dict[str, Any]:
    """Converts the settings of an image processor to fields of `transforms.Config`.

    Args:
        settings: The image processor's settings, as in its JSON file.
        size: Side of the encoder's input in pixels.
        where: Origin of the settings, for messages.

    Raises:
        CheckpointError: A setting is not supported by the transform.
    """
    is_idefics = str(settings.get("image_processor_type", "")).startswith(("Idefics3", "SmolVLM"))
    wanted = {"do_rescale": True, "do_normalize": True}
    if not is_idefics:
        wanted["do_resize"] = True
    off = [name for name, value in wanted.items() if settings.get(name, value) != value]
    if off:
        raise CheckpointError(f"{where}: {off[0]} is off, but images are always resized and normalised here.")
    if abs(settings.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-9:
        raise CheckpointError(
            f"{where}: rescale_factor is {settings['rescale_factor']}, but only 1/255 is supported."
        )
    if settings.get("resample", 3) not in _RESAMPLE:
        raise CheckpointError(
            f"{where}: resample is {settings['resample']}, but only {_RESAMPLE} are supported."
        )

    found: dict[str, Any] = {"exact": True, "resample": _RESAMPLE[settings.get("resample", 3)]}
    for ours, theirs in (("mean", "image_mean"), ("std", "image_std")):
        values = settings.get(theirs)
        if not isinstance(values, list | tuple) or len(values) != 3:
            raise CheckpointError(f"{where}: {theirs} must be three numbers (got {values!r}).")
        found[ours] = tuple(values)

    fit = _fit_idefics(settings, size, where) if is_idefics else _fit(settings, size, where)
    return found | fit


def settings(transform: transforms.Config) -> dict[str, Any]:
    """Settings of an image processor, except for sizes, that are equivalent to a transform with ``exact``."""
    numbers = {name: number for number, name in _RESAMPLE.items()}
    return {
        "do_convert_rgb": True,
        "resample": numbers[transform.resample],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(transform.mean),
        "image_std": list(transform.std),
    }


def _fit_idefics(settings: Mapping[str, Any], size: int, where: str) -> dict[str, Any]:
    """The fields ``fit`` and ``resize_to`` for Idefics3, which resizes to the longer side and then to the square.

    Its tiling is not supported, because ours is different.
    """
    if settings.get("do_image_splitting", True):
        logger.warning(
            "%s: this model tiles large images (do_image_splitting); here they are read whole.", where
        )

    longest = [settings.get(name, {}).get("longest_edge") for name in ("size", "max_image_size")]
    if not all(isinstance(edge, int) and edge > 0 for edge in longest):
        raise CheckpointError(
            f"{where}: size and max_image_size must each have a longest_edge (got {longest})."
        )
    if not settings.get("do_resize", True):
        return {"fit": "squash"}
    return {"fit": "squash", "resize_to": min(_MAX_LONGER_SIDE, round(longest[0] * size / longest[1]))}


def _fit(settings: Mapping[str, Any], size: int, where: str) -> dict[str, Any]:
    """The fields ``fit`` and ``resize_to`` for other image processors, which crop the centre or squash the image."""
    resized = settings.get("size")
    if isinstance(resized, Mapping) and "shortest_edge" in resized and settings.get("do_center_crop"):
        cropped = settings.get("crop_size")
        side = cropped.get("height") if isinstance(cropped, Mapping) else cropped
        if not isinstance(side, int) or side < 1:
            raise CheckpointError(f"{where}: crop_size must be a height and a width (got {cropped!r}).")
        return {"fit": "crop", "resize_to": max(size, round(resized["shortest_edge"] * size / side))}
    if isinstance(resized, Mapping) and "shortest_edge" in resized and "crop_pct" in settings:
        return _fit_share(resized["shortest_edge"], settings["crop_pct"], size, where)
    if (
        isinstance(resized, Mapping)
        and resized.get("height")
        and resized.get("height") == resized.get("width")
    ):
        return {"fit": "squash"}
    raise CheckpointError(
        f"{where}: size {resized!r} is neither a square nor a shortest_edge with do_center_crop or crop_pct; only those are "
        "supported."
    )


def _fit_share(edge: Any, share: Any, size: int, where: str) -> dict[str, Any]:
    """The fields for a centre crop to a fraction of the shorter side, as for ResNet; no crop from 384 pixels on."""
    if not isinstance(edge, int) or not isinstance(share, int | float) or edge < 1 or not 0 < share <= 1:
        raise CheckpointError(
            f"{where}: shortest_edge must be a number of pixels and crop_pct a fraction (got {edge!r} and {share!r})."
        )
    if edge >= _NO_CROP_SIDE:
        return {"fit": "squash"}
    return {"fit": "crop", "resize_to": max(size, round(int(edge / share) * size / edge))}
