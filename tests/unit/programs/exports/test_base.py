"""What an export says of itself, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from contracts._compose import Case, compose, samples

from sightweave.core.errors import ExportError
from sightweave.programs import generation
from sightweave.programs.exports._base import (
    ANSWER_TOKENS,
    Compared,
    Exported,
    compared,
    extended,
    first,
    longer,
    up_to_end,
)


def exported(*found: Compared) -> Exported:
    return Exported(folder=Path("out"), layout="llava", program="another 1.0", compared=found)


def test_another_answer_fails_where_our_tokens_are_clearly_apart() -> None:
    same = Compared(id="a", largest=1e-5, ours="red", theirs="red", lead=0.0)
    other = Compared(id="b", largest=1e-5, ours="red", theirs="blue", lead=0.2)
    with pytest.raises(
        ExportError, match=r"'b' with 'blue', .* 'red', whose logit leads by 0.2 .* 1 of 2 differ"
    ):
        exported(same, other).check()


def test_a_tie_may_fall_either_way_and_is_told() -> None:
    other = Compared(id="b", largest=1e-5, ours="red", theirs="blue", lead=2e-4)
    made = exported(other)
    made.check()
    assert made.equal_answers == 0
    assert (
        "0 of 1 greedy answers are equal; the others diverge where our two best tokens are within 0.0002"
        in made.to_text()
    )


@pytest.mark.parametrize("faults", [{"largest": float("nan")}, {"lead": float("nan")}, {"largest": 0.1}])
def test_no_number_is_no_agreement(faults: dict[str, float]) -> None:
    values = {"largest": 0.0, "lead": 0.0} | faults
    with pytest.raises(ExportError):
        exported(Compared(id="b", ours="red", theirs="red", **values)).check()


def test_a_difference_is_judged_as_a_share_of_the_largest_logit() -> None:
    large = Compared(id="a", largest=2e-4, ours="red", theirs="red", lead=1e-3, scale=40.0)
    exported(large).check(1e-4)
    small = dataclasses.replace(large, scale=0.5, lead=0.0)
    with pytest.raises(
        ExportError, match=r"differ by 0\.0002 \(rounding gives up to 5e-05, 0\.0001 of the largest"
    ):
        exported(small).check(1e-4)
    assert exported(large, small).largest_share == 2e-4 / 0.5


def test_what_differs_in_a_batch_alone_is_found_and_named() -> None:
    same = Compared(id="a", largest=0.0, ours="red", theirs="red", lead=0.0)
    for fault in ({"largest": 0.1}, {"lead": 0.1, "theirs": "blue"}):
        made = dataclasses.replace(exported(same), batched=(dataclasses.replace(same, **fault),))
        with pytest.raises(ExportError, match="sample 'a' in a batch of unequal prompts"):
            made.check()
    assert made.equal_answers == 0
    assert "alone and in batches of unequal prompts" in made.to_text()


def test_a_longer_prompt_keeps_what_is_to_be_said() -> None:
    _, processor = compose(Case("concat", (), "decoder_only"))
    for sample in samples():
        one, two = processor.encode(sample), processor.encode(longer(sample))
        assert len(two.trunk) + len(two.prompt) > len(one.trunk) + len(one.prompt)
        assert two.target.ids == one.target.ids


def test_an_answer_ends_with_its_end() -> None:
    assert up_to_end([5, 6, 2, 0, 0], 2) == [5, 6, 2]
    assert up_to_end([5, 6], 2) == [5, 6]


@pytest.mark.parametrize("number", range(3))
def test_the_lead_is_what_an_answer_costs_by_our_logits(number: int) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    sample = samples()[number]
    (ours,) = generation.generate(model, processor, [sample], generation.Options(max_tokens=ANSWER_TOKENS))
    encoded, batch = processor.encode(sample), processor.batch([sample])
    count = len(encoded.trunk) + len(encoded.prompt)
    prompt = first(batch.target, count)
    said: list[int] = []
    for _ in range(ours.tokens):
        batch.target = extended(prompt, torch.tensor([said], dtype=torch.long))
        logits = model(batch, at=torch.tensor([count - 1 + len(said)])).logits[0].detach()
        said.append(int(logits.argmax()))
    found = compared(model, processor, sample, largest=0.0, ours=ours, said=said)
    assert found.theirs == ours.text
    assert found.lead == 0
    assert found.scale > 0
    batch.target = extended(prompt, torch.tensor([said]))
    own = model(batch, at=torch.arange(count - 1, count - 1 + len(said))).logits.detach()
    shifted = compared(model, processor, sample, largest=0.0, ours=ours, said=said, theirs=own + 0.25)
    assert shifted.largest == pytest.approx(0.25, abs=1e-5)
    ends = processor.tokenizer.end_id
    short = compared(
        model, processor, sample, largest=0.0, ours=ours, said=[one for one in said if one != ends][:1]
    )
    assert short.lead == float("inf")  # it broke off, whatever it said until then
    second = int(logits.topk(2).indices[1])
    worse = compared(model, processor, sample, largest=0.0, ours=ours, said=[*said[:-1], second])
    assert worse.lead == pytest.approx(float(logits.max() - logits[second]), abs=1e-5)
