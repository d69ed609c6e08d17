"""A session: rows that join, leave and are forked go on as each would alone."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import Case, compose, picture, sample
from torch import Tensor

from sightweave.core.types import Sample
from sightweave.programs.generation.answering import Reader
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.session import Session

CASES = [
    Case("concat", (), "decoder_only"),
    Case("addition", (), "decoder_only"),
    Case("cross_attention", (), "decoder_only"),
    Case("memory", (), "encoder_decoder"),
]
ASKED = (
    sample("short", picture(1), "what ?"),
    sample("long", picture(2), "compare this picture with that one"),
    sample("two", picture(3), picture(1), "how many cats are there ?"),
    sample("again", picture(1), "is it red ?"),
)


def reader(case: Case) -> Reader:
    return Reader(*compose(case), Options())


def joined(case: Case, *groups: tuple[int, ...], packed: bool = True, steps_between: int = 2) -> Session:
    """A session that groups of prompts join one after another, with some steps between."""
    read = reader(case)
    session = Session(read.model)
    for number, group in enumerate(groups):
        for _ in range(steps_between if number else 0):
            session.step(session.logits.argmax(-1))
        join(read, session, [ASKED[one] for one in group], packed=packed)
    return session


def join(read: Reader, session: Session, asked: list[Sample], *, packed: bool) -> None:
    """Prompts whose pictures were read before join, where the model can do that, or whole ones."""
    encoded = [read.processor.encode(one) for one in asked]
    can_share = read.model.layout.form == "causal" and read.model.layout.in_sequence
    shares = can_share and all(one.trunk_media and not one.branch_media for one in encoded)
    read.join(session, encoded, read.prefix(encoded) if shares else None, packed=packed)


def alone(case: Case, number: int, steps: int) -> Tensor:
    """T V: logits behind a prompt and behind each of its greedy tokens."""
    session = joined(case, (number,), packed=False)
    found = [session.logits[0]]
    for _ in range(steps):
        session.step(session.logits.argmax(-1))
        found.append(session.logits[0])
    return torch.stack(found)


def check(session: Session, case: Case, rows: list[tuple[int, int]], steps: int = 3) -> None:
    """Each row, a (prompt, steps so far), has the logits that the prompt has alone, now and in the next steps."""
    assert len(session) == len(rows)
    for step in range(steps):
        for row, (number, before) in enumerate(rows):
            expected = alone(case, number, before + step)[-1]
            torch.testing.assert_close(session.logits[row], expected, atol=1e-4, rtol=1e-4)
        session.step(session.logits.argmax(-1))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_that_join_later_go_on_as_if_alone(case: Case, packed: bool) -> None:
    session = joined(case, (0, 1), (2,), (3, 0), packed=packed)
    check(session, case, [(0, 4), (1, 4), (2, 2), (3, 0), (0, 0)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_leave_and_the_others_close_up(case: Case) -> None:
    session = joined(case, (0, 1, 2, 3), (1,), steps_between=1)
    kept = session.leave(torch.tensor([True, False, True, False, False]))
    assert sorted(kept.tolist()) == [1, 3, 4]
    rows = [(0, 1), (1, 1), (2, 1), (3, 1), (1, 0)]
    check(session, case, [rows[number] for number in kept.tolist()])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fork_goes_on_and_leaves_its_session_as_it_is(case: Case) -> None:
    session = joined(case, (0, 1))
    forked = session.fork(torch.tensor([1, 1, 0]))
    check(forked, case, [(1, 0), (1, 0), (0, 0)])
    check(session, case, [(0, 0), (1, 0)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_text_that_is_read_at_once_is_text_that_is_read_step_by_step(case: Case) -> None:
    read, session = reader(case), joined(case, (0, 1), packed=False)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    forked = session.fork(torch.tensor([0, 1]))
    found = forked.read(read.processor.continuations(ids.tolist(), forked.positions.tolist())).view(2, 3, -1)
    for place in range(3):
        session.step(ids[:, place])
        torch.testing.assert_close(found[:, place], session.logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(forked.positions, session.positions)
    for _ in range(2):
        torch.testing.assert_close(forked.logits, session.logits, atol=1e-4, rtol=1e-4)
        forked.step(session.logits.argmax(-1))
        session.step(session.logits.argmax(-1))
