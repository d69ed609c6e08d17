"""A writer is one file: a user's own is chosen by its dotted path, and gets all that was generated."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from contracts._compose import Case, compose, samples

from sightweave.programs.generation import Options, generate, stream

MODEL, PROCESSOR = compose(Case("concat", (), "decoder_only"))
WRITER = """
from sightweave.core.config import config
from sightweave.core.types import Prediction


@config
class Config:
    between: str = " "

    def build(self, *, tokenizer):
        return Numbers(self.between)


class Numbers:
    def __init__(self, between):
        self.between = between

    def write(self, ids, total_logprob):
        return Prediction(self.between.join(map(str, ids)), logprob=total_logprob, tokens=len(ids), ids=tuple(ids))
"""


@pytest.mark.parametrize("decoding", ["greedy", "sampling", "beam"])
def test_a_writer_of_the_users_own_is_chosen_by_its_dotted_path(
    decoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab_of_writers").mkdir()
    (tmp_path / "lab_of_writers" / "numbers_of_tokens.py").write_text(WRITER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = Options(
        max_tokens=6,
        decoding=decoding,
        writer={"kind": "lab_of_writers.numbers_of_tokens", "between": "-"},
        seed=2,
    )
    plain = generate(MODEL, PROCESSOR, samples(), Options(max_tokens=6, decoding=decoding, seed=2))
    found = generate(MODEL, PROCESSOR, samples(), own)
    for sample, one, text in zip(samples(), found, plain, strict=True):
        assert one.ids == text.ids
        assert one.text == "-".join(map(str, text.ids))
        assert text.logprob is not None
        assert one.logprob == pytest.approx(text.logprob * text.tokens)
        # It cannot write while ids come, so it streams in one piece.
        (alone,) = generate(MODEL, PROCESSOR, [sample], own)
        assert list(stream(MODEL, PROCESSOR, sample, own)) == [alone.text]


def test_a_prediction_holds_its_ids_and_is_equal_without_them() -> None:
    for one in generate(MODEL, PROCESSOR, samples(), Options(max_tokens=6)):
        assert len(one.ids) == one.tokens
        ended = one.finish == "stop"
        assert (one.ids[-1] == PROCESSOR.tokenizer.end_id) == ended
        assert PROCESSOR.tokenizer.decode(one.ids[: one.tokens - ended]) == one.text
        assert one.logprob is not None
        assert math.isfinite(one.logprob)
        kept = type(one)(one.text, one.logprob, one.tokens, one.finish, one.likelihoods, one.extra)
        assert kept == one
        assert kept.ids == ()


def test_a_writer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="writer"):
        Options(writer="no_such")
