"""KID against independent implementations: the U-statistic by plain loops, and its mean over many random subsets."""

from collections.abc import Sequence

import numpy as np
import pytest

from sightweave.answers.metrics.kid import Kid
from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample


class Means:
    """A model whose features are the means of rows of pixels."""

    name, fingerprint = "runs/encoder", "fedcba9876543210"

    def answer(self, images: object, checks: object) -> list[str | None]:
        raise NotImplementedError

    def features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([one.mean((1, 2)) / 64 for one in images])


def drawings(count: int, shift: int) -> tuple[list[np.ndarray], list[Sample]]:
    random = np.random.default_rng(7)
    real = random.integers(0, 150, (count, 6, 4, 3), dtype=np.uint8)
    drawn = random.integers(shift, 150 + shift, (count, 6, 4, 3), dtype=np.uint8)
    samples = [
        Sample(id=str(n), task="drawing", parts=(Part("assistant", Medium(one, str(n)), learn=True),))
        for n, one in enumerate(real)
    ]
    return list(drawn), samples


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3


def by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Lemma 6 of Gretton et al. 2012, term by term."""
    n, total = len(x), 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
    return total / (n * (n - 1))


def features(images: Sequence[np.ndarray], samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    real = [np.asarray(sample.pictures[0].source) for sample in samples]
    return Means().features(images), Means().features(real)


@pytest.mark.parametrize("shift", [0, 40])
def test_the_distance_is_that_of_plain_loops(shift: int) -> None:
    images, samples = drawings(12, shift)
    metric = Kid(judge=Means())
    found = float(metric.total(metric.rows(images, samples).sum(0)))
    assert found == pytest.approx(by_loops(*features(images, samples)), rel=1e-9)


def test_subsets_are_averaged() -> None:
    images, samples = drawings(12, 40)
    metric = Kid(subset_size=4, judge=Means())
    found = float(metric.total(metric.rows(images, samples).sum(0)))
    x, y = features(images, samples)
    parts = [by_loops(x[low : low + 4], y[low : low + 4]) for low in (0, 4, 8)]
    assert found == pytest.approx(np.mean(parts), rel=1e-9)


def test_all_pairs_estimate_what_many_random_subsets_do() -> None:
    images, samples = drawings(12, 40)
    metric = Kid(judge=Means())
    rows = metric.rows(images, samples)
    x, y = features(images, samples)
    random = np.random.default_rng(0)
    chosen = [random.permutation(12)[:5] for _ in range(300)]
    values = [by_loops(x[part], y[part]) for part in chosen]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(float(metric.total(rows.sum(0))) - np.mean(values)) < 4 * error


def test_the_spread_of_the_rows_is_that_of_the_distance() -> None:
    """Over new data, the distance varies as the standard error of the rows says."""
    values, errors = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        real = random.integers(0, 150, (30, 6, 4, 3), dtype=np.uint8)
        drawn = random.integers(50, 200, (30, 6, 4, 3), dtype=np.uint8)
        samples = [
            Sample(id=str(n), task="drawing", parts=(Part("assistant", Medium(one, str(n)), learn=True),))
            for n, one in enumerate(real)
        ]
        rows = Kid(judge=Means()).rows(list(drawn), samples)[:, 0]
        values.append(rows.mean())
        errors.append(rows.std(ddof=1) / np.sqrt(30))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_equal_distributions_have_a_distance_near_0_and_others_do_not() -> None:
    metric = Kid(judge=Means())
    near = float(metric.total(metric.rows(*drawings(60, 0)).sum(0)))
    far = float(metric.total(metric.rows(*drawings(60, 60)).sum(0)))
    assert abs(near) < far / 20


def test_too_few_drawings_and_subsets_of_one_are_errors() -> None:
    images, samples = drawings(1, 0)
    with pytest.raises(DataError, match=r"kid: 1 drawing\(s\) to compare; at least two"):
        Kid(judge=Means()).rows(images, samples)
    with pytest.raises(ValueError, match="subset_size must be 0 or at least 2"):
        Kid(subset_size=1)
    with pytest.raises(DataError, match="kid: its judge is not loaded"):
        Kid(judged_by="runs/encoder").rows(*drawings(2, 0))


def test_the_features_are_named() -> None:
    _, samples = drawings(4, 0)
    found = Kid(judge=Means()).signature(samples)
    assert found == "judge:runs/encoder|sha256:fedcba987654|kernel:cubic|subsets:4|images:4"
