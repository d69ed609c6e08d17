"""Fills an area with the colours around it, which spread inward until each pixel is the mean of its neighbours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32

_SWEEPS = 4
"""Averaging steps per resolution."""


def spread_inward(
    values: Float32[np.ndarray, "H W C"], is_known: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W C"]:
    """Replaces the unknown pixels by a smooth surface between the known ones.

    The surface approximates the solution of Laplace's equation. It is first computed at low resolution and then refined, so
    that colours cross wide areas in few steps. A surface that is linear in x and y is nearly reproduced.

    Args:
        values: Pixel values; those of unknown pixels are ignored.
        is_known: The pixels to keep. If there are none, `values` is returned unchanged.
    """
    if is_known.all() or not is_known.any():
        return values.copy()

    # Planes of one channel each are several times faster than pixels of several channels.
    planes = np.ascontiguousarray(values.transpose(2, 0, 1))
    return np.ascontiguousarray(_filled(planes, is_known).transpose(1, 2, 0))


def _filled(
    planes: Float32[np.ndarray, "C H W"], is_known: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "C H W"]:
    if is_known.all():
        return planes

    guess = np.repeat(np.repeat(_coarse(planes, is_known), 2, axis=1), 2, axis=2)
    height, width = is_known.shape
    filled = np.where(is_known, planes, guess[:, :height, :width])

    _smooth(filled, ~is_known)
    return filled


def _coarse(
    planes: Float32[np.ndarray, "C H W"], is_known: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "C h w"]:
    """The filled area at half the resolution: each pixel is the mean of the known ones among its four."""
    height, width = is_known.shape
    padding = ((0, 0), (0, height % 2), (0, width % 2))
    weights = np.pad(is_known[None].astype(np.float32), padding)
    sums = np.pad(planes * is_known, padding)

    weights, sums = _sum_of_fours(weights), _sum_of_fours(sums)
    return _filled(sums / np.maximum(weights, 1), weights[0] > 0)


def _sum_of_fours(planes: Float32[np.ndarray, "C H W"]) -> Float32[np.ndarray, "C h w"]:
    rows = planes[:, 0::2] + planes[:, 1::2]
    sums: Float32[np.ndarray, "C h w"] = rows[:, :, 0::2] + rows[:, :, 1::2]
    return sums


def _smooth(filled: Float32[np.ndarray, "C H W"], is_unknown: Bool[np.ndarray, "H W"]) -> None:
    """Replaces each unknown pixel by the mean of its four neighbours, several times.

    Beyond the edge of the image, its outermost pixels continue unchanged.
    """
    padded = np.pad(filled, ((0, 0), (1, 1), (1, 1)), mode="edge")
    inner, means = padded[:, 1:-1, 1:-1], np.empty_like(filled)

    for _ in range(_SWEEPS):
        np.add(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], out=means)
        means += padded[:, 1:-1, :-2]
        means += padded[:, 1:-1, 2:]
        means *= 0.25
        np.copyto(inner, means, where=is_unknown)
        padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
        padded[:, :, 0], padded[:, :, -1] = padded[:, :, 1], padded[:, :, -2]
    filled[:] = inner
