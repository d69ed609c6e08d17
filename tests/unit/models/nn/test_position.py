"""Positions against complex numbers and the formula of the paper."""

from __future__ import annotations

import math

import pytest
import torch

from sightweave.models.nn.position import RelativePositions, Rotary, fourier_grid, rotate, sinusoidal


def turned(x: torch.Tensor, positions: torch.Tensor, base: float) -> torch.Tensor:
    """Pairs (i, i + half) as complex numbers, turned by position / base ** (2 i / width)."""
    half = x.shape[-1] // 2
    numbers = torch.complex(x[..., :half].double(), x[..., half:].double())
    angles = positions[:, None, :, None] / base ** (torch.arange(half) * 2 / x.shape[-1])
    made = numbers * torch.exp(1j * angles.double())
    return torch.cat([made.real, made.imag], -1).float()


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_rotary_turns_pairs_as_complex_numbers(base: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8)
    positions = torch.tensor([[0, 1, 2, 3, 4], [7, 0, 100, 2, 2]])
    found = rotate(x, Rotary(8, base=base)(positions))
    torch.testing.assert_close(found, turned(x, positions, base), atol=1e-5, rtol=1e-5)


def test_scores_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    rotary = Rotary(8)
    query, key = torch.randn(2, 1, 1, 1, 8)

    def score(at: int, other: int) -> float:
        turned = (rotate(x, rotary(torch.tensor([[p]]))) for x, p in ((query, at), (key, other)))
        return float(torch.mul(*turned).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-3)


def test_rotation_keeps_the_format() -> None:
    x = torch.randn(1, 1, 2, 4, dtype=torch.bfloat16)
    assert rotate(x, Rotary(4)(torch.tensor([[0, 1]]))).dtype == torch.bfloat16


def test_an_odd_head_is_refused() -> None:
    with pytest.raises(ValueError, match="even head width \\(got 7\\)"):
        Rotary(7)


def test_sinusoidal_is_the_formula() -> None:
    found = sinusoidal(torch.tensor([0, 5]), 8)
    for at, row in zip((0, 5), found.tolist(), strict=True):
        angles = [at / 10_000 ** (2 * i / 8) for i in range(4)]
        assert row == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-6)


def test_the_features_of_places_differ_and_are_bounded() -> None:
    features = fourier_grid(3, 4, octaves=2)
    assert features.shape == (12, 2 + 4 * 2)
    assert features.abs().max() <= 1
    assert len({tuple(row) for row in features.tolist()}) == 12
    # x grows along a row, y down the rows; the middle of the picture is 0
    assert features[:4, 0].tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert features[::4, 1].tolist() == pytest.approx([-2 / 3, 0, 2 / 3], abs=1e-6)


def bucket(distance: int, *, both_ways: bool) -> int:
    """T5's, from its paper's words: 16 exact ones (8 each way), then evenly in the logarithm up to 128."""
    count = 16 if both_ways else 32
    if distance > 0:
        return bucket(-distance, both_ways=True) + 16 if both_ways else 0
    far = -distance
    near = count // 2
    if far < near:
        return far
    return min(count - 1, near + int(math.log(far / near) / math.log(128 / near) * (count - near)))


@pytest.mark.parametrize("both_ways", [True, False])
def test_near_distances_have_a_number_each_and_far_ones_share(both_ways: bool) -> None:
    made = RelativePositions(3, both_ways=both_ways)
    distances = torch.arange(-300, 301)
    # Exact powers of two lie on the border of two numbers, where rounding decides.
    expected = torch.tensor([bucket(int(one), both_ways=both_ways) for one in distances])
    off = (made.bucket(distances) != expected).nonzero().flatten()
    assert all(abs(int(distances[one])) in (16, 32, 64) for one in off)
    assert made.bucket(distances).unique().tolist() == expected.unique().tolist()


def test_what_is_added_depends_on_distance_alone() -> None:
    made = RelativePositions(3, both_ways=True)
    looking, looked_at = torch.tensor([[0, 5]]), torch.tensor([[2, 7, 0]])
    found = made(looking, looked_at)
    assert found.shape == (1, 3, 2, 3)
    assert found[0, :, 0, 0].equal(found[0, :, 1, 1])
    assert found.equal(made(looking + 40, looked_at + 40))
    assert not found[0, :, 0, 0].equal(found[0, :, 1, 2])
