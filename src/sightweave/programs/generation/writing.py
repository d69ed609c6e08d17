"""The loop that writes: choose a token for each row, let finished rows go, read the chosen tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Decoder, Draws
from sightweave.core.batch import Batch
from sightweave.models.vlm import VLM
from sightweave.programs.generation.draws import names_of_rows
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.session import Session

_ENOUGH = 0.85
"""Rows that are done leave the session when no more than this share of it goes on."""


@torch.inference_mode()
def write(model: VLM, batch: Batch, options: Options, *, end_id: int) -> list[list[int]]:
    """Ids of an answer behind each row of a batch of prompts, with the end where it came to one.

    Args:
        model: In evaluation mode; it writes texts.
        batch: Whole prompts, padded on the right.
        options: Length and method.
        end_id: What ends an answer.
    """
    decoder: Decoder = options.decoding.build(end_id=end_id)
    draws = Draws.of(options.seed, names_of_rows(batch), width=decoder.width)
    session = Session(model, room=options.max_tokens)
    session.join(batch, packed=False)
    if decoder.width > 1:
        rows = torch.arange(len(session), device=session.logits.device)
        session = session.fork(rows.repeat_interleave(decoder.width))

    texts = written(session, decoder, draws, end_id=end_id, max_tokens=options.max_tokens)
    return [texts.row(row) for row in decoder.best(texts.totals, texts.lengths).tolist()]


@dataclass
class Texts:
    """What was written behind the prompts of a session."""

    ids: Int[Tensor, "B T"]
    """Filled up with the end token."""
    totals: Float[Tensor, " B"]
    """Sum of the log-probabilities of a row's tokens."""
    lengths: Int[Tensor, " B"]
    """Tokens of each row, its end included."""
    is_done: Tensor
    """bool B: whether a row has come to its end token."""

    @classmethod
    def none(cls, rows: int, max_tokens: int, end_id: int, device: torch.device) -> Texts:
        """Nothing written yet."""
        return cls(
            ids=torch.full((rows, max_tokens), end_id, dtype=torch.int64, device=device),
            totals=torch.zeros(rows, device=device),
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            is_done=torch.zeros(rows, dtype=torch.bool, device=device),
        )

    def fork(self, rows: Tensor) -> None:
        """Row i becomes what row ``rows[i]`` was."""
        self.ids, self.totals, self.lengths, self.is_done = (
            part[rows] for part in (self.ids, self.totals, self.lengths, self.is_done)
        )

    def add_to_all(self, step: int, choice: Choice) -> None:
        """Each row gets its token; none of them is an end, and no row has ended before."""
        self.ids[:, step] = choice.ids
        self.totals += choice.logprobs
        self.lengths += 1

    def add(self, step: int, choice: Choice, rows: Tensor, end_id: int) -> None:
        """Each of some rows gets its token, where it has not ended before."""
        is_fresh = ~self.is_done[rows]
        self.ids[rows, step] = torch.where(is_fresh, choice.ids, end_id)
        self.totals[rows] += torch.where(is_fresh, choice.logprobs, 0.0)
        self.lengths[rows] += is_fresh
        self.is_done[rows] |= choice.ids == end_id

    def row(self, number: int) -> list[int]:
        """Ids of one row, with its end where it came to one."""
        ids: list[int] = self.ids[number, : int(self.lengths[number])].tolist()
        return ids


@torch.inference_mode()
def written(session: Session, decoder: Decoder, draws: Draws, *, end_id: int, max_tokens: int) -> Texts:
    """Lets each row of a session write until it ends, or to `max_tokens`. The session is used up.

    Args:
        session: Prompts that were just read, `decoder.width` rows for each.
        decoder: Chooses tokens.
        draws: Random numbers of each row.
        end_id: What ends a text.
        max_tokens: Tokens of a text at most, its end included.
    """
    device = session.logits.device
    texts = Texts.none(len(session), max_tokens, end_id, device)
    alive = torch.arange(len(session), device=device)  # the row of `texts` of each row of the session
    some_done = False
    for step in range(max_tokens):
        is_done = texts.is_done[alive] if some_done else texts.is_done
        choice = decoder.choose(session.logits, is_done, draws.at(step))
        if choice.rows is not None:  # beams: texts move between rows
            texts.fork(choice.rows)
            session = session.fork(choice.rows)

        # All go on in most steps, which are kept short.
        some_done = some_done or bool((choice.ids == end_id).any())
        if some_done:
            texts.add(step, choice, alive, end_id)
        else:
            texts.add_to_all(step, choice)
        if step + 1 == max_tokens or (some_done and bool(texts.is_done.all())):
            break

        ids = choice.ids
        if some_done and choice.rows is None:
            is_done = texts.is_done[alive]
            # Moving rows of the cache costs about what a step of as many does.
            if int((~is_done).sum()) <= _ENOUGH * len(alive):
                kept = session.leave(is_done)
                alive, ids, draws = alive[kept], ids[kept], draws.at(step, kept)
        session.step(ids)
    return texts
