"""PSNR and SSIM of pictures, compared with scikit-image."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sightweave.answers.scoring.picture_quality import psnr, ssim


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(3, 3, 21, 30, generator=torch.Generator().manual_seed(seed))


def test_they_agree_with_scikit_image() -> None:
    references = pictures(0)
    changed = (references + 0.2 * (pictures(1) - 0.5)).clamp(0, 1)
    for number, (ratio, similarity) in enumerate(
        zip(psnr(changed, references), ssim(changed, references), strict=True)
    ):
        one, two = changed[number].numpy(), references[number].numpy()
        assert float(ratio) == pytest.approx(peak_signal_noise_ratio(two, one, data_range=1), abs=1e-4)
        expected = structural_similarity(
            two,
            one,
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(similarity) == pytest.approx(expected, abs=1e-4)


def test_equal_pictures_and_grey_ones() -> None:
    same = pictures(0)
    assert psnr(same, same).tolist() == [100, 100, 100]
    assert ssim(same, same).tolist() == pytest.approx([1, 1, 1])
    black, white = torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)
    assert float(psnr(black, white)) == 0
    assert float(psnr(black, white / 10)) == pytest.approx(20, abs=1e-4)
    # Without any variance, only the means differ.
    assert float(ssim(black, white)) == pytest.approx(0.0001 / 1.0001)
    assert math.isfinite(float(ssim(black, black)))


def test_small_pictures_have_no_ssim() -> None:
    with pytest.raises(ValueError, match=r"SSIM needs pictures of at least 11 x 11 pixels \(got 12 x 10\)"):
        ssim(torch.zeros(1, 3, 10, 12), torch.zeros(1, 3, 10, 12))
