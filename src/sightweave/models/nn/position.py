"""Positions: rotary, relative, sinusoidal, and Fourier features of places in a picture."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.models.nn.init import embedding

_MOST_PLACES = 1 << 20
"""Of a grid: a picture of 16,384 pixels a side has them in patches of 16."""
Rotation = tuple[Float[Tensor, "B 1 S Dh"], Float[Tensor, "B 1 S Dh"]]
"""Cosines, and sines with the sign of rotate-half already in them."""


class Rotary(nn.Module):
    """Rotates queries and keys by their positions, so that scores depend on distance.

    RoFormer (Su et al. 2021, arXiv:2104.09864), in the half-split order of Llama.

    Args:
        head_dim: Width Dh of one head; even.
        base: Wavelength base; larger reaches further.

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
    """Applies a rotation; `roll` swaps the halves, the sign stands in the sines."""
    cos, sin = rotation
    return (x * cos + x.roll(x.shape[-1] // 2, -1) * sin).to(x.dtype)


class RelativePositions(nn.Module):
    """A learnt number for each head and distance, to be added to scores.

    Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (T5, Raffel et al. 2019,
    arXiv:1910.10683), section 2.1. Near distances have a number each; farther ones share more and more.

    Args:
        num_heads: Heads H.
        both_ways: Whether what lies ahead is looked at too; then half of the numbers are for it.
        buckets: Numbers for each head; a multiple of 4.
        reach: Distance in tokens from which all share the last number.
    """

    def __init__(self, num_heads: int, *, both_ways: bool, buckets: int = 32, reach: int = 128) -> None:
        super().__init__()
        self.both_ways, self.buckets, self.reach = both_ways, buckets, reach
        self.table = embedding(buckets, num_heads)

    def forward(self, looking: Int[Tensor, "B S"], looked_at: Int[Tensor, "B K"]) -> Float[Tensor, "B H S K"]:
        """The numbers for the positions of what looks and of what is looked at."""
        bucket = self.bucket(looked_at[:, None, :] - looking[:, :, None])
        return self.table(bucket).permute(0, 3, 1, 2)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def bucket(self, distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Which number stands for a distance, negative behind."""
        count = self.buckets // 2 if self.both_ways else self.buckets
        ahead = (distance > 0) * count if self.both_ways else 0
        distance = distance.abs() if self.both_ways else (-distance).clamp(min=0)
        near = count // 2
        share = (distance.clamp(min=1).float() / near).log() / math.log(self.reach / near)
        far = (near + (share * (count - near)).long()).clamp(max=count - 1)
        return torch.where(distance < near, distance, far) + ahead


def sinusoidal(
    positions: Int[Tensor, "*shape"], dim: int, *, base: float = 10_000.0
) -> Float[Tensor, "*shape D"]:
    """Attention Is All You Need (Vaswani et al. 2017, arXiv:1706.03762): sines, then cosines. `dim` is even."""
    scale = torch.exp(torch.arange(dim // 2, device=positions.device) * (-math.log(base) / (dim // 2)))
    angles = positions[..., None].float() * scale
    return torch.cat([angles.sin(), angles.cos()], -1)


def fourier_grid(rows: int, columns: int, octaves: int = 3) -> Float[Tensor, "N C"]:
    """x, y and their sines and cosines at `octaves` frequencies, for the centre of each cell: C = 2 + 4 * octaves."""
    if rows * columns > _MOST_PLACES:
        raise ValueError(
            f"a grid of {rows} x {columns} positions is too large; the maximum is {_MOST_PLACES}."
        )
    # Always on the CPU: on the meta device, `arange` imports a computer algebra system (see `nn/init.py::draw`).
    down, across = ((torch.arange(count, device="cpu") + 0.5) / count for count in (rows, columns))
    y, x = torch.meshgrid(down, across, indexing="ij")
    places = torch.stack([x, y], -1).flatten(0, 1) * 2 - 1  # N 2
    angles = torch.cat([places * math.pi * 2**octave / 2 for octave in range(octaves)], -1)
    return torch.cat([places, angles.sin(), angles.cos()], -1)


def resize_grid(table: Float[Tensor, "N D"], count: int) -> Float[Tensor, "M D"]:
    """A table of the places of a square grid for one of `count` places, by bicubic interpolation.

    Args:
        table: One row for each place, row by row of the grid; a class token's may stand before them, and stays as it is.
        count: M, a square number, or one more.

    Raises:
        ValueError: either grid is not square, or only one has a place for a class token.
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
