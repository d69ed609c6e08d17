"""Generation with a cache says what full forward passes say, for every composition that generates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from contracts._compose import CASES, GENERATING, Case, compose, picture, sample, samples

from sightweave.answers.decoding import beam, greedy, sampling
from sightweave.answers.decoding._base import Choice, Draws
from sightweave.core import catalog
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Stretch
from sightweave.models.vlm import VLM
from sightweave.programs.generation import Options, generate, stream

CLASSIFYING = [case for case in CASES if case.form == "classify"]


@dataclass
class Recording:
    """Ends where the likeliest id is a multiple of `ends`; without `ends` it walks on. Keeps the logits shown to it."""

    ends: int = 0
    width: int = 1
    end_id: int = -1
    logits: list[torch.Tensor] = field(default_factory=list)
    ids: list[torch.Tensor] = field(default_factory=list)

    def build(self, *, end_id: int) -> Recording:
        self.end_id = end_id
        return self

    def choose(self, logits: torch.Tensor, is_done: torch.Tensor, draws: Draws) -> Choice:
        ids = logits.argmax(-1)
        if self.ends:
            ids = torch.where(ids % self.ends == 0, self.end_id, ids)
        else:  # another token at each step, so that what was said before differs
            ids = (ids + 7 * len(self.logits)) % self.end_id
        self.logits.append(logits.clone())
        self.ids.append(ids.clone())
        return Choice(ids, logits.log_softmax(-1).gather(1, ids[:, None])[:, 0])

    def best(self, totals: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.arange(len(totals))


def full_logits(model: VLM, processor: Processor, one: Sample, ids: list[int]) -> torch.Tensor:
    """Logits of each of these ids after the prompt, by one forward pass without a cache."""
    encoded = processor.encode(one)
    count = len(ids)
    target = Stretch(ids, [-1] * count, [1] * count, [True] * count)
    with torch.inference_mode():
        logits = model(processor.batch([replace(encoded, target=target)])).logits
    assert logits is not None
    return logits


def close(found: list[Prediction], expected: list[Prediction]) -> None:
    assert [(p.text, p.tokens, p.finish) for p in found] == [(p.text, p.tokens, p.finish) for p in expected]
    assert [p.logprob for p in found] == pytest.approx([p.logprob for p in expected], abs=1e-5)


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_token_by_token_equals_recomputing(case: Case) -> None:
    model, processor = compose(case, encoder="vit")
    for one in samples():
        record = Recording()
        (prediction,) = generate(model, processor, [one], Options(max_tokens=6, decoding=record))
        ids = [int(step[0]) for step in record.ids]
        expected = full_logits(model, processor, one, ids)
        scale = max(1.0, float(expected.abs().max()) / 4)  # rounding grows with the numbers
        torch.testing.assert_close(torch.cat(record.logits), expected, atol=1e-5 * scale, rtol=1e-5)
        mean = expected.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).mean()
        assert prediction.logprob == pytest.approx(float(mean), abs=1e-5 * scale)
        assert prediction.tokens == len(ids) or ids[-1] == processor.tokenizer.end_id


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_a_batch_says_what_each_prompt_says_alone(case: Case) -> None:
    model, processor = compose(case)
    options = Options(max_tokens=7, decoding=Recording(ends=3))
    chosen = samples()
    together = generate(model, processor, chosen, options)
    alone = [generate(model, processor, [one], options)[0] for one in chosen]
    close(together, alone)
    assert len({one.tokens for one in alone}) > 1


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_prompts_that_share_a_picture_say_what_they_say_alone(case: Case) -> None:
    model, processor = compose(case)
    chosen = [
        sample(f"{number}-{question}", picture(number), question)
        for number in (1, 2)
        for question in ("what colour is the ball ?", "how many ?", "compare this picture with that one")
    ]
    options = Options(max_tokens=8, decoding=Recording(ends=4))
    close(
        generate(model, processor, chosen, options),
        [generate(model, processor, [one], options)[0] for one in chosen],
    )


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_rows_that_leave_change_nothing_for_those_that_stay(case: Case) -> None:
    model, processor = compose(case)
    recording = Recording(ends=2)
    questions = (
        "red",
        "how many ?",
        "blue box",
        "two",
        "compare",
        "cats",
        "what colour is that ?",
        "it",
        "a ball",
    )
    chosen = [sample(f"text {words}", words) for words in questions]
    chosen += [
        sample(f"seen {words}", picture(n), words, picture(n + 1)) for n, words in enumerate(questions)
    ]
    options = Options(max_tokens=5, decoding=recording)
    together = generate(model, processor, chosen, options)
    assert len({len(step) for step in recording.logits}) > 1
    close(together, [generate(model, processor, [one], options)[0] for one in chosen])


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_one_beam_is_greedy(case: Case) -> None:
    model, processor = compose(case)
    chosen = samples()
    first, second = (
        generate(model, processor, chosen, Options(max_tokens=5, decoding=decoding))
        for decoding in (greedy.Config(), beam.Config(num_beams=1))
    )
    close(first, second)


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_beams_of_many_prompts_are_those_of_each_alone_and_are_scored_truly(case: Case) -> None:
    model, processor = compose(case)
    options = Options(max_tokens=4, decoding=beam.Config(num_beams=3, length_penalty=0.0))
    chosen = samples()
    together = generate(model, processor, chosen, options)
    close(together, [generate(model, processor, [one], options)[0] for one in chosen])
    # Without a bonus for length, and with no early end, beams find texts that are as likely as greedy's or likelier.
    single = generate(model, processor, chosen, replace(options, decoding=greedy.Config()))
    assert all(
        beamed.logprob * beamed.tokens >= alone.logprob * alone.tokens - 1e-4
        for beamed, alone in zip(together, single, strict=True)
    )


@pytest.mark.parametrize(
    "decoding",
    [catalog.config_class("answers.decoding", kind)() for kind in catalog.kinds("answers.decoding")],
)
@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_the_pieces_of_a_stream_join_to_the_answer(case: Case, decoding: Any) -> None:
    model, processor = compose(case)
    options = Options(max_tokens=12, decoding=decoding, seed=3)
    for one in samples()[:4]:
        assert (
            "".join(stream(model, processor, one, options))
            == generate(model, processor, [one], options)[0].text
        )


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_sampling_draws_the_same_again_and_something_else_for_another_seed(case: Case) -> None:
    model, processor = compose(case)
    texts = [
        tuple(
            one.text
            for one in generate(
                model, processor, samples(), Options(max_tokens=9, decoding=sampling.Config(), seed=seed)
            )
        )
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_what_is_sampled_for_a_sample_depends_on_nothing_beside_it(case: Case) -> None:
    model, processor = compose(case)
    options = Options(max_tokens=6, decoding=sampling.Config(), seed=5)
    # Equal prompts with ids of their own, prompts that share a picture, and others.
    chosen = samples() + [sample(f"same-{number}", picture(1), "how many ?") for number in range(6)]
    expected = generate(model, processor, chosen, replace(options, batch_size=512))
    assert len({one.text for one in expected[-6:]}) > 1
    for batch_size in (1, 7):
        close(generate(model, processor, chosen, replace(options, batch_size=batch_size)), expected)
    close(generate(model, processor, chosen[::-1], options)[::-1], expected)
    close(generate(model, processor, chosen[1::2], options), expected[1::2])
    for one, said in zip(chosen[:3], expected, strict=False):
        assert "".join(stream(model, processor, one, options)) == said.text


@pytest.mark.parametrize("case", GENERATING, ids=str)
def test_generation_in_bf16_autocast_runs(case: Case) -> None:
    model, processor = compose(case)
    options = Options(max_tokens=5, decoding=beam.Config(num_beams=2))
    with torch.autocast("cpu", torch.bfloat16):
        found = generate(model, processor, samples(), options)
    assert len(found) == len(samples())


@pytest.mark.parametrize("case", CLASSIFYING, ids=str)
def test_a_classifier_says_the_likeliest_of_its_answers_in_a_batch_as_alone(case: Case) -> None:
    model, processor = compose(case)
    chosen = samples()
    together = generate(model, processor, chosen)
    close(together, [generate(model, processor, [one])[0] for one in chosen])
    for one, prediction in zip(chosen, together, strict=True):
        with torch.inference_mode():
            logprobs = model(processor.batch([one])).logits[0].log_softmax(-1)
        assert prediction.text == processor.answers[int(logprobs.argmax())]
        assert prediction.logprob == pytest.approx(float(logprobs.max()), abs=1e-5)
        assert "".join(stream(model, processor, one)) == prediction.text
