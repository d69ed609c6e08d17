"""Vision Transformer: image patches as tokens with bidirectional attention.

An Image is Worth 16x16 Words (Dosovitskiy et al. 2020, arXiv:2010.11929), by default without a class token and with a
final norm, as in SigLIP (Zhai et al. 2023, arXiv:2303.15343). The convolutional stem is that of Early Convolutions Help
Transformers See Better (Xiao et al. 2021, arXiv:2106.14881); with it, the model learns far faster from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.encoders._base import Encoder
from sightweave.models.nn.block import BlockShape
from sightweave.models.nn.convolution import Downsample, to_channels_last
from sightweave.models.nn.feed_forward import Form
from sightweave.models.nn.init import draw, initialise
from sightweave.models.nn.mask import Mask


@config
class Config:
    """Sizes of the Vision Transformer."""

    image_size: int = 96
    """Side of the input image, in pixels; a multiple of the patch size."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    dim: int = 128
    """Width Dv of the features."""
    depth: int = 3
    """Number of blocks."""
    num_heads: int = 4
    """Number of attention heads."""
    hidden_dim: int | None = None
    """Width inside the feed-forward layer; None means 4 Dv."""
    feed_forward: Form = "gelu_tanh"
    """Feed-forward activation: relu, gelu, gelu_tanh, quick_gelu, relu2, swiglu or geglu."""
    norm_eps: float = 1e-6
    """Epsilon of the normalisation layers."""
    class_token: bool = False
    """Whether to add a class token, as in ViT, CLIP and DINOv2; it is not returned as a feature."""
    pre_norm: bool = False
    """Whether to normalise before the blocks and embed patches without a bias, as in CLIP."""
    layer_scale: bool = False
    """Whether to scale each residual branch by learnt factors (layer scale), as in DINOv2."""
    post_norm: bool = True
    """Whether to normalise after the blocks, as SigLIP and Idefics3 do; LLaVA reads the features before that norm."""
    stem: Literal["patch", "convolution"] = "patch"
    """Stem: patch (one linear map per patch) or convolution (strided 3x3 convolutions down to the same grid)."""

    def build(self) -> Vit:
        """Builds the encoder."""
        shape = BlockShape(
            dim=self.dim,
            num_heads=self.num_heads,
            hidden_dim=self.hidden_dim or 4 * self.dim,
            feed_forward=self.feed_forward,
            norm="layer",
            norm_eps=self.norm_eps,
            bias=True,
            layer_scale=self.layer_scale,
        )
        return Vit(
            shape,
            image_size=self.image_size,
            patch_size=self.patch_size,
            depth=self.depth,
            class_token=self.class_token,
            pre_norm=self.pre_norm,
            post_norm=self.post_norm,
            stem=self.stem,
        )


class Vit(Encoder):
    """Maps images to a grid with one feature per patch.

    Args:
        shape: Shape of every block; its width is Dv.
        image_size: Side of the input image, in pixels.
        patch_size: Side P of a patch, in pixels.
        depth: Number of blocks.
        class_token: Whether to add a class token.
        pre_norm: Whether to normalise before the blocks and embed patches without a bias.
        post_norm: Whether to normalise after the blocks.
        stem: ``patch`` or ``convolution``.

    Raises:
        ValueError: the patch size does not divide the image size, or is not a power of two with a convolutional stem.
    """

    def __init__(
        self,
        shape: BlockShape,
        *,
        image_size: int,
        patch_size: int,
        depth: int,
        class_token: bool = False,
        pre_norm: bool = False,
        post_norm: bool = True,
        stem: Literal["patch", "convolution"] = "patch",
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size {patch_size} does not divide image_size {image_size}.")
        dim = shape.dim
        self.image_size, self.dim, self.side = image_size, dim, image_size // patch_size
        self.stem: nn.Module
        if stem == "patch":
            self.stem = nn.Conv2d(3, dim, patch_size, stride=patch_size, bias=not pre_norm)
        else:
            self.stem = _convolutional_stem(patch_size, dim)

        self.class_token = nn.Parameter(torch.zeros(dim)) if class_token else None
        # The class token has a position embedding too, which is the first.
        self.place_table = nn.Parameter(torch.empty(class_token + self.side**2, dim))

        self.pre_norm = shape.make_norm() if pre_norm else None
        self.blocks = shape.blocks(depth)
        self.norm = shape.make_norm() if post_norm else None
        initialise(self)
        draw(self.place_table, std=0.02)

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """The grid (1, `side`, `side`), which is the same for all images."""
        return (1, self.side, self.side)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes images."""
        hidden = self.stem(to_channels_last(pixels)).flatten(2).transpose(1, 2)  # I N Dv
        if self.class_token is not None:
            hidden = torch.cat([self.class_token.expand(len(hidden), 1, -1), hidden], 1)
        hidden = hidden + self.place_table
        if self.pre_norm is not None:
            hidden = self.pre_norm(hidden)
        for block in self.blocks:
            hidden = block(hidden, Mask())
        if self.class_token is not None:
            hidden = hidden[:, 1:]
        return Features(hidden if self.norm is None else self.norm(hidden), self.grid())


def _convolutional_stem(patch_size: int, dim: int) -> nn.Sequential:
    halvings = patch_size.bit_length() - 1
    if patch_size != 2**halvings or halvings == 0:
        raise ValueError(
            f"a convolutional stem needs a patch_size that is a power of two, at least 2 (got {patch_size})."
        )
    widths = [max(16, dim >> (halvings - 1 - step)) for step in range(halvings)]
    layers: list[nn.Module] = [
        Downsample(inputs, outputs, norm="group")
        for inputs, outputs in zip([3, *widths], widths, strict=False)
    ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], dim, 1))
