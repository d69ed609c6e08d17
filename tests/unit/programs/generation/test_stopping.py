"""Stop texts and limits of each answer, against everything written out and cut by brute force."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from contracts._compose import Case, compose, picture, sample, samples, tokenizer
from pydantic import ValidationError

from sightweave.core.errors import DataError
from sightweave.core.types import Prediction, Sample
from sightweave.programs.generation import Limits, Options, generate, stream
from sightweave.programs.generation.stopping import StopTexts, Watch, before_stop

CASES = [
    Case("concat", (), "decoder_only"),
    Case("cross_attention", (), "decoder_only"),
    Case("memory", (), "encoder_decoder"),
]
MODEL, PROCESSOR = compose(CASES[0])
SAMPLING = {"kind": "sampling", "temperature": 3.0}
LENGTH = 14


def cut(text: str, stop: Sequence[str]) -> str:
    """The reference: letter by letter, until the text ends with a stop text."""
    for end in range(len(text) + 1):
        complete = [len(one) for one in stop if text[:end].endswith(one)]
        if complete:
            return text[: end - max(complete)]
    return text


def expected(
    model: Any, processor: Any, asked: Sequence[Sample], limits: Sequence[Limits]
) -> list[tuple[str, str]]:
    """Texts and how they end: each sample alone, everything written out, then cut."""
    found = []
    for one, limit in zip(asked, limits, strict=True):
        options = Options(max_tokens=limit.max_tokens, decoding=SAMPLING, seed=4)
        (whole,) = generate(model, processor, [one], options)
        text = cut(whole.text, limit.stop)
        found.append((text, "stop" if text != whole.text else whole.finish))
    return found


def ends(found: Sequence[Prediction]) -> list[tuple[str, str]]:
    return [(one.text, one.finish) for one in found]


def drawn_stops(text: str, draw: random.Random) -> tuple[str, ...]:
    """Some stop texts, most of which occur in a text: of one letter and of several, at any place of its tokens."""
    stop = ["no such text"]
    for _ in range(draw.randrange(4)):
        start = draw.randrange(max(1, len(text)))
        stop.append(text[start : start + draw.randrange(1, 7)] or "?")
    return tuple(stop)


def test_a_stop_text_that_is_complete_first_counts_and_of_those_the_longest() -> None:
    assert before_stop("abcd", ["bc", "abcd"]) == "a"
    assert before_stop("abcd", ["c", "abc", "bc"]) == ""
    assert before_stop("abcd", ["d", "x"]) == "abc"
    assert before_stop("abcd", ["dx"]) == "abcd"
    assert before_stop("abcd", []) == "abcd"


def test_pieces_join_to_the_text_before_the_first_stop_text_and_never_show_more() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        text = "".join(draw.choices("ab\u4e2d", k=draw.randrange(12)))
        stop = ["".join(draw.choices("ab\u4e2d", k=draw.randrange(1, 5))) for _ in range(draw.randrange(4))]
        whole = cut(text, stop)
        assert before_stop(text, stop) == whole

        found, said = StopTexts(stop), ""
        rest = text
        while rest:
            size = draw.randrange(0, 4)
            said += found.push(rest[:size])
            rest = rest[size:]
            assert whole.startswith(said)
        said += found.close()
        assert said == whole
        assert found.is_found == any(one in text for one in stop)


def test_a_watch_sees_a_stop_text_at_any_place_of_the_tokens() -> None:
    ids = tokenizer().encode("the ball is red, a blue box \u4e2d\u6587")
    for start, end in itertools.combinations(range(20), 2):
        stop = tokenizer().decode(ids)[start:end]
        watch = Watch(tokenizer(), [stop])
        said = [watch.push(one) for one in ids]
        for number, is_found in enumerate(said):
            assert is_found == (stop in tokenizer().decode(ids[: number + 1]))


def test_a_forked_watch_continues_on_its_own() -> None:
    ids = tokenizer().encode("red \u4e2d\u6587 box")
    text = tokenizer().decode(ids)
    for place in range(len(ids)):
        watch = Watch(tokenizer(), [text[2:]])
        for one in ids[:place]:
            watch.push(one)
        forked = watch.fork()
        assert not any(watch.push(one) for one in tokenizer().encode("something else"))
        assert [forked.push(one) for one in ids[place:]][-1]


@pytest.mark.parametrize(("case", "batch_size"), [*((case, 100) for case in CASES), (CASES[0], 3)], ids=str)
def test_every_row_stops_at_its_own_stop_text_and_its_own_maximum(case: Case, batch_size: int) -> None:
    model, processor = compose(case)
    draw = random.Random(batch_size)
    asked = [*samples(), *(sample(f"{n}", picture(1), "how many ?") for n in range(5))]
    options = Options(max_tokens=LENGTH, decoding=SAMPLING, seed=4, batch_size=batch_size)
    whole = generate(model, processor, asked, options)
    limits = [Limits(draw.choice([1, 5, LENGTH, LENGTH]), drawn_stops(one.text, draw)) for one in whole]

    found = generate(model, processor, asked, options, limits=limits)
    assert ends(found) == expected(model, processor, asked, limits)
    assert {one.finish for one in found} == {"stop", "length"}
    for one, limit in zip(found, limits, strict=True):
        assert len(one.ids) == one.tokens <= limit.max_tokens
        assert not any(stop in one.text for stop in limit.stop)


def test_writing_ends_with_the_token_that_completes_the_stop_text() -> None:
    (whole,) = generate(MODEL, PROCESSOR, samples()[:1], Options(max_tokens=LENGTH, decoding=SAMPLING))
    decode = PROCESSOR.tokenizer.decode
    middle = len(decode(whole.ids[:5])) + 1
    stop = whole.text[middle - 2 : middle]
    options = Options(max_tokens=LENGTH, decoding=SAMPLING, stop=stop)
    (found,) = generate(MODEL, PROCESSOR, samples()[:1], options)
    assert found.text == cut(whole.text, [stop])
    assert found.ids == whole.ids[: len(found.ids)]
    assert stop in decode(found.ids)
    assert stop not in decode(found.ids[:-1])
    assert found.tokens < LENGTH


@pytest.mark.parametrize("beams", [1, 3])
def test_beams_that_hold_a_stop_text_are_finished(beams: int) -> None:
    asked = samples()
    options = Options(max_tokens=LENGTH, decoding={"kind": "beam", "num_beams": beams, "length_penalty": 0.0})
    whole = generate(MODEL, PROCESSOR, asked, options)
    for size in (1, 3):
        limits = [Limits(LENGTH, (one.text[4 : 4 + size] or "?",)) for one in whole]
        found = generate(MODEL, PROCESSOR, asked, options, limits=limits)
        alone = [
            generate(MODEL, PROCESSOR, [one], options, limits=[limit])[0]
            for one, limit in zip(asked, limits, strict=True)
        ]
        assert ends(found) == ends(alone)
        for one, limit, before in zip(found, limits, whole, strict=True):
            assert limit.stop[0] not in one.text
            stopped = limit.stop[0] in PROCESSOR.tokenizer.decode(one.ids)
            assert one.finish == "stop" or (not stopped and one.tokens == LENGTH)
            if beams == 1:
                assert one.text == cut(before.text, limit.stop)


def test_beams_of_prompts_with_different_maximums_are_those_of_each_alone() -> None:
    asked = samples()
    options = Options(decoding={"kind": "beam", "num_beams": 3})
    limits = [Limits(1 + number % 3) for number in range(len(asked))]
    found = generate(MODEL, PROCESSOR, asked, options, limits=limits)
    for one, limit, answer in zip(asked, limits, found, strict=True):
        (alone,) = generate(MODEL, PROCESSOR, [one], options, limits=[limit])
        assert ends([answer]) == ends([alone])
        assert answer.tokens <= limit.max_tokens


@pytest.mark.parametrize("decoding", ["greedy", SAMPLING, "beam"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stream_never_shows_a_stop_text_nor_the_beginning_of_one(case: Case, decoding: Any) -> None:
    model, processor = compose(case)
    draw = random.Random(3)
    for one in samples()[:2]:
        options = Options(max_tokens=LENGTH, decoding=decoding, seed=4)
        (whole,) = generate(model, processor, [one], options)
        for _ in range(4):
            stopping = Options(
                max_tokens=LENGTH, decoding=decoding, seed=4, stop=drawn_stops(whole.text, draw)
            )
            (answer,) = generate(model, processor, [one], stopping)
            said = ""
            for piece in stream(model, processor, one, stopping):
                said += piece
                assert answer.text.startswith(said)
            assert said == answer.text


def test_samples_that_write_nothing_are_judged_beside_others_that_write() -> None:
    asked = samples()
    texts = [("red", "two") if number % 2 else () for number in range(len(asked))]
    limits = [Limits(5 * (number % 3)) for number in range(len(asked))]
    found = generate(MODEL, PROCESSOR, asked, None, texts, limits=limits)
    for one, limit, judged, answer in zip(asked, limits, texts, found, strict=True):
        options = Options(max_tokens=limit.max_tokens)
        (alone,) = generate(MODEL, PROCESSOR, [one], options, [judged])
        assert ends([answer]) == ends([alone])
        assert [each.logprob for each in answer.likelihoods] == pytest.approx(
            [each.logprob for each in alone.likelihoods], abs=1e-4
        )


def test_a_classifier_says_no_stop_text_either() -> None:
    model, processor = compose(Case("bilinear", (), "encoder_only"))
    (whole,) = generate(model, processor, samples()[:1])
    options = Options(stop=whole.text[1])
    (found,) = generate(model, processor, samples()[:1], options)
    assert (found.text, found.finish) == (cut(whole.text, [whole.text[1]]), "stop")
    assert "".join(stream(model, processor, samples()[0], options)) == found.text


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(ValidationError, match="every stop text needs at least one character"):
        Options(stop=("a", ""))
    with pytest.raises(ValueError, match=r"every stop text needs at least one character \(got \[''\]\)"):
        Limits(3, ("",))
    with pytest.raises(ValueError, match=r"max_tokens must be 0 or more \(got -1\)"):
        Limits(-1)
    with pytest.raises(DataError, match=r"1 limit\(s\) for 2 sample\(s\)"):
        generate(MODEL, PROCESSOR, samples()[:2], limits=[Limits(2)])
    assert Options(stop="ab").stop == ("ab",)
