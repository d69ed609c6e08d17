"""Generation as its callers use it: order, options, progress, and pictures that are encoded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample, samples
from PIL import Image
from pydantic import ValidationError

from sightweave.answers.decoding import sampling
from sightweave.core.errors import BackendError, MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs.template import Encoded, Stretch
from sightweave.data.inputs.tiles import Tile
from sightweave.programs.generation import MediaMemory, Options, distinct, generate, stream, write

MODEL, PROCESSOR = compose(Case("concat", (), "decoder_only"))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_answers_come_in_the_order_of_the_samples_whatever_the_batches(batch_size: int) -> None:
    chosen = samples()
    expected = [generate(MODEL, PROCESSOR, [one], Options(max_tokens=4))[0].text for one in chosen]
    told: list[int] = []
    found = generate(
        MODEL, PROCESSOR, chosen, Options(max_tokens=4, batch_size=batch_size), progress=told.append
    )
    assert [one.text for one in found] == expected
    assert sum(told) == len(chosen)
    assert max(told) <= batch_size


@pytest.mark.parametrize("tokens", [1, 60, 10_000])
def test_batches_are_bounded_by_tokens_and_answers_stay(tokens: int) -> None:
    chosen = samples()
    texts = [("red", "a blue box")] * len(chosen)
    expected = generate(MODEL, PROCESSOR, chosen, Options(max_tokens=4), texts)
    told: list[int] = []
    found = generate(
        MODEL,
        PROCESSOR,
        chosen,
        Options(max_tokens=4, max_batch_tokens=tokens),
        texts,
        progress=told.append,
    )
    assert [one.text for one in found] == [one.text for one in expected]
    for one, before in zip(found, expected, strict=True):
        assert [each.logprob for each in one.likelihoods] == pytest.approx(
            [each.logprob for each in before.likelihoods], abs=1e-4
        )
    longest = max(PROCESSOR.length(one) for one in chosen) + 4
    assert max(told) <= max(1, tokens // min(4, longest))
    assert tokens != 1 or max(told) == 1


def _no_room_for(rows: int) -> Callable[[Any, Any], None]:
    """A hook of a layer that asks torch for more memory than any machine has, where it is given more rows than that."""

    def hook(_: Any, inputs: Any) -> None:
        if len(inputs[0]) > rows:
            torch.empty(1 << 60)

    return hook


@pytest.mark.parametrize("decoding", ["greedy", "sampling", "beam"])
@pytest.mark.parametrize("is_judged", [False, True])
def test_out_of_memory_halves_the_batch_and_goes_on(decoding: str, is_judged: bool) -> None:
    chosen = [sample(f"{n}", picture(n), q) for n in range(3) for q in ("what ?", "is it red ?")]
    texts = [("red",)] * len(chosen) if is_judged else []
    options = Options(max_tokens=4, decoding=decoding)
    expected = generate(MODEL, PROCESSOR, chosen, options, texts)
    told: list[int] = []
    width = options.decoding.build(end_id=PROCESSOR.tokenizer.end_id).width
    # Where embeddings are looked up for whole batches, and where pictures are encoded.
    handles = [
        MODEL.language_model.token_embedding.register_forward_pre_hook(_no_room_for(2 * width)),
        MODEL.encoder.register_forward_pre_hook(_no_room_for(2)),
    ]
    try:
        found = generate(MODEL, PROCESSOR, chosen, options, texts, progress=told.append)
    finally:
        for handle in handles:
            handle.remove()
    assert [one.text for one in found] == [one.text for one in expected]
    assert [len(one.likelihoods) for one in found] == [len(one.likelihoods) for one in expected]
    assert sum(told) == len(chosen)


def test_a_prompt_that_does_not_fit_alone_is_named() -> None:
    handle = MODEL.language_model.token_embedding.register_forward_pre_hook(_no_room_for(0))
    try:
        with pytest.raises(BackendError, match="out of memory on sample 'alone' alone"):
            generate(MODEL, PROCESSOR, [sample("alone", picture(1), "what ?")], Options(max_tokens=4))
    finally:
        handle.remove()


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def fails(_: Any, inputs: Any) -> None:
        raise RuntimeError("shapes do not match")

    handle = MODEL.language_model.token_embedding.register_forward_pre_hook(fails)
    try:
        with pytest.raises(RuntimeError, match="shapes do not match"):
            generate(MODEL, PROCESSOR, samples(), Options(max_tokens=4))
    finally:
        handle.remove()


def test_equal_prompts_of_one_call_are_sampled_independently_whatever_the_batches() -> None:
    asked = [sample("same", picture(1), "how many ?")] * 512
    options = Options(max_tokens=4, decoding={"kind": "sampling", "temperature": 2.0}, seed=7)
    said = [one.text for one in generate(MODEL, PROCESSOR, asked, options)]
    assert len(set(said)) > 400
    assert sum(first == second for first, second in zip(said[:256], said[256:], strict=True)) < 26
    for batch_size in (7, 64, 512):
        found = generate(MODEL, PROCESSOR, asked, replace(options, batch_size=batch_size))
        assert [one.text for one in found] == said
    fewer = generate(MODEL, PROCESSOR, asked[:10], replace(options, batch_size=1))
    assert [one.text for one in fewer] == said[:10]
    other = generate(MODEL, PROCESSOR, asked, replace(options, seed=8))
    assert sum(one.text == before for one, before in zip(other, said, strict=True)) < 52


def test_threads_change_no_draw() -> None:
    asked = [sample("same", picture(1), "how many ?")] * 12
    options = Options(max_tokens=4, decoding="sampling", batch_size=3)
    said = [one.text for one in generate(MODEL, PROCESSOR, asked, options)]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [one.text for one in generate(MODEL, PROCESSOR, asked, options)] == said
    finally:
        torch.set_num_threads(threads)


def test_batches_of_prompts_are_sampled_row_by_row() -> None:
    encoded = [PROCESSOR.encode(one) for one in samples() + [sample("same", picture(1), "how many ?")] * 4]
    prompts = [replace(one, target=Stretch()) for one in encoded]
    options = Options(max_tokens=4, decoding="sampling", seed=3)

    def written(chosen: list[Encoded]) -> list[list[int]]:
        batch = PROCESSOR.batch(chosen, share=False)
        return write(MODEL, batch, options, end_id=PROCESSOR.tokenizer.end_id)

    said = written(prompts)
    assert len({tuple(ids) for ids in said[-4:]}) > 1
    assert written(prompts[:5]) == said[:5]
    assert written(prompts[4::-1]) == said[4::-1]


def test_ids_that_came_before_are_told_apart_over_calls() -> None:
    seen: Counter[str] = Counter()
    first = [one.id for one in distinct([sample("a", "x"), sample("b", "x"), sample("a", "y")], seen)]
    assert first == ["a", "b", "a#2"]
    assert [one.id for one in distinct([sample("a", "x"), sample("b", "x")], seen)] == ["a#3", "b#2"]


def test_no_samples_give_no_answers() -> None:
    assert generate(MODEL, PROCESSOR, []) == []


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_answer_is_longer_than_asked(most: int) -> None:
    for one in generate(MODEL, PROCESSOR, samples(), Options(max_tokens=most)):
        assert one.tokens <= most
        assert (one.finish == "length") == (one.tokens == most and one.finish != "stop")


def test_each_picture_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    handle = MODEL.encoder.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    try:
        chosen = [
            sample(f"{n}{q}", picture(n), q) for n in (1, 2) for q in ("what ?", "how many ?", "is it red ?")
        ]
        generate(MODEL, PROCESSOR, chosen, Options(max_tokens=2))
        assert sum(counted) == 2
        counted.clear()
        generate(MODEL, PROCESSOR, [*chosen, sample("text", "how ?")], Options(max_tokens=2))
        assert sum(counted) == 2
    finally:
        handle.remove()


def test_a_picture_is_encoded_once_though_its_prompts_fill_several_batches() -> None:
    counted: list[int] = []
    handle = MODEL.encoder.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    questions = ("what ?", "how many ?", "is it red ?", "compare this picture with that one")
    chosen = [sample(f"{n} {q}", picture(n), q) for n in (1, 2) for q in questions]
    try:
        found = generate(MODEL, PROCESSOR, chosen, Options(max_tokens=3, batch_size=2))
        assert sum(counted) == 2
    finally:
        handle.remove()
    alone = [generate(MODEL, PROCESSOR, [one], Options(max_tokens=3))[0].text for one in chosen]
    assert [one.text for one in found] == alone


def test_a_picture_of_an_earlier_call_is_not_encoded_again() -> None:
    counted: list[int] = []
    handle = MODEL.encoder.register_forward_hook(lambda _, inputs, __: counted.append(len(inputs[0])))
    first, second, memory = picture(1), picture(2), MediaMemory()
    namesake = Medium(second.source, key=first.key)
    options = Options(max_tokens=3)

    def said(*media: Medium) -> list[str]:
        asked = [sample(f"{n}", one, "what ?") for n, one in enumerate(media)]
        return [one.text for one in generate(MODEL, PROCESSOR, asked, options, memory=memory)]

    try:
        before = said(first)
        assert said(first) == before
        assert sum(counted) == 1
        assert said(second, first)[1:] == before
        assert sum(counted) == 2
        # Another picture under the same name, as in another call of `Run.generate`.
        assert said(namesake) == said(second)
        assert sum(counted) == 3
    finally:
        handle.remove()


def test_a_memory_of_pictures_forgets_the_oldest_and_no_tiles() -> None:
    first, second, third = (picture(number) for number in (1, 2, 3))
    one = torch.zeros(1, 4, 2)
    memory = MediaMemory(max_bytes=2 * one.numel() * one.element_size())
    for medium in (first, second, third):
        memory.keep([medium], one)
    assert memory.get(first) is None
    assert memory.get(second) is not None
    assert memory.get(third) is not None
    memory.keep([Medium(Tile(first, 0, 0, 1, 1), key="tile")], one)
    memory.keep([first], torch.zeros(1, 40, 2))
    assert memory.get(second) is not None


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_of_the_model_is_given_back(training: bool) -> None:
    MODEL.train(training)
    generate(MODEL, PROCESSOR, samples()[:1], Options(max_tokens=1))
    assert MODEL.training is training
    next(stream(MODEL, PROCESSOR, samples()[0], Options(max_tokens=40)), None)
    list(stream(MODEL, PROCESSOR, samples()[0], Options(max_tokens=2)))
    assert MODEL.training is training
    with pytest.raises(MediaError):
        generate(MODEL, PROCESSOR, [sample("bad", Medium(b"nothing", key="bad"), "what ?")])
    assert MODEL.training is training
    MODEL.eval()


def test_a_stream_says_nothing_of_gradients() -> None:
    for _ in stream(MODEL, PROCESSOR, samples()[1], Options(max_tokens=3)):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("fields", [{"max_tokens": -1}, {"batch_size": 0}, {"decoding": "no_such"}])
def test_impossible_options_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Options(**fields)


def test_text_alone_is_answered_too() -> None:
    (one,) = generate(MODEL, PROCESSOR, [sample("text", "how many ?")], Options(max_tokens=3))
    assert one.tokens >= 1


def test_a_very_long_prompt_is_read() -> None:
    (one,) = generate(
        MODEL, PROCESSOR, [sample("long", picture(1), "how many " * 600)], Options(max_tokens=2)
    )
    assert one.tokens >= 1


def test_texts_longer_than_learned_positions_end_with_a_clear_word() -> None:
    model, processor = compose(
        Case("addition", (), "decoder_only"), language_model={"position": "learned", "max_length": 16}
    )
    short = sample("short", picture(1), "how ?")
    assert generate(model, processor, [short], Options(max_tokens=3))[0].tokens >= 1
    with pytest.raises(ValueError, match="outside the 16 learned positions; raise max_length"):
        generate(model, processor, [sample("long", picture(1), "how many " * 20)], Options(max_tokens=3))


def test_draws_follow_what_a_picture_shows_and_not_where_it_lies(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (24, 24, 3), np.uint8)
    options = Options(decoding=sampling.Config(temperature=2.0), max_tokens=12, seed=5)
    said = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / f"{folder}.png"
        Image.fromarray(pixels).save(path)
        asked = sample("prompt", Medium(path, str(path)), "what ?")
        said.append(generate(MODEL, PROCESSOR, [asked], options)[0].text)
    assert said[0] == said[1]
