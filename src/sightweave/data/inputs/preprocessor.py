"""Settings of Transformers' image processors -> fields of `transforms.Config`: what an encoder was trained to see."""

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
"""Pillow's numbers."""
_LARGEST = 4096
"""Pixels of the longer side that Idefics3's image processor makes at most."""
_NEVER_CUT = 384
"""Pixels of the shorter side from which the image processor of ResNet and ConvNeXt only resizes."""
_FILES = (("processor_config.json", "image_processor"), ("preprocessor_config.json", ""))
"""Where Transformers 5 keeps them for a whole model, and where every version keeps them for an encoder."""


def read(folder: Path | str, size: int) -> dict[str, Any]:
    """Fields of `transforms.Config` that give the pixels of the image processor in a folder.

    Args:
        folder: As written by ``save_pretrained`` of a processor.
        size: Side of the picture that the encoder reads, in pixels; another one than the processor's scales the margin too.

    Raises:
        CheckpointError: neither file is there, or it asks for what the transform does not do.
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
    """Fields of `transforms.Config` that give the pixels which an encoder was trained on; none where nothing states them.

    Args:
        encoder: Its own ``preprocessing`` goes first: timm keeps it in config.json, beside the weights.
        folder: What it began with; None where it began from nothing.

    Raises:
        CheckpointError: as `read`.
    """
    own = dict(getattr(encoder, "preprocessing", {}))
    return own if own or folder is None else read(folder, encoder.image_size)


def fields(settings: Mapping[str, Any], size: int, *, where: str = "image processor") -> dict[str, Any]:
    """The same for settings that are at hand.

    Raises:
        CheckpointError: as `read`.
    """
    is_idefics = str(settings.get("image_processor_type", "")).startswith(("Idefics3", "SmolVLM"))
    wanted = {"do_rescale": True, "do_normalize": True} | ({} if is_idefics else {"do_resize": True})
    if off := [name for name, value in wanted.items() if settings.get(name, value) != value]:
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
    return found | (_fit_idefics(settings, size, where) if is_idefics else _fit(settings, size, where))


def settings(transform: transforms.Config) -> dict[str, Any]:
    """The other way: what an image processor is told beside the sizes, for pictures that are resized exactly."""
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
    """To the longer side, then to the square; or cut into tiles, which are laid out otherwise here."""
    if settings.get("do_image_splitting", True):
        logger.warning(
            "%s: this model tiles large images (do_image_splitting); here they are read whole.", where
        )
    longest = [settings.get(name, {}).get("longest_edge") for name in ("size", "max_image_size")]
    if not all(isinstance(one, int) and one > 0 for one in longest):
        raise CheckpointError(
            f"{where}: size and max_image_size must each have a longest_edge (got {longest})."
        )
    if not settings.get("do_resize", True):
        return {"fit": "squash"}
    return {"fit": "squash", "resize_to": min(_LARGEST, round(longest[0] * size / longest[1]))}


def _fit(settings: Mapping[str, Any], size: int, where: str) -> dict[str, Any]:
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
    """As for ResNet and ConvNeXt: the middle is cut out, this share of the shorter side; from 384 pixels on, all stays."""
    if not isinstance(edge, int) or not isinstance(share, int | float) or edge < 1 or not 0 < share <= 1:
        raise CheckpointError(
            f"{where}: shortest_edge must be a number of pixels and crop_pct a fraction (got {edge!r} and {share!r})."
        )
    if edge >= _NEVER_CUT:
        return {"fit": "squash"}
    return {"fit": "crop", "resize_to": max(size, round(int(edge / share) * size / edge))}
