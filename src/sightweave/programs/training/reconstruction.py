"""How well an image tokenizer restores pictures that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sightweave.answers.scoring import picture_quality
from sightweave.models.image_tokenizers._base import ImageTokenizer


@dataclass
class Reconstruction:
    """The quality of restored pictures, collected over batches."""

    psnr: float = 0.0
    """Sum over pictures, in dB."""
    ssim: float = 0.0
    """Sum over pictures."""
    pictures: int = 0
    has_ssim: bool = True
    """Whether all pictures are large enough for the window of SSIM."""
    codes: set[int] = field(default_factory=set)
    """The codes that occur in the pictures."""

    @torch.no_grad()
    def add(self, image_tokenizer: ImageTokenizer, pictures: Tensor) -> None:
        """Restores pictures, float I 3 H W, and measures them."""
        codes = image_tokenizer.encode(pictures)
        restored = image_tokenizer.decode(codes)

        self.pictures += len(pictures)
        self.codes.update(codes.flatten().tolist())
        self.psnr += float(picture_quality.psnr(restored, pictures).sum())
        self.has_ssim = self.has_ssim and min(pictures.shape[-2:]) >= picture_quality.WINDOW
        if self.has_ssim:
            self.ssim += float(picture_quality.ssim(restored, pictures).sum())

    def measures(self) -> dict[str, float]:
        """Mean PSNR in dB, mean SSIM and the number of different codes, by name; empty without pictures."""
        if not self.pictures:
            return {}
        found = {"psnr": self.psnr / self.pictures, "codes_used": float(len(self.codes))}
        if self.has_ssim:
            found["ssim"] = self.ssim / self.pictures
        return found
