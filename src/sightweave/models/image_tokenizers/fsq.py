"""Convolutional autoencoder with finite scalar quantization: each code is a point of a fixed grid.

Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer et al., ICLR 2024, arXiv:2309.15505), section 3. Each channel of the
encoder's output is bounded and rounded to one of a few levels, so that the codes need no codebook and no further loss; the
gradient passes through the rounding unchanged. Differs from the paper: a small convolutional network trained on the absolute
error of pixels and edges, without perceptual or adversarial losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.config import config
from sightweave.core.errors import CheckpointError
from sightweave.models.image_tokenizers._base import ImageTokenizer
from sightweave.models.nn.convolution import Downsample, Residual, channel_norm, to_channels_last
from sightweave.models.nn.init import initialise

_MARGIN = 1e-3
"""Margin by which the outermost levels are reached before the bounded value saturates (the paper's epsilon)."""


@config
class Config:
    """Sizes of the autoencoder."""

    image_size: int = 64
    """Side of the square images of the dataset, in pixels; a multiple of the stride."""
    stride: Literal[4, 8, 16, 32] = 8
    """Side of the square of pixels that becomes one code, in pixels."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2, le=64)], ...], Field(min_length=1, max_length=16)] = (
        8,
        6,
        5,
        5,
    )
    """Number of levels of each channel of a code; their product is the number of codes."""
    channels: int = 32
    """Width of the network after the first halving of the grid; it doubles with each further one."""
    max_channels: int = 128
    """Maximum width of the network, at which it stops doubling."""
    blocks: int = 1
    """Number of residual blocks at the resolution of the codes, in the encoder and in the decoder."""

    def build(self) -> Fsq:
        """Builds the image tokenizer."""
        return Fsq(
            image_size=self.image_size,
            stride=self.stride,
            levels=self.levels,
            channels=self.channels,
            max_channels=self.max_channels,
            blocks=self.blocks,
        )


class Fsq(ImageTokenizer):
    """Encoder, quantizer and decoder.

    Args:
        image_size: Side of the square images of the dataset, in pixels.
        stride: Side of the square of pixels that becomes one code; a power of 2.
        levels: Number of levels of each channel of a code.
        channels: Width of the network after the first halving of the grid.
        max_channels: Maximum width of the network.
        blocks: Number of residual blocks at the resolution of the codes.

    Raises:
        ValueError: `stride` is not a power of 2, does not divide `image_size`, or a channel has fewer than 2 levels.
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        stride: int = 8,
        levels: Sequence[int] = (8, 6, 5, 5),
        channels: int = 32,
        max_channels: int = 128,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        depth = int(math.log2(stride)) if stride > 1 else 0
        if depth < 1 or 2**depth != stride:
            raise ValueError(f"stride must be a power of 2, at least 2 (got {stride}).")
        if image_size % stride:
            raise ValueError(f"image_size {image_size} is not a multiple of the stride {stride}.")

        self.image_size, self.stride = image_size, stride
        self.quantizer = Quantizer(levels)
        self.num_codes, self.code_dim = self.quantizer.num_codes, len(levels)

        widths = [min(max_channels, channels * 2**number) for number in range(depth)]
        self.encoder = _encoder(widths, self.code_dim, blocks)
        self.decoder = _decoder(widths, self.code_dim, blocks)
        initialise(self)

    def encode(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Int[Tensor, "I h w"]:
        """The code of each square of pixels."""
        return self.quantizer.numbers(self.quantizer(self._latent(pixels).movedim(1, -1)))

    def decode(self, codes: Int[Tensor, "I h w"]) -> Float[Tensor, "I 3 Hp Wp"]:
        """The pixels of a grid of codes, from 0 to 1."""
        self.check_codes(codes)
        return self._pixels(self.vectors(codes).movedim(-1, 1)).clamp(0, 1)

    def vectors(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape C"]:
        """The point of the grid that each code stands for, with coordinates from -1 to 1."""
        return self.quantizer.vectors(codes)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Float[Tensor, "I 3 Hp Wp"]:
        """Pixels that are encoded and decoded again."""
        latent = self._latent(pixels).movedim(1, -1)
        return self._pixels(self.quantizer(latent).movedim(-1, 1))

    def _latent(self, pixels: Tensor) -> Tensor:
        self.check_pixels(pixels)
        return self.encoder(to_channels_last(2 * pixels - 1))  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def _pixels(self, vectors: Tensor) -> Tensor:
        return (self.decoder(to_channels_last(vectors)) + 1) / 2  # type: ignore[no-any-return]  # nn.Module calls are untyped


class Quantizer(nn.Module):
    """Rounds each channel to one of its levels, and numbers the points of the resulting grid.

    The number of a point has the digits of its levels, the first channel being the lowest digit.

    Args:
        levels: Number of levels of each channel.

    Raises:
        ValueError: There is no channel, or one has fewer than 2 levels.
    """

    levels: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(
                f"levels must have at least one channel, each with 2 or more (got {list(levels)})."
            )

        self.counts = tuple(levels)
        self.num_codes = math.prod(levels)
        # Saved with the weights: tensors of other levels may have the same shapes.
        self.register_buffer("levels", torch.tensor(self.counts))
        places = [math.prod(self.counts[:channel]) for channel in range(len(self.counts))]
        self.register_buffer("places", torch.tensor(places))

    def forward(self, latent: Float[Tensor, "*shape C"]) -> Float[Tensor, "*shape C"]:
        """The nearest point of the grid, from -1 to 1; the gradient is that of the bounded values before rounding."""
        bounded = self._bounded(latent)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / self._half(latent.dtype)

    def numbers(self, points: Float[Tensor, "*shape C"]) -> Int[Tensor, "*shape"]:
        """The number of each point of the grid."""
        digits = (points * self._half(points.dtype)).round().long() + self.levels // 2
        return (digits * self.places).sum(-1)

    def vectors(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape C"]:
        """The point of each number: the inverse of `numbers`."""
        digits = codes[..., None] // self.places % self.levels
        dtype = torch.get_default_dtype()
        return (digits - self.levels // 2).to(dtype) / self._half(dtype)

    def _half(self, dtype: torch.dtype) -> Tensor:
        """Distance in levels from the middle of the grid to its lower end, by channel."""
        return (self.levels // 2).to(dtype)

    def _bounded(self, latent: Tensor) -> Tensor:
        """Values that round to one of the levels of their channel: -(L // 2) to (L - 1) // 2."""
        half = (self.levels - 1).to(latent.dtype) * (1 + _MARGIN) / 2
        # With an even number of levels, the middle of the range is between two of them.
        offset = (1 - self.levels % 2).to(latent.dtype) / 2
        shift = (offset / half).atanh()
        return (latent + shift).tanh() * half - offset

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        found = state_dict.get(f"{prefix}levels")
        if isinstance(found, Tensor) and not found.is_meta and found.tolist() != list(self.counts):
            raise CheckpointError(
                f"the weights are those of an image tokenizer with the levels {found.tolist()}, but this one has "
                f"{list(self.counts)}, so its codes mean something else; use the recipe with which the weights were trained."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Upsample(nn.Module):
    """Doubles rows and columns by repeating values, followed by a 3x3 convolution, a norm and GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = channel_norm("group", outputs)

    def forward(self, x: Tensor) -> Tensor:
        larger = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.gelu(self.norm(self.convolution(larger)))


def _encoder(widths: Sequence[int], code_dim: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in zip((3, *widths), widths, strict=False):
        layers.append(Downsample(inputs, outputs, norm="group"))
    layers += [Residual(widths[-1], norm="group") for _ in range(blocks)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], code_dim, 1))


def _decoder(widths: Sequence[int], code_dim: int, blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(code_dim, widths[-1], 3, padding=1)]
    layers += [Residual(widths[-1], norm="group") for _ in range(blocks)]
    for inputs, outputs in zip(widths[:0:-1], widths[-2::-1], strict=True):
        layers.append(_Upsample(inputs, outputs))
    # The last doubling rearranges channels into pixels, which saves a convolution at full resolution.
    return nn.Sequential(*layers, nn.Conv2d(widths[0], 3 * 4, 3, padding=1), nn.PixelShuffle(2))
