"""Position encodings: rotary, relative, sinusoidal, and Fourier features of the cells of an image grid."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.models.nn.init import embedding

_MOST_PLACES = 1 << 20
"""Maximum number of cells in a grid; a square image of 16,384 pixels per side with patches of 16 pixels has this
number."""
Rotation = tuple[Float[Tensor, "B 1 S Dh"], Float[Tensor, "B 1 S Dh"]]
"""Cosines and sines of the rotation angles; the sines already include the sign of rotate-half."""


class Rotary(nn.Module):
    """Rotates queries and keys by their positions, so that scores depend on the distance between them.

    RoFormer (Su et al. 2021, arXiv:2104.09864), in the half-split order of Llama.

    Args:
        head_dim: Width Dh of one head; even.
        base: Base of the wavelengths; larger values suit longer texts.

    Raises:
        ValueError: `head_dim` is odd.
    """

    def __init__(self, head_dim: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"rotary positions need an even head width (got {head_dim}).")
        self.head_dim, self.base = head_dim, base

    def forward(self, positions: Int[Tensor, "B S"]) -> Rotation:
        """The rotation of each token."""
        half = torch.arange(0, self.head_dim, 2, device=positions.device, dtype=torch.float32)
        angles = positions[..., None].float() * self.base ** (-half / self.head_dim)  # B S Dh/2

        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Float[Tensor, "B H S Dh"], rotation: Rotation) -> Float[Tensor, "B H S Dh"]:
    """Applies a rotation. `roll` swaps the two halves; the sines include the sign."""
    cos, sin = rotation
    return (x * cos + x.roll(x.shape[-1] // 2, -1) * sin).to(x.dtype)


class RelativePositions(nn.Module):
    """A learned bias for each head and distance, which is added to the attention scores.

    Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (T5, Raffel et al. 2019,
    arXiv:1910.10683), section 2.1. Each short distance has its own bias; longer ones share buckets of growing size.

    Args:
        num_heads: Number of heads H.
        both_ways: Whether attention is bidirectional; if so, half of the buckets are for later tokens.
        buckets: Number of biases for each head; a multiple of 4.
        reach: Distance, in tokens, beyond which all distances share the last bucket.
    """

    def __init__(self, num_heads: int, *, both_ways: bool, buckets: int = 32, reach: int = 128) -> None:
        super().__init__()
        self.both_ways, self.buckets, self.reach = both_ways, buckets, reach
        self.table = embedding(buckets, num_heads)

    def forward(self, looking: Int[Tensor, "B S"], looked_at: Int[Tensor, "B K"]) -> Float[Tensor, "B H S K"]:
        """The biases to add to the scores, given the positions of queries and keys."""
        bucket = self.bucket(looked_at[:, None, :] - looking[:, :, None])
        return self.table(bucket).permute(0, 3, 1, 2)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def bucket(self, distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The bucket of each distance, which is negative for earlier tokens."""
        count = self.buckets // 2 if self.both_ways else self.buckets
        ahead = (distance > 0) * count if self.both_ways else 0
        distance = distance.abs() if self.both_ways else (-distance).clamp(min=0)

        # Half of the buckets contain one distance each; the sizes of the others grow exponentially.
        near = count // 2
        share = (distance.clamp(min=1).float() / near).log() / math.log(self.reach / near)
        far = (near + (share * (count - near)).long()).clamp(max=count - 1)
        return torch.where(distance < near, distance, far) + ahead


def sinusoidal(
    positions: Int[Tensor, "*shape"], dim: int, *, base: float = 10_000.0
) -> Float[Tensor, "*shape D"]:
    """Sinusoidal encodings of an even width `dim`: sines, then cosines (Vaswani et al. 2017, arXiv:1706.03762)."""
    scale = torch.exp(torch.arange(dim // 2, device=positions.device) * (-math.log(base) / (dim // 2)))
    angles = positions[..., None].float() * scale
    return torch.cat([angles.sin(), angles.cos()], -1)


def fourier_grid(rows: int, columns: int, octaves: int = 3) -> Float[Tensor, "N C"]:
    """Position features of the centre of each cell: x, y, and their sines and cosines at `octaves` frequencies.

    The number of features is C = 2 + 4 * octaves.

    Raises:
        ValueError: the grid has too many cells.
    """
    if rows * columns > _MOST_PLACES:
        raise ValueError(
            f"a grid of {rows} x {columns} positions is too large; the maximum is {_MOST_PLACES}."
        )

    # Always use the CPU: on the meta device, `arange` imports a computer algebra system (see `nn/init.py::draw`).
    down = (torch.arange(rows, device="cpu") + 0.5) / rows
    across = (torch.arange(columns, device="cpu") + 0.5) / columns
    y, x = torch.meshgrid(down, across, indexing="ij")
    centers = torch.stack([x, y], -1).flatten(0, 1) * 2 - 1  # N 2

    angles = torch.cat([centers * math.pi * 2**octave / 2 for octave in range(octaves)], -1)
    return torch.cat([centers, angles.sin(), angles.cos()], -1)


def resize_grid(table: Float[Tensor, "N D"], count: int) -> Float[Tensor, "M D"]:
    """Resizes the position table of a square grid to `count` positions by bicubic interpolation.

    Args:
        table: One row for each cell, in the order of the grid's rows; a row for a class token may come first and is
            kept.
        count: Number M of positions: a square number, or one more if there is a class token.

    Raises:
        ValueError: one of the grids is not square, or only one of them has a position for a class token.
    """
    old, new = math.isqrt(len(table)), math.isqrt(count)
    first = len(table) - old**2
    if first not in (0, 1) or count - new**2 != first:
        raise ValueError(
            f"only square position grids can be resized (got {len(table)} positions for {count})."
        )

    grid = torch.unflatten(table[first:].T, 1, (old, old))[None].float()  # 1 D h w
    resized = nn.functional.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:first], resized[0].flatten(1).T.to(table.dtype)])
