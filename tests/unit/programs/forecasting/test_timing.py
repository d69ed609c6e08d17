"""A step's time is put together from its phases; clocks of the tests' own, nothing is timed."""

from __future__ import annotations

import itertools

import pytest
import torch
from contracts._compose import Case, compose
from torch import nn
from unit.programs.training.test_durations import Pictures

from sightweave.core.device import choose_precision
from sightweave.data.tasks import vqa
from sightweave.programs.forecasting import timing
from sightweave.programs.forecasting.devices import device
from sightweave.programs.forecasting.flops import Flops
from sightweave.programs.forecasting.simulation import Operator, Simulation
from sightweave.programs.forecasting.timing import StepTime, Update
from sightweave.programs.forecasting.workload import Workload
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage

PRECISION = choose_precision("fp32", torch.device("cpu"))
H100 = device("h100")


def test_the_feed_hides_behind_the_passes_where_there_are_cores() -> None:
    step = StepTime(gradients=1.0, update=0.5, feed=1.2, feed_threads=1, spare_cores=1)
    assert step.total == step.computing == 1.5
    assert StepTime(gradients=1.0, update=0.5, feed=4.0, feed_threads=2, spare_cores=8).total == 2.0
    assert StepTime(gradients=1.0, update=0.5, feed=1.2, spare_cores=0).total == 2.7


def test_a_rehearsed_total_replaces_the_sum_of_trials() -> None:
    step = StepTime(gradients=1.0, update=0.5, feed=1.2, spare_cores=0)
    assert step.with_total(3.0).total == pytest.approx(3.0)
    assert step.with_total(3.0).update == 0.5
    hidden = StepTime(gradients=1.0, update=0.5, feed=4.0, feed_threads=2, spare_cores=8)
    assert hidden.with_total(1.8).total == pytest.approx(1.8)


def test_a_device_computes_operator_by_operator() -> None:
    operators = (Operator(10**12, 0), Operator(0, 10**9), Operator(0, 8))
    simulation = Simulation(Flops(10**12, 0), operators, 0, 0)
    step = timing.computed([simulation, simulation], H100, Update(0, 10**9))
    assert step.gradients == pytest.approx(
        2 * (H100.seconds(10**12, 0) + H100.seconds(0, 10**9) + H100.seconds(0, 8))
    )
    assert step.update == H100.seconds(0, 10**9)


def test_adamw_reads_and_writes_its_state_and_muon_multiplies() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"), encoder="vit")
    count = sum(one.nbytes for one in model.parameters())
    adamw = Update.of(model, Stage(steps=1))
    assert (adamw.flops, adamw.bytes) == (0, 10 * count)
    assert adamw.shared(8).bytes == adamw.bytes // 8
    muon = Update.of(model, Stage(steps=1, optimizer=OptimizerConfig(name="muon")))
    assert muon.flops > 0
    assert muon.bytes > adamw.bytes


def test_muons_operations_are_those_that_it_makes() -> None:
    from sightweave.programs.forecasting.simulation import Recorder
    from sightweave.programs.training.optimizers import Muon

    # Not wide enough for the shorter way of a CPU.
    matrix = nn.Parameter(torch.randn(8, 12))
    matrix.grad = torch.randn(8, 12)
    with Recorder() as recorder:
        Muon([matrix]).step()
    made = sum(one.flops for one in recorder.operators)
    assert made == timing._flops_of_muon(matrix)


def workload(steps: int = 4, batch_size: int = 2) -> Workload:
    _, processor = compose(Case("concat", (), "decoder_only"))
    stage = Stage(steps=steps, batch_size=batch_size, tasks=("vqa",))
    feed = Feed(
        [Pictures(9)], {"vqa": vqa.Config().build()}, processor, stage, seed=0, quarantine=Quarantine()
    )
    return Workload(feed)


def test_trials_leave_the_weights_alone_and_a_rehearsal_does_not() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    work = workload()
    step = timing.measured(model, work, PRECISION, threads=1, now=itertools.count().__next__)
    assert step.gradients > 0
    assert step.update > 0
    assert step.feed > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    found = timing.rehearse(model, work, PRECISION, seconds=1e9, now=itertools.count().__next__)
    assert found.seconds == 1.0  # the clock strikes once for each update
    assert not all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    few = timing.rehearse(model, work, PRECISION, seconds=0.0, now=itertools.count().__next__)
    assert few.seconds is None
