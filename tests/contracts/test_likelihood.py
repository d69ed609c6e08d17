"""The likelihood of a text is that of a full forward pass, for every composition, beside what is written and without it."""

from __future__ import annotations

import math

import pytest
import torch
from contracts._compose import ANSWERS, CASES, GENERATING, Case, compose, picture, sample, samples

from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.models.loss import token_loss
from sightweave.models.vlm import VLM
from sightweave.programs.generation import Options, generate

TEXTS = ("red", "", "a blue box and the ball is red", "two")
CLASSIFYING = [case for case in CASES if case.form == "classify"]


def alone(model: VLM, processor: Processor, one: Sample, text: str) -> Likelihood:
    """The text as a target of training, by one forward pass without a cache."""
    prompt = [part for part in one.parts if part.role != "assistant"]
    asked = sample(one.id, *(part.content for part in prompt), answer=text)
    encoded = processor.encode(asked)
    with torch.inference_mode():
        logits = model(processor.batch([encoded])).logits
    ids = torch.tensor(encoded.target.ids)
    assert len(logits) == len(ids)
    total = logits.double().log_softmax(-1).gather(1, ids[:, None]).sum()
    return Likelihood(float(total), len(ids))


def close(found: tuple[Likelihood, ...], expected: list[Likelihood]) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.logprob for one in found] == pytest.approx([one.logprob for one in expected], abs=1e-4)


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_it_is_that_of_training(case: Case) -> None:
    model, processor = compose(case, encoder="vit")
    model.eval()
    chosen = samples()
    texts = [TEXTS[: number % (len(TEXTS) + 1)] for number in range(len(chosen))]
    texts[-1] = TEXTS
    for batch_size in (256, 3):
        found = generate(model, processor, chosen, Options(max_tokens=3, batch_size=batch_size), texts)
        for one, given, said in zip(chosen, texts, found, strict=True):
            close(said.likelihoods, [alone(model, processor, one, text) for text in given])
    # What is written stays what it was.
    plain = generate(model, processor, chosen, Options(max_tokens=3))
    assert [(p.text, p.tokens) for p in found] == [(p.text, p.tokens) for p in plain]
    assert all(one.likelihoods == () for one in plain)


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_questions_that_share_a_picture_are_judged_as_they_are_alone(case: Case) -> None:
    model, processor = compose(case)
    model.eval()
    chosen = [
        sample(f"{number}-{question}", picture(number), question)
        for number in (1, 2)
        for question in ("what colour is the ball ?", "how many ?")
    ]
    found = generate(model, processor, chosen, Options(max_tokens=0), [TEXTS] * 4)
    for one, said in zip(chosen, found, strict=True):
        close(said.likelihoods, [alone(model, processor, one, text) for text in TEXTS])
        assert (said.text, said.logprob, said.tokens, said.finish) == ("", None, 0, "none")


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_what_was_written_is_as_likely_as_it_was_when_it_was_written(case: Case) -> None:
    model, processor = compose(case)
    learnt(model, processor)
    chosen = samples()
    said = generate(model, processor, chosen, Options(max_tokens=12))
    judged = generate(model, processor, chosen, Options(max_tokens=0), [[one.text] for one in said])
    compared = 0
    for one, other in zip(said, judged, strict=True):
        (likelihood,) = other.likelihoods
        # Other tokens may spell the same text; an answer of the training is written in its usual ones.
        if one.finish == "stop" and one.text in {each.target for each in chosen}:
            assert likelihood.tokens == one.tokens
            assert likelihood.logprob == pytest.approx(one.logprob * one.tokens, abs=1e-4)
            compared += 1
    assert compared >= 4


def learnt(model: VLM, processor: Processor) -> None:
    """Trains until the samples' answers are mostly known, so that answers end by themselves."""
    batch = processor.batch(samples())
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        token_loss(model(batch), batch).backward()
        optimizer.step()
    model.eval()


def test_what_is_neither_written_nor_judged_is_not_read() -> None:
    model, processor = compose(GENERATING[0])
    model.eval()
    chosen = samples()
    seen: list[int] = []
    handle = model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    told: list[int] = []
    try:
        texts = [TEXTS if one.id == "three" else () for one in chosen]
        found = generate(model, processor, chosen, Options(max_tokens=0), texts, progress=told.append)
    finally:
        handle.remove()
    assert sum(seen) == 3  # the pictures of that one sample
    assert sum(told) == len(chosen)
    for one, given, said in zip(chosen, texts, found, strict=True):
        close(said.likelihoods, [alone(model, processor, one, text) for text in given])
        assert (said.text, said.finish) == ("", "none")


@pytest.mark.parametrize("beams", [1, 2])
def test_beams_change_no_likelihood(beams: int) -> None:
    model, processor = compose(GENERATING[0])
    options = Options(max_tokens=3, decoding={"kind": "beam", "num_beams": beams})
    found = generate(model, processor, samples(), options, [TEXTS] * len(samples()))
    plain = generate(model, processor, samples(), Options(max_tokens=0), [TEXTS] * len(samples()))
    for one, other in zip(found, plain, strict=True):
        close(one.likelihoods, list(other.likelihoods))


@pytest.mark.parametrize("case", CLASSIFYING, ids=str)
def test_who_chooses_answers_judges_those_of_its_list(case: Case) -> None:
    model, processor = compose(case)
    chosen = samples()
    found = generate(model, processor, chosen, Options(), [[*ANSWERS, "a cat"]] * len(chosen))
    for said in found:
        *known, strange = said.likelihoods
        assert sum(math.exp(one.logprob) for one in known) == pytest.approx(1, abs=1e-5)
        assert strange == Likelihood(-math.inf, 1)
        best = max(known, key=lambda one: one.logprob)
        assert ANSWERS[known.index(best)] == said.text
    (silent,) = generate(model, processor, chosen[:1], Options(max_tokens=0), [["red"]])
    assert (silent.text, silent.finish, len(silent.likelihoods)) == ("", "none", 1)


def test_each_sample_needs_its_texts() -> None:
    model, processor = compose(GENERATING[0])
    with pytest.raises(DataError, match=r"1 list\(s\) of texts for 7 sample\(s\)"):
        generate(model, processor, samples(), None, [["red"]])
