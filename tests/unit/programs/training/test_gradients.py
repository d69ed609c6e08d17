"""The gradient of an update does not depend on how its samples are shared out among batches, nor on the threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pytest
import torch
from contracts._compose import Case, compose, picture, sample

from sightweave.core.batch import Batch
from sightweave.core.device import choose_precision
from sightweave.models.vlm import VLM
from sightweave.programs.training import gradients
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.settings import Stage

PRECISION = choose_precision("fp32", torch.device("cpu"))
CASES = [
    Case("concat", (), "decoder_only"),
    Case("memory", (), "encoder_decoder"),
    Case("bilinear", (), "encoder_only"),
]
SAMPLES = [
    sample(
        "long", picture(1), "what is it ?", answer="the ball is red and the box is blue", references=("red",)
    ),
    sample("short", picture(2), "how many ?", answer="two"),
    sample("same", picture(2), "what colour ?", answer="blue"),
]


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computed(
    model: VLM, batches: Sequence[Batch], *, num_threads: int = 1, length_power: float = 0.0
) -> tuple[float, dict[str, torch.Tensor]]:
    parameters = dict(model.named_parameters())
    stage = Stage(steps=1, gradient_accumulation_steps=len(batches), length_power=length_power)
    model.zero_grad(set_to_none=True)
    with threads(num_threads):
        loss = Gradients(model, list(parameters.values()), stage, PRECISION).add(batches)
        assert torch.get_num_threads() == num_threads
    return loss, {name: value.grad for name, value in parameters.items() if value.grad is not None}


@pytest.mark.parametrize("length_power", [0.0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_batches_with_few_tokens_weigh_no_more_than_in_one_large_batch(
    case: Case, length_power: float
) -> None:
    model, processor = compose(case)
    whole, expected = computed(model, [processor.batch(SAMPLES)], length_power=length_power)
    parts = [processor.batch(SAMPLES[:1]), processor.batch(SAMPLES[1:])]
    loss, found = computed(model, parts, length_power=length_power)
    assert loss == pytest.approx(whole, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_side_by_side_gives_the_same_bits_as_one_after_another(case: Case) -> None:
    model, processor = compose(case)
    parts = [processor.batch([one]) for one in SAMPLES]
    one_loss, one_by_one = computed(model, parts)
    for _ in range(3):
        loss, found = computed(model, parts, num_threads=2)
        assert loss == one_loss
        assert found.keys() == one_by_one.keys()
        assert all(torch.equal(found[name], gradient) for name, gradient in one_by_one.items())


def test_gradients_add_to_those_that_are_there() -> None:
    model, processor = compose(CASES[0])
    parts = [processor.batch([one]) for one in SAMPLES]
    _, once = computed(model, parts)
    stage = Stage(steps=1, gradient_accumulation_steps=len(parts))
    with threads(2):
        Gradients(model, list(model.parameters()), stage, PRECISION).add(parts)
    for name, value in model.named_parameters():
        if name in once:
            torch.testing.assert_close(value.grad, 2 * once[name])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_gradient_lies_in_memory_as_its_parameter_does(memory_format: torch.memory_format) -> None:
    """Fused optimizers walk through both side by side, and kernels' gradients may come with their channels last."""
    values = torch.arange(2.0 * 3 * 4 * 5).view(2, 3, 4, 5)
    parameter = values.clone(memory_format=memory_format)
    for lies in (torch.contiguous_format, torch.channels_last):
        found = gradients._in_memory_order_of(parameter, values.clone(memory_format=lies))
        assert found.stride() == parameter.stride()
        assert torch.equal(found, values)
    model, processor = compose(CASES[0])
    _, found_ones = computed(model, [processor.batch([one]) for one in SAMPLES])
    for name, value in model.named_parameters():
        assert name not in found_ones or found_ones[name].stride() == value.stride(), name


@pytest.mark.parametrize("fault", ["dropout", "batch norm"])
def test_what_depends_on_the_order_of_batches_is_computed_in_order(fault: str) -> None:
    model, _ = compose(CASES[0], language_model={"dropout": 0.1} if fault == "dropout" else None)
    if fault == "batch norm":
        model.encoder.norm_of_a_kind = torch.nn.BatchNorm2d(3)
    stage = Stage(steps=1, gradient_accumulation_steps=2)
    for is_training in (True, False):
        model.train(is_training)
        gradients = Gradients(model, list(model.parameters()), stage, PRECISION)
        assert gradients.may_go_side_by_side is not is_training


def test_a_failing_batch_raises_its_own_error() -> None:
    model, processor = compose(CASES[0])
    good, bad = processor.batch(SAMPLES[:1]), processor.batch(SAMPLES[1:])
    bad.media = {}
    gradients = Gradients(
        model, list(model.parameters()), Stage(steps=1, gradient_accumulation_steps=2), PRECISION
    )
    with threads(2), pytest.raises(ValueError, match="image tokens"):
        gradients.add([good, bad])
