"""Every legal composition of parts: it builds, learns from end to end, and keeps text as the text model has it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from contracts._compose import (
    CASES,
    ILLEGAL,
    PLAIN_CASES,
    Case,
    compose,
    gradients,
    logits_of,
    nudge,
    picture,
    sample,
    samples,
    small,
    tokenizer,
    total_loss,
)
from contracts._folders import installed

from sightweave.core import catalog
from sightweave.core.errors import RecipeError
from sightweave.data.inputs.processor import Processor
from sightweave.models.loss import training_loss
from sightweave.models.pairs import declared
from sightweave.models.vlm import VLM

ENCODERS = installed("models.encoders")
CONNECTORS = catalog.kinds("models.connectors")
GATED = [case for case in PLAIN_CASES if case.fusion == "cross_attention"]


def check_learns(model: VLM, processor: Processor) -> None:
    batch = processor.batch(samples())
    loss = training_loss(model(batch), batch)
    assert torch.isfinite(loss)
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_parameter_learns(case: Case, encoder: str) -> None:
    check_learns(*compose(case, encoder=encoder))


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("connector", CONNECTORS)
def test_every_connector_learns_behind_every_encoder(connector: str, encoder: str) -> None:
    check_learns(*compose(Case("concat", (), "decoder_only"), encoder=encoder, connector=connector))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_downhill_lowers_the_loss(case: Case) -> None:
    model, processor = compose(case)
    batch = processor.batch(samples())
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = training_loss(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("fusion", "language_model"), ILLEGAL)
def test_an_illegal_pair_is_refused_and_the_legal_ones_are_named(fusion: str, language_model: str) -> None:
    with pytest.raises(RecipeError, match="needs") as caught:
        compose(Case(fusion, (), language_model))
    message = str(caught.value)
    assert declared("models.fusions", fusion).__name__ in message
    assert declared("models.language_models", language_model).__name__ in message
    for case in PLAIN_CASES:
        if case.fusion == fusion:
            assert case.language_model.partition(":")[0] in message
        if case.language_model == language_model:
            assert case.fusion in message


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_another_image_changes_the_logits(case: Case, encoder: str) -> None:
    model, processor = compose(case, encoder=encoder)
    for make in (
        lambda n: sample("first", picture(n), "what colour is the ball ?"),
        lambda n: sample("middle", "compare", picture(n), "with that one"),
        lambda n: sample("third", picture(1), picture(2), picture(n), "compare"),
    ):
        same, again, other = (logits_of(model, processor, make(n)) for n in (8, 8, 9))
        assert torch.equal(same, again)
        assert (same - other).abs().max() > 1e-5


@pytest.mark.parametrize("connector", CONNECTORS)
def test_another_image_changes_the_logits_through_every_connector(connector: str) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"), connector=connector)
    one, other = (logits_of(model, processor, sample("one", picture(n), "what ?")) for n in (8, 9))
    assert (one - other).abs().max() > 1e-5


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_of_text_alone_are_the_language_models_in_a_mixed_batch(case: Case) -> None:
    model, processor = compose(case)
    text = sample("text", "how many cats are there ?", answer="two")
    alone = logits_of(model, processor, text)
    mixed = processor.batch([text, sample("one", picture(1), "what colour is the ball ?", answer="blue")])
    with torch.inference_mode():
        output = model(mixed)
    rows = output.at // mixed.target.ids.shape[1] == 0
    torch.testing.assert_close(output.logits[rows], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_batch_of_text_alone_runs(case: Case) -> None:
    model, processor = compose(case)
    batch = processor.batch([sample("a", "how many ?"), sample("b", "what colour is the ball ?")])
    assert not batch.media
    loss, found = gradients(model, [total_loss(model, batch)])
    assert loss > 0
    assert not any(name.startswith("encoders.") for name in found)


@pytest.mark.parametrize("case", GATED, ids=str)
def test_closed_gates_leave_the_text_models_logits_bit_equal_and_can_open(case: Case) -> None:
    model, processor = compose(case, nudged=False)
    nudge(model.language_model)
    batch = processor.batch(samples())
    output = model(batch)
    blind = model(dataclasses.replace(batch, media={}))
    assert torch.equal(output.logits, blind.logits)
    training_loss(output, batch).backward()
    gates = {name: p.grad for name, p in model.fusion.named_parameters() if name.endswith("gate")}
    assert len(gates) == 2 * model.language_model.depth
    assert all(gate is not None and gate.abs() > 0 for gate in gates.values())


def test_addition_with_a_closed_gate_leaves_the_text_model_as_it_is() -> None:
    model, processor = compose(Case("addition", (), "decoder_only"), nudged=False, gate=0.0)
    nudge(model.language_model)
    batch = processor.batch(samples())
    assert torch.equal(model(batch).logits, model(dataclasses.replace(batch, media={})).logits)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_taken_over_give_bit_equal_logits(case: Case) -> None:
    model, processor = compose(case, seed=1)
    other, _ = compose(case, seed=2)
    batch = processor.batch(samples())
    model.eval()
    other.eval()
    assert not torch.equal(model(batch).logits, other(batch).logits)
    other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, strict=True)
    assert torch.equal(model(batch).logits, other(batch).logits)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_bf16_autocast_trains_near_fp32(case: Case, encoder: str) -> None:
    model, processor = compose(case, encoder=encoder)
    batch = processor.batch(samples())
    exact, _ = gradients(model, [training_loss(model(batch), batch)])
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    rough, found = gradients(model, [training_loss(output, batch)])
    assert rough == pytest.approx(exact, rel=0.05)
    assert len(found) == len(list(model.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in found.values())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_model_held_in_bf16_runs(case: Case) -> None:
    model, processor = compose(case)
    batch = processor.batch(samples())
    exact = model(batch).logits
    model.to(torch.bfloat16)
    batch.media["image"].values = batch.media["image"].dense.to(torch.bfloat16)
    rough = model(batch).logits
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().mean() < 0.1 * exact.abs().mean() + 0.05


@pytest.mark.parametrize("fusion", catalog.kinds("models.fusions"))
def test_a_fusion_works_alone_on_plain_tensors(fusion: str) -> None:
    torch.manual_seed(0)
    made = small("models.fusions", fusion).build(dim=32, num_heads=4, depth=2)
    nudge(made)
    pooled = "pool" in made.places
    text = torch.randn(3, 32) if pooled else torch.randn(3, 4, 32)
    image = torch.randn(3, 5, 32)
    joined = made(text, image)
    assert joined.shape[0] == 3
    assert joined.shape[-1] == 32
    changed = image.clone()
    changed[1] += 1
    other = made(text, changed)
    assert torch.equal(other[0], joined[0])
    assert torch.equal(other[2], joined[2])
    assert not torch.equal(other[1], joined[1])


def test_the_number_of_ids_is_that_of_the_tokenizer() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    assert model.language_model.vocab_size == tokenizer().vocab_size
