"""A forecast adds up: stages to hours, hours to energy and money, and its text says what its numbers do."""

from __future__ import annotations

import dataclasses

import pytest

from sightweave.programs.forecasting.flops import Flops
from sightweave.programs.forecasting.forecast import Forecast, Part, StageForecast, number, size
from sightweave.programs.forecasting.memory import Memory
from sightweave.programs.forecasting.timing import StepTime

STAGE = StageForecast(
    name="answers",
    steps=1800,
    parts=[Part("encoder", 0, 5_000_000), Part("language_model", 2_000_000, 0)],
    flops=Flops(10**9, 2 * 10**9),
    samples=32,
    tokens=4000,
    memory=Memory(weights=28 << 20, gradients=8 << 20, optimizer=16 << 20, activations=90 << 20, other=0),
    capacity=1 << 30,
    time=StepTime(gradients=1.5, update=0.5),
    seconds=3600.0,
    batch_size=16,
    fitting_batch_size=120,
)
FORECAST = Forecast(
    stages=[STAGE, STAGE],
    device="NVIDIA H100 80GB (SXM)",
    count=8,
    precision="bf16",
    peak_flops=10**12,
    watts=700,
    price=2.5,
    source="https://www.nvidia.com/en-us/data-center/h100/",
)


def test_hours_energy_and_cost_follow_from_the_stages() -> None:
    assert FORECAST.hours == 2
    assert FORECAST.energy_kwh == pytest.approx(0.7 * 8 * 2)
    assert FORECAST.cost == 2.5 * 8 * 2
    unknown = dataclasses.replace(FORECAST, watts=None, price=None, peak_flops=None)
    assert (unknown.energy_kwh, unknown.cost, unknown.share_of_peak(STAGE)) == (None, None, None)


def test_the_share_of_the_peak_is_that_of_all_devices() -> None:
    assert STAGE.flops_of_step == 32 * 3 * 10**9
    assert FORECAST.share_of_peak(STAGE) == pytest.approx(32 * 3e9 / (2.0 * 1e12 * 8))


def test_the_text_has_the_numbers_and_says_what_does_not_fit() -> None:
    text = FORECAST.to_text()
    for said in (
        "forecast for 8 x NVIDIA H100 80GB (SXM), bf16",
        "encoder 5 M frozen; language_model 2 M trained",
        "1 G forward, 2 G backward",
        "142 MiB (weights 28 MiB, gradients 8 MiB, optimizer 16 MiB, activations 90 MiB, other 0 B); fits in 1 GiB",
        "batch_size: 16; the largest that fits is 120",
        "step: 2 s, 1% of the peak; stage: 60 min",
        "cost: 40.00 at 2.5 per device and hour",
        "figures of the device: https://www.nvidia.com",
    ):
        assert said in text, said
    tight = dataclasses.replace(STAGE, capacity=1 << 20, time=StepTime(gradients=1.0, communication=3.0))
    text = dataclasses.replace(FORECAST, stages=[tight]).to_text()
    assert "DOES NOT FIT in 1 MiB" in text
    assert "bound by communication" in text


def test_json_has_every_figure() -> None:
    plain = FORECAST.to_json()
    assert plain["cost"] == FORECAST.cost
    first = plain["stages"][0]
    assert first["memory_bytes"]["total"] == STAGE.memory.total
    assert first["step_seconds"] == 2.0
    assert first["fits"]
    assert first["flops_per_sample"] == {"forward": 10**9, "backward": 2 * 10**9}


def test_numbers_have_three_digits_and_a_unit() -> None:
    assert [number(one) for one in (12, 1234, 5.6e7, 7.89e12)] == ["12", "1.23 k", "56 M", "7.89 T"]
    assert [size(one) for one in (512, 1536, 3 << 30)] == ["512 B", "1.5 KiB", "3 GiB"]
