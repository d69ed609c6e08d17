"""How close a picture is to another one: PSNR and SSIM.

Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861),
with the paper's Gaussian window and constants, for each colour channel.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WINDOW = 11
"""Side of the window of SSIM in pixels; smaller pictures cannot be compared."""
_SPREAD = 1.5
"""Standard deviation of the window in pixels."""
_LEAST_ERROR = 1e-10
"""Mean squared error of equal pictures, which would otherwise have an infinite PSNR."""
_C1, _C2 = 0.01**2, 0.03**2


def psnr(pictures: Float[Tensor, "I 3 H W"], references: Float[Tensor, "I 3 H W"]) -> Float[Tensor, " I"]:
    """Peak signal-to-noise ratio of each picture in dB, at most 100; pixels are from 0 to 1."""
    errors = (pictures.double() - references.double()).square().mean((1, 2, 3))
    return -10 * errors.clamp(min=_LEAST_ERROR).log10()


def ssim(pictures: Float[Tensor, "I 3 H W"], references: Float[Tensor, "I 3 H W"]) -> Float[Tensor, " I"]:
    """Structural similarity of each picture, 1 for equal ones; the mean over channels and all places of the window.

    Raises:
        ValueError: A side is shorter than the window.
    """
    if min(pictures.shape[-2:]) < WINDOW:
        height, width = pictures.shape[-2:]
        raise ValueError(
            f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels (got {width} x {height})."
        )

    one, two = pictures.double(), references.double()
    mean_1, mean_2 = _blurred(one), _blurred(two)
    variance_1 = _blurred(one * one) - mean_1 * mean_1
    variance_2 = _blurred(two * two) - mean_2 * mean_2
    covariance = _blurred(one * two) - mean_1 * mean_2

    above = (2 * mean_1 * mean_2 + _C1) * (2 * covariance + _C2)
    below = (mean_1 * mean_1 + mean_2 * mean_2 + _C1) * (variance_1 + variance_2 + _C2)
    return (above / below).mean((1, 2, 3))


def _blurred(pictures: Tensor) -> Tensor:
    """Weighted means in the window, where it fits completely."""
    place = torch.arange(WINDOW, dtype=pictures.dtype, device=pictures.device) - WINDOW // 2
    weights = (-(place**2) / (2 * _SPREAD**2)).exp()
    weights = weights / weights.sum()

    channels = pictures.shape[1]
    down = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(pictures, down, groups=channels), across, groups=channels)
