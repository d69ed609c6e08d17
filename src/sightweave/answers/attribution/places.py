"""Places of a medium: the cells of the encoder's grid, and the values of the medium that belong to each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

Grid = tuple[int, int, int]


def map_shape(grid: Grid, axes: int) -> tuple[int, ...]:
    """Shape of the map of a medium whose values have this number of axes besides the channels.

    Args:
        grid: Times, rows and columns of the features.
        axes: 1 for a series, 2 for an image, 3 for a video.
    """
    times, rows, columns = grid
    if axes == 1:
        return (times * rows * columns,)
    return (times * rows, columns) if axes == 2 else grid


def cell_of_values(
    size: Sequence[int], shape: Sequence[int], stride: Sequence[int] = ()
) -> Int[Tensor, "*size"]:
    """Index of the cell to which each value of a medium belongs, row by row.

    Args:
        size: Number of values along each axis.
        shape: Number of cells along each axis.
        stride: Number of values per cell along each axis; empty divides each axis evenly.
    """
    cells = torch.zeros(tuple(size), dtype=torch.int64)
    for axis, (length, count) in enumerate(zip(size, shape, strict=True)):
        along = torch.arange(length)
        along = along // stride[axis] if stride else along * count // length
        along = along.clamp(max=count - 1)
        cells = cells * count + along.view(-1, *[1] * (len(size) - axis - 1))
    return cells


def sum_by_cell(values: Tensor, cells: Int[Tensor, "*size"], count: int) -> Float[Tensor, " N"]:
    """The sum of the values in each cell, over all channels.

    Args:
        values: float C *size.
        cells: Index of the cell of each value.
        count: Number N of cells.
    """
    flat = values.sum(0).flatten()
    return flat.new_zeros(count).index_add(0, cells.flatten().to(flat.device), flat)


def spread(grid: Grid, out_grid: Grid) -> Float[Tensor, "Q N"]:
    """The share of each feature in each embedding, for a connector that averages or joins neighbouring features.

    The shares of an embedding sum to 1. Along an axis with n features and m embeddings, embedding i reads the features from
    ``floor(i n / m)`` to ``ceil((i + 1) n / m)``, as adaptive pooling does.

    Args:
        grid: Times, rows and columns of the features.
        out_grid: Times, rows and columns of the embeddings.
    """
    shares = torch.ones(1, 1)
    for count, out_count in zip(grid, out_grid, strict=True):
        along = torch.zeros(out_count, count)
        for out in range(out_count):
            along[out, out * count // out_count : math.ceil((out + 1) * count / out_count)] = 1
        shares = torch.kron(shares, along / along.sum(1, keepdim=True))
    return shares
