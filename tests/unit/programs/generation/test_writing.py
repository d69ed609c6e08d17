"""Rows that join and leave a session at different times write, token by token, what each writes alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, picture, sample, samples

from sightweave.core.types import Sample
from sightweave.programs.generation import Limits, Options, Session, Writing, generate, write
from sightweave.programs.generation.answering import Reader
from sightweave.programs.generation.draws import draws_of
from sightweave.programs.generation.rows import Written

CASES = [
    Case("concat", (), "decoder_only"),
    Case("cross_attention", (), "decoder_only"),
    Case("memory", (), "encoder_decoder"),
]
ASKED = [*samples(), *(sample(f"again {number}", picture(1), "how many ?") for number in range(4))]
LIMITS = [Limits(1 + 5 * number % 17, ("e",) if number % 3 == 0 else ()) for number in range(len(ASKED))]
SAMPLING = {"kind": "sampling", "temperature": 1.5}


class Server:
    """Answers samples that come one after another, as a server would."""

    def __init__(self, case: Case, decoding: Any) -> None:
        self.model, self.processor = compose(case)
        self.options = Options(decoding=decoding, seed=9)
        self.reader = Reader(self.model, self.processor, self.options)
        self.session = Session(self.model)
        self.decoder = self.options.decoding.build(end_id=self.processor.tokenizer.end_id)
        self.writing = Writing(
            self.session,
            self.decoder,
            end_id=self.processor.tokenizer.end_id,
            tokenizer=self.processor.tokenizer,
        )
        self.found: dict[int, Written] = {}

    def take(self, asked: list[Sample], limits: list[Limits]) -> list[int]:
        encoded = [self.processor.encode(one, with_target=False) for one in asked]
        self.reader.join(self.session, encoded)
        draws = draws_of(self.decoder, self.options.seed, asked)
        return self.writing.add(draws, limits)

    def step(self) -> None:
        finished = self.writing.step()
        assert not finished.keys() & self.found.keys()
        self.found |= finished


@pytest.mark.parametrize("decoding", ["greedy", SAMPLING])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_that_join_and_leave_at_different_times_write_what_each_writes_alone(
    case: Case, decoding: Any
) -> None:
    server = Server(case, decoding)
    numbers: list[int] = []
    most = 0
    waits = [0, 0, 1, 3, 0, 2, 30, 1, 0, 4]  # the session is empty before the one that waits longest
    for number, (one, limit) in enumerate(zip(ASKED, LIMITS, strict=True)):
        for _ in range(waits[number % len(waits)]):
            if len(server.writing):
                server.step()
        numbers += server.take([one], [limit])
        most = max(most, len(server.writing))
    while len(server.writing):
        server.step()

    assert numbers == list(range(len(ASKED)))
    assert sorted(server.found) == numbers
    assert most > 2
    assert len(server.session) == 0
    for number, (one, limit) in enumerate(zip(ASKED, LIMITS, strict=True)):
        (alone,) = generate(server.model, server.processor, [one], server.options, limits=[limit])
        assert tuple(server.found[number].ids) == alone.ids
        assert server.found[number].total / len(alone.ids) == pytest.approx(alone.logprob, abs=1e-4)
        assert server.found[number].has_ended == (alone.finish == "stop")


def test_a_text_is_told_in_the_step_that_finishes_it() -> None:
    server = Server(CASES[0], "greedy")
    server.take(ASKED[:3], [Limits(2), Limits(4), Limits(4)])
    told = []
    while len(server.writing):
        before = set(server.found)
        server.step()
        told.append(sorted(set(server.found) - before))
    lengths = [len(server.found[number].ids) for number in range(3)]
    assert told == [[n for n in range(3) if lengths[n] == step] for step in range(1, len(told) + 1)]


def test_a_row_that_may_write_no_more_leaves_before_positions_run_out() -> None:
    model, processor = compose(
        Case("addition", (), "decoder_only"), language_model={"position": "learned", "max_length": 16}
    )
    words = "how many cats are there"
    long = [sample(f"long {number}", picture(1), words) for number in range(4)]
    short = [sample(f"short {number}", picture(1), "red") for number in range(40)]
    prompt = len(processor.encode(long[0], with_target=False).prompt)
    room = 16 - prompt + 1  # the last token is not read any more
    limits = [Limits(room)] * len(long) + [Limits(10)] * len(short)
    found = generate(model, processor, long + short, Options(decoding=SAMPLING), limits=limits)
    assert max(one.tokens for one in found[: len(long)]) == room
    with pytest.raises(ValueError, match="outside the 16 learned positions"):
        generate(model, processor, long, Options(max_tokens=room + 1, decoding=SAMPLING))


def test_what_a_session_of_beams_cannot_do_is_refused() -> None:
    server = Server(CASES[0], "beam")
    rows = ASKED[:1] * server.decoder.width
    encoded = [server.processor.encode(one, with_target=False) for one in rows]
    draws = draws_of(server.decoder, 0, ASKED[:1])
    server.reader.join(server.session, encoded)
    server.writing.add(draws, [Limits(4)])
    server.step()
    server.reader.join(server.writing._session, encoded)  # which is another one since beams moved
    with pytest.raises(ValueError, match="none can join later"):
        server.writing.add(draws, [Limits(4)])

    server = Server(CASES[0], "beam")
    server.reader.join(server.session, encoded * 2)
    with pytest.raises(ValueError, match=r"one max_tokens for all prompts of a batch \(got \[2, 4\]\)"):
        server.writing.add(draws.joined(draws), [Limits(2), Limits(4)])


def test_limits_that_do_not_fit_the_rows_are_refused() -> None:
    server = Server(CASES[0], "greedy")
    draws = draws_of(server.decoder, 0, ASKED[:2])
    encoded = [server.processor.encode(one, with_target=False) for one in ASKED[:2]]
    server.reader.join(server.session, encoded)
    with pytest.raises(ValueError, match=r"2 row\(s\) joined the session, but 1 limit\(s\) were given"):
        server.writing.add(draws, [Limits(2)])
    with pytest.raises(ValueError, match="max_tokens must be 1 or more"):
        server.writing.add(draws, [Limits(2), Limits(0)])
    bare = Writing(server.session, server.decoder, end_id=-1)
    with pytest.raises(ValueError, match="give Writing a tokenizer"):
        bare.add(draws, [Limits(2), Limits(2, ("a",))])


def test_prompts_that_are_batched_by_a_caller_stop_too() -> None:
    model, processor = compose(CASES[0])
    batch = processor.batch(ASKED[:3], share=False, with_target=False)
    end = processor.tokenizer.end_id
    whole = write(model, batch, Options(max_tokens=12), end_id=end)
    stop = processor.tokenizer.decode(whole[0])[3:6]
    options = Options(max_tokens=12, stop=stop)
    found = write(model, batch, options, end_id=end, tokenizer=processor.tokenizer)
    assert found[0] == whole[0][: len(found[0])]
    assert stop in processor.tokenizer.decode(found[0])
    with pytest.raises(ValueError, match="give Writing a tokenizer"):
        write(model, batch, options, end_id=end)
    assert not torch.is_inference_mode_enabled()
