"""Ids to a prediction: its text, its mean log-probability, and how it ended."""

from __future__ import annotations

import pytest

from sightweave.answers.writers import text
from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer

TOKENIZER = Tokenizer.train(["ein Größe 猫 cat"] * 2, vocab_size=280)
WRITER = text.Config().build(tokenizer=TOKENIZER)


def test_an_ended_answer_counts_its_end_and_does_not_write_it() -> None:
    ids = [*TOKENIZER.encode("Größe 猫"), TOKENIZER.end_id]
    prediction = WRITER.write(ids, -0.5 * len(ids))
    assert prediction.text == "Größe 猫"
    assert prediction.tokens == len(ids)
    assert prediction.logprob == pytest.approx(-0.5)
    assert prediction.finish == "stop"


def test_a_cut_answer_says_so_and_leaves_half_a_character_out() -> None:
    ids = TOKENIZER.encode("cat 🙂")[:-1]
    prediction = WRITER.write(ids, -3.0)
    assert prediction.text == "cat "
    assert prediction.finish == "length"
    assert prediction.logprob == pytest.approx(-3.0 / len(ids))


def test_nothing_was_said() -> None:
    prediction = WRITER.write([], 0.0)
    assert (prediction.text, prediction.tokens, prediction.logprob, prediction.finish) == (
        "",
        0,
        0.0,
        "length",
    )
    assert WRITER.write([TOKENIZER.end_id], -1.0).text == ""


@pytest.mark.parametrize("said", ["cat", "Größe 猫 🙂🙂", " two spaces", ""])
def test_a_stream_joins_to_the_same_text(said: str) -> None:
    ids = TOKENIZER.encode(said)
    stream = StreamDecoder(TOKENIZER)
    joined = "".join([*(stream.push(index) for index in ids), stream.close()])
    assert joined == WRITER.write(ids, 0.0).text == said
