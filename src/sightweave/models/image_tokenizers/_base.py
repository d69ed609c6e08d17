"""The interface of image tokenizers, which turn pixels into a grid of codes, and codes back into pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.errors import DataError, MediaError


class ImageTokenizer(nn.Module):
    """Base class of image tokenizers; a kind's ``Config.build()`` creates one.

    Pixels are RGB from 0 to 1. Any image whose sides are multiples of the stride can be encoded; `image_size` is the side to
    which images are resized when a dataset is read.
    """

    image_size: int
    """Side of the square images of the dataset, in pixels."""
    stride: int
    """Side of the square of pixels that becomes one code."""
    num_codes: int
    """Number of different codes K."""
    code_dim: int
    """Width C of the vector of a code."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the codes of an image of the dataset."""
        return (self.image_size // self.stride, self.image_size // self.stride)

    def encode(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Int[Tensor, "I h w"]:
        """The code of each square of pixels.

        Raises:
            MediaError: The sides of the images are not multiples of the stride.
        """
        raise NotImplementedError(type(self).__name__)

    def decode(self, codes: Int[Tensor, "I h w"]) -> Float[Tensor, "I 3 Hp Wp"]:
        """The pixels of a grid of codes, limited to the range from 0 to 1.

        Raises:
            DataError: A code is outside the range from 0 to K - 1.
        """
        raise NotImplementedError(type(self).__name__)

    def vectors(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape C"]:
        """The vector of each code; similar codes have similar vectors. Codes are not checked."""
        raise NotImplementedError(type(self).__name__)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Float[Tensor, "I 3 Hp Wp"]:
        """Pixels that are encoded and decoded again, with gradients for both halves and without limits on their range.

        Raises:
            MediaError: The sides of the images are not multiples of the stride.
        """
        raise NotImplementedError(type(self).__name__)

    def check_pixels(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> None:
        """Checks that the sides of images are multiples of the stride.

        Raises:
            MediaError: They are not.
        """
        height, width = pixels.shape[-2:]
        if height % self.stride or width % self.stride or not height or not width:
            raise MediaError(
                "image_size",
                f"an image of {width} x {height} pixels cannot be divided into squares of {self.stride} x {self.stride} "
                f"pixels, one for each code; resize it to multiples of {self.stride}.",
            )

    def check_codes(self, codes: Int[Tensor, "*shape"]) -> None:
        """Checks that all codes exist.

        Raises:
            DataError: A code is negative, or K or more.
        """
        if not codes.numel():
            return
        least, most = (int(one) for one in torch.aminmax(codes))
        if least < 0 or most >= self.num_codes:
            wrong = least if least < 0 else most
            raise DataError(
                f"image code {wrong} is out of range: this image tokenizer has the codes 0 to {self.num_codes - 1}. "
                "The codes are damaged, or were made by another image tokenizer."
            )
