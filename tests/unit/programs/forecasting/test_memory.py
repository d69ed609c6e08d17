"""The memory by kind is that of counted tensors: of the model, of its gradients, and of the optimizer's state."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import Case, compose, picture, sample
from unit.programs.forecasting.test_simulation import subject_of

from sightweave.core.device import Precision
from sightweave.models.parts import named_parts
from sightweave.programs.forecasting import memory
from sightweave.programs.forecasting.forecast import fitting_batch_size, parts_of
from sightweave.programs.forecasting.memory import Memory
from sightweave.programs.forecasting.simulation import Recorder, Simulation
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.work import prepare

CONCAT = Case("concat", (), "decoder_only")
SAMPLES = [sample("a", picture(1), "what is it ?", answer="the ball is red")]
STAGES = {
    "adamw": Stage(steps=1),
    "muon": Stage(steps=1, optimizer=OptimizerConfig(name="muon")),
    "connector": Stage(steps=1, parts=("connector",)),
}


@pytest.mark.parametrize("name", STAGES)
def test_weights_gradients_and_state_are_those_of_counted_tensors(name: str) -> None:
    stage = STAGES[name]
    model, processor = compose(CONCAT, encoder="vit")
    prepare(model, stage, None)
    optimizer = stage.optimizer.build(model)
    gradients = Gradients(
        model, list(optimizer.parameters.values()), stage, Precision("fp32", torch.device("cpu"), "")
    )
    gradients.add([processor.batch(SAMPLES)])
    made = sum(one.grad.nbytes for one in optimizer.parameters.values() if one.grad is not None)
    unused = sum(one.nbytes for one in optimizer.parameters.values() if one.grad is None)
    optimizer.step()

    found = memory.of_state(subject_of(model, stage).model, stage, {})
    assert found.weights == sum(one.nbytes for one in model.parameters())
    assert found.gradients == made + unused
    if not unused:  # a parameter without a gradient has no state either
        assert found.optimizer == sum(one.nbytes for one in optimizer.state_tensors().values())
    assert found.other == sum(one.nbytes for one in model.buffers())
    assert found.certain == found.weights + found.gradients + found.optimizer


def test_muon_needs_as_much_for_a_moment_as_it_does() -> None:
    stage = STAGES["muon"]
    model, _ = compose(CONCAT, encoder="vit")
    prepare(model, stage, None)
    optimizer = stage.optimizer.build(model)
    for parameter in optimizer.parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # the state exists from now on
    with Recorder() as recorder:
        optimizer.step()
    expected = memory.update_bytes(model, stage, is_cpu=True)
    assert recorder.peak == pytest.approx(expected, rel=0.15)
    assert memory.update_bytes(model, STAGES["adamw"], is_cpu=True) == 0


def test_quantized_layers_take_a_quarter_or_an_eighth_and_their_scales() -> None:
    stage = Stage(steps=1, parts=("connector",))
    model, _ = compose(CONCAT, encoder="vit")
    prepare(model, stage, None)
    plain = memory.weight_bytes(model, {})
    layers = [
        layer
        for name, layer in named_parts(model)["language_model"].named_modules()
        if isinstance(layer, torch.nn.Linear) and not name.endswith("output")
    ]
    count = sum(layer.weight.numel() for layer in layers)
    rows = sum(layer.out_features for layer in layers)
    assert plain - memory.weight_bytes(model, {"language_model": "int8"}) == 3 * count - 4 * rows
    assert plain - memory.weight_bytes(model, {"language_model": "nf4"}) == 3.5 * count - 4 * count / 64


def test_the_batch_counts_with_all_of_its_tensors() -> None:
    _, processor = compose(CONCAT)
    batch = processor.batch(SAMPLES)
    assert batch.target is not None
    own = sum(value.nbytes for value in vars(batch.target).values() if isinstance(value, torch.Tensor))
    pixels = batch.media["image"].dense.nbytes
    assert memory.batch_bytes(batch) >= own + pixels
    assert memory.batch_bytes(batch) < own + pixels + 1000


STATE = Memory(weights=100, gradients=40, optimizer=80, activations=0, other=5)


def passes(peak: int) -> Simulation:
    from sightweave.programs.forecasting.flops import Flops

    return Simulation(Flops(), (), peak, 40)


def test_the_peak_is_that_of_the_passes_or_of_the_update() -> None:
    found = memory.at_peak(STATE, passes(1000), batch=10)
    assert found.total == 100 + 80 + 5 + 1000 + 3 * 10
    assert memory.at_peak(STATE, passes(20), batch=10, update=500).total == 100 + 80 + 5 + 540 + 30


def test_microsteps_add_gradients_or_run_side_by_side() -> None:
    alone = memory.at_peak(STATE, passes(1000), batch=0, microsteps=2)
    assert alone.total == 185 + 1000 + 40
    together = memory.at_peak(STATE, passes(1000), batch=0, microsteps=2, at_once=2)
    assert together.total == 185 + 2000


def test_a_cpus_process_holds_more_than_its_tensors() -> None:
    assert STATE.resident(1000).total == 1000
    assert STATE.resident(10).total == STATE.total
    assert STATE.resident().total > memory.LIBRARIES
    assert STATE.to_json()["total"] == STATE.total == 225


def test_the_largest_batch_lies_on_the_line_through_two() -> None:
    assert fitting_batch_size((8, 1080), (16, 2080), 5080) == 40
    assert fitting_batch_size((16, 2080), (8, 1080), 5079) == 39
    assert fitting_batch_size((8, 1080), (16, 2080), 50) == 0


def test_parts_count_each_parameter_once() -> None:
    stage = Stage(steps=1, parts=("connector", "token_embedding"))
    model, _ = compose(CONCAT)
    prepare(model, stage, None)
    parts = {one.part: one for one in parts_of(model)}
    assert sum(one.trained + one.frozen for one in parts.values()) == sum(
        one.numel() for one in model.parameters()
    )
    assert parts["connector"].frozen == 0 < parts["connector"].trained
    assert parts["language_model"].trained == 0 < parts["language_model"].frozen
    assert parts["token_embedding"].frozen == 0 < parts["token_embedding"].trained
