"""A step on the meta device needs what the same step needs with real numbers: operations, bytes moved, bytes alive."""

from __future__ import annotations

import copy

import pytest
import torch
from contracts._compose import PLAIN_CASES, Case, compose, picture, sample

from sightweave.core.batch import Batch
from sightweave.core.device import Precision
from sightweave.models.loss import amounts
from sightweave.models.parts import choose_parts, enter_training
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting.simulation import META, Recorder, Subject
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.work import prepare

CPU = torch.device("cpu")
SAMPLES = [
    sample("long", picture(1), "what is it ?", answer="the ball is red", references=("red",)),
    sample("short", picture(2), "how many ?", answer="two"),
    sample("same", picture(2), "what colour ?", answer="blue"),
]
CONCAT = Case("concat", (), "decoder_only")


def counted(model: VLM, stage: Stage, batch: Batch, precision: str = "fp32") -> Recorder:
    """What a real step does, counted while it runs on the CPU."""
    parameters = [one for one in model.parameters() if one.requires_grad]
    kind = Precision("bf16" if precision == "bf16" else "fp32", CPU, "")
    gradients = Gradients(model, parameters, stage, kind)
    of = amounts(batch)
    with Recorder() as recorder:
        gradients.forward(batch, of).backward()  # type: ignore[no-untyped-call]
    return recorder


def subject_of(model: VLM, stage: Stage, precision: str = "fp32") -> Subject:
    """The same model without data."""
    empty = copy.deepcopy(model).to(META)
    prepare(empty, stage, stage.lora)
    enter_training(empty, stage.parts)
    return Subject(empty, stage, precision)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_every_composition_needs_what_its_real_tensors_do(case: Case) -> None:
    model, processor = compose(case)
    batch, stage = processor.batch(SAMPLES), Stage(steps=1)
    choose_parts(model, stage.parts)
    enter_training(model, stage.parts)
    real = counted(model, stage, batch)
    found = subject_of(model, stage).simulate(batch)

    assert found.flops.forward > 0
    assert found.flops.total == pytest.approx(sum(one.flops for one in real.operators))
    # The layout of a convolution's gradient depends on the processor: that of these tiny kernels may be copied.
    assert found.peak_bytes == pytest.approx(real.peak, abs=32 << 10)
    assert found.bytes_moved == pytest.approx(sum(one.bytes for one in real.operators), rel=0.25)


@pytest.mark.parametrize(
    "changes", [{}, {"gradient_checkpointing": True}, {"parts": ("connector",)}], ids=str
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stages_and_precisions_do_too(changes: dict[str, object], precision: str) -> None:
    model, processor = compose(CONCAT)
    batch, stage = processor.batch(SAMPLES), Stage(steps=1, **changes)  # type: ignore[arg-type]
    prepare(model, stage, None)
    enter_training(model, stage.parts)
    real = counted(model, stage, batch, precision)
    found = subject_of(model, stage, precision).simulate(batch)

    assert found.flops.total == pytest.approx(sum(one.flops for one in real.operators))
    assert found.peak_bytes == pytest.approx(real.peak, abs=32 << 10)


def test_gradients_are_those_of_the_trained_parts() -> None:
    model, processor = compose(CONCAT)
    batch, stage = processor.batch(SAMPLES), Stage(steps=1, parts=("connector",))
    found = subject_of(model, stage).simulate(batch)
    connector = sum(one.nbytes for one in model.connector.parameters())
    assert found.gradient_bytes == connector
    everything = subject_of(model, Stage(steps=1)).simulate(batch)
    assert everything.gradient_bytes > connector
    # Later passes meet the gradients of the first.
    again = subject_of(model, Stage(steps=1)).simulate(batch, passes=2)
    assert again.flops == everything.flops


def test_recomputing_and_bf16_take_less_memory_and_recomputing_more_operations() -> None:
    model, processor = compose(CONCAT)
    batch = processor.batch(SAMPLES)
    plain = subject_of(model, Stage(steps=1)).simulate(batch)
    recomputed = subject_of(model, Stage(steps=1, gradient_checkpointing=True)).simulate(batch)
    half = subject_of(model, Stage(steps=1), "bf16").simulate(batch)
    assert recomputed.flops.forward == plain.flops.forward == half.flops.forward
    assert recomputed.flops.backward > plain.flops.backward
    assert recomputed.peak_bytes < plain.peak_bytes
    assert half.peak_bytes < plain.peak_bytes


def test_a_simulation_draws_no_random_numbers_and_leaves_no_gradients() -> None:
    model, processor = compose(CONCAT)
    subject = subject_of(model, Stage(steps=1))
    batch = processor.batch(SAMPLES)
    before = torch.get_rng_state()
    subject.simulate(batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(one.grad is None for one in subject.model.parameters())
    assert all(one.values.device == CPU for one in batch.media.values())  # type: ignore[union-attr]
