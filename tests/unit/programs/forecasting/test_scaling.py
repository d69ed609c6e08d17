"""Several devices divide the state or repeat it, and exchange what the layout needs."""

from __future__ import annotations

import pytest
from contracts._compose import Case, compose

from sightweave.models.nn.block import Block
from sightweave.programs.forecasting import scaling
from sightweave.programs.forecasting.devices import LINK_SHARE, device
from sightweave.programs.forecasting.memory import Memory
from sightweave.programs.forecasting.scaling import Model
from sightweave.programs.forecasting.timing import StepTime

H100 = device("h100")
GB = 10**9
MODEL = Model(weights=8 * GB, trained=8 * GB, largest_unit=GB)
SMALL = Memory(weights=8 * GB, gradients=8 * GB, optimizer=16 * GB, activations=10 * GB, other=GB)


def test_a_model_that_fits_is_replicated_and_another_one_sharded() -> None:
    assert scaling.choose(SMALL, MODEL, H100, 1) == "one device"
    assert scaling.choose(SMALL, MODEL, H100, 8) == "replicated"
    assert scaling.choose(SMALL.plus(activations=30 * GB), MODEL, H100, 8) == "sharded"


def test_sharding_divides_the_state_and_keeps_a_few_units_whole() -> None:
    one = scaling.per_device(SMALL, MODEL, "sharded", 8)
    assert (one.weights, one.gradients, one.optimizer) == (GB, GB, 2 * GB)
    assert one.activations == SMALL.activations
    assert one.other == SMALL.other + 2 * GB
    assert scaling.per_device(SMALL, MODEL, "one device", 1) == SMALL
    assert scaling.per_device(SMALL, MODEL, "replicated", 8).other == SMALL.other + MODEL.trained


def test_the_exchange_is_that_of_a_ring() -> None:
    link = 450 * GB * LINK_SHARE
    ring = scaling.exchange_seconds(MODEL, "replicated", H100, 8)
    assert ring == pytest.approx(2 * 8 * GB * 7 / 8 / link)
    sharded = scaling.exchange_seconds(MODEL, "sharded", H100, 8)
    assert sharded == pytest.approx((2 * 4 + 8) * GB * 7 / 8 / link)
    assert scaling.exchange_seconds(MODEL, "one device", H100, 1) == 0
    across = scaling.exchange_seconds(MODEL, "sharded", H100, 64)
    assert across > 8 * sharded


def test_a_step_waits_for_the_longer_of_passes_and_exchange() -> None:
    assert StepTime(gradients=2.0, update=0.5, communication=1.0).total == 2.5
    assert StepTime(gradients=1.0, update=0.5, communication=3.0).total == 3.5


def test_the_sizes_of_a_model_are_those_of_its_parameters() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    model.requires_grad_(False)
    model.connector.requires_grad_(True)
    found = Model.of(model)
    blocks = [sum(p.nbytes for p in one.parameters()) for one in model.modules() if isinstance(one, Block)]
    assert found.weights == sum(one.nbytes for one in model.parameters())
    assert found.trained == sum(one.nbytes for one in model.connector.parameters())
    assert found.largest_unit == max(found.weights - sum(blocks), *blocks)
