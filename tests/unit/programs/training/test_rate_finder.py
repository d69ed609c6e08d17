"""The range test finds the rate at which a quadratic diverges, suggests a tenth of the best, and leaves no run."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import tiny
import torch
from contracts._compose import Case, compose
from unit.programs.training.test_trainer import PRECISION, TASKS, Pictures, stage

from sightweave import api
from sightweave.core.errors import RecipeError
from sightweave.programs.training import rate_finder
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.rate_finder import RateTest, range_test


class Quadratic:
    """Noisy gradient descent on ``curvature / 2 * x^2``, which diverges above a rate of 2 / curvature."""

    def __init__(self, curvature: float) -> None:
        self.curvature, self.x = curvature, 1.0
        self.noise = random.Random(0)

    def __call__(self, rate: float) -> float:
        loss = self.curvature / 2 * self.x**2
        self.x -= rate * self.curvature * (self.x + self.noise.gauss(0, 0.1))
        return loss


@pytest.mark.parametrize("curvature", [0.5, 10.0, 3000.0])
def test_the_suggestion_is_below_the_rate_that_diverges(curvature: float) -> None:
    found = range_test(Quadratic(curvature), lowest=1e-7, highest=1e3, steps=200)
    assert found.suggestion is not None
    assert 0.02 / curvature < found.suggestion < 2 / curvature
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 200  # it ended where it diverged
    assert found.rates[-1] < 100 / curvature
    lowest = found.rates[found.smoothed.index(min(found.smoothed))]
    assert found.suggestion == pytest.approx(lowest / 10)
    assert "a tenth of" in found.reason


def test_rates_grow_by_the_same_factor() -> None:
    found = range_test(lambda rate: 1.0 - rate, lowest=1e-4, highest=1e-1, steps=4)
    assert found.rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


def test_nothing_is_suggested_where_the_loss_says_nothing() -> None:
    flat = range_test(lambda _rate: 2.0, steps=20)
    assert flat.suggestion is None
    assert "did not fall clearly" in flat.reason
    falling = range_test(Quadratic(1.0), lowest=1e-3, highest=0.3, steps=50)
    assert falling.suggestion is None
    assert "still falling at the highest rate, 0.3" in falling.reason
    broken = range_test(lambda _rate: math.nan, steps=20)
    assert (broken.suggestion, broken.rates) == (None, ())
    assert "not finite at the lowest rate" in broken.reason
    assert broken.to_text(0) == f"no suggestion: {broken.reason}"


def test_a_loss_that_stops_being_finite_ends_the_test() -> None:
    losses = iter([3.0, 2.0, 1.0, math.inf])
    found = range_test(lambda _rate: next(losses), lowest=1e-3, highest=1.0, steps=10)
    assert found.losses == (3.0, 2.0, 1.0)
    assert found.suggestion == pytest.approx(found.rates[2] / 10)


def test_a_recipe_that_scales_its_rates_gets_the_rate_before_scaling() -> None:
    found = RateTest((1.0,), (1.0,), (1.0,), 0.04, "a tenth of 0.4.", 0.8)
    before = found.before_scaling(4.0)
    assert (before.suggestion, before.muon_rate) == (0.01, 0.2)
    assert before.reason == "a tenth of 0.4. Divided by 4, by which train.scale_lr multiplies it."
    assert found.before_scaling(1.0) == found


def test_impossible_rates_and_steps_are_refused() -> None:
    for rates in ((0.0, 1.0), (1.0, 1.0), (1.0, 0.1)):
        with pytest.raises(ValueError, match="must be positive, and the highest above the lowest"):
            range_test(lambda rate: rate, lowest=rates[0], highest=rates[1])
    with pytest.raises(ValueError, match=r"at least 2 steps \(got 1\)"):
        range_test(lambda rate: rate, steps=1)


def test_a_model_is_trained_at_the_rates_and_muon_keeps_its_proportion() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    one = stage(5, optimizer={"name": "muon", "lr": 1e-3, "muon_lr": 2e-2})
    feed = Feed([Pictures()], TASKS, processor, one, seed=0, quarantine=Quarantine())
    seen: list[int] = []
    torch.manual_seed(0)
    found = rate_finder.find(
        model, feed, one, PRECISION, steps=60, highest=1.0, progress=lambda done, _loss: seen.append(done)
    )
    assert seen == list(range(1, len(seen) + 1))
    assert found.suggestion is not None
    assert 1e-5 < found.suggestion < 0.1
    assert found.muon_rate == pytest.approx(20 * found.suggestion)
    assert "train.stages.2.optimizer.muon_lr=" in found.to_text(2)
    still = stage(5, optimizer={"lr": 0.0})
    with pytest.raises(RecipeError, match=r"optimizer\.lr is 0"):
        rate_finder.find(model, feed, still, PRECISION)


def test_the_verb_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {
        "data": [],
        "model": tiny.MODEL,
        "inputs": {"vocab_size": 280},
        "train": {
            "stages": [{"epochs": 3, "batch_size": 2}],
            "num_threads": 1,
            "precision": "fp32",
            "patience": 2,
        },
    }
    rows = [
        {
            "image": torch.full((6, 6, 3), 30 * n, dtype=torch.uint8).numpy(),
            "question": "What?",
            "answer": f"{n}",
        }
        for n in range(8)
    ]
    found = api.find_lr(recipe, data=rows, steps=5, lowest=1e-5, highest=1e-2)
    assert len(found.rates) == 5
    assert found.to_plain()["rates"][0] == pytest.approx(1e-5)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RecipeError, match=r"the recipe has stages 0 to 0 \(got 1\)"):
        api.find_lr(recipe, data=rows, stage=1)
    with pytest.raises(RecipeError, match="find_lr: the rates must be positive"):
        api.find_lr(recipe, data=rows, lowest=1.0, highest=0.5)
