"""The generation loop: choose a token for each row, let finished rows leave, read the chosen tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Decoder, Draws
from sightweave.core.batch import Batch
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.vlm import VLM
from sightweave.programs.generation.draws import names_of_rows
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.rows import Rows, Written
from sightweave.programs.generation.session import Session
from sightweave.programs.generation.stopping import Limits, Watch

_ENOUGH = 0.85
"""Share of unfinished rows at or below which the finished rows leave the session."""


class Continuing(Protocol):
    """The session interface that `Writing` uses: a `Session` of a PyTorch model, or one of another program."""

    logits: Tensor
    """Logits of the next token of each row, float B V."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def step(self, ids: Int[Tensor, " B"]) -> None:
        """Reads one token of each row."""
        ...

    def leave(self, is_done: Bool[Tensor, " B"]) -> Int[Tensor, " b"]:
        """Removes rows; returns the old indices of the others in their new order."""
        ...

    def fork(self, rows: Int[Tensor, " b"]) -> Continuing:
        """A new session whose row i continues row ``rows[i]``."""
        ...


class Writing:
    """Texts that are being generated for the prompts of a session, each up to its own limits.

    ::

        writing = Writing(session, decoder, end_id=tokenizer.end_id, tokenizer=tokenizer)
        session.join(batch)
        numbers = writing.add(draws, limits)      # for the rows that joined
        while len(writing):
            for number, text in writing.step().items():
                ...                               # a text is finished

    Rows may join between any two steps. The text of a row does not depend on when it joined or on the other rows.

    Args:
        session: The session, which is used up: rows leave it some time after their text is finished.
        decoder: Chooses tokens.
        end_id: Token that ends a text.
        tokenizer: Decodes texts to detect stop texts; not needed if there are none.
    """

    def __init__(
        self, session: Continuing, decoder: Decoder, *, end_id: int, tokenizer: Tokenizer | None = None
    ) -> None:
        self._session, self._decoder = session, decoder
        self._end_id, self._tokenizer = end_id, tokenizer
        self._is_fixed = decoder.width > 1
        """Whether the decoder keeps state of its rows, so that no row may join or leave."""
        self._draws: Draws | None = None
        self._rows: Rows | None = None
        self._column = self._count = 0
        self._some_done = self._some_watched = False
        self._next_last = 0

    def __len__(self) -> int:
        """Number of rows, including finished ones that have not left yet; 0 if every text is finished."""
        return 0 if self._rows is None else len(self._rows.starts)

    @torch.inference_mode()
    def add(self, draws: Draws, limits: Sequence[Limits]) -> list[int]:
        """Starts generating for the prompts that joined the session last.

        Args:
            draws: Random numbers of each row that joined, at their first step.
            limits: Limits of each prompt, which has ``decoder.width`` rows.

        Returns:
            The number of each prompt, counted from 0 over all calls.

        Raises:
            ValueError: the limits do not fit the rows that joined, or the decoder keeps state of its rows and cannot
                accept more.
        """
        self._check(limits)
        device = self._session.logits.device
        new = Rows.new(limits, self._decoder.width, self._count, self._column, device)
        for row, number in enumerate(new.numbers):
            stop = limits[number - self._count].stop
            if stop:
                assert self._tokenizer is not None  # ensured by `_check`
                new.watches[row] = Watch(self._tokenizer, stop)
                self._some_watched = True

        if self._rows is None or self._draws is None:
            self._rows, self._draws, self._some_done = new, draws, False
        else:
            self._rows, self._draws = self._rows.joined(new), self._draws.joined(draws)
        self._make_room()

        self._count += len(limits)
        return list(range(self._count - len(limits), self._count))

    def _check(self, limits: Sequence[Limits]) -> None:
        width, joined = self._decoder.width, len(self._session) - len(self)
        if not limits or len(limits) * width != joined:
            raise ValueError(
                f"{joined} row(s) joined the session, but {len(limits)} limit(s) were given for prompts of {width} row(s)."
            )
        if min(one.max_tokens for one in limits) < 1:
            raise ValueError(
                "max_tokens must be 1 or more to write a text (got 0); do not add such a prompt."
            )
        if any(one.stop for one in limits) and self._tokenizer is None:
            raise ValueError("stop texts are looked for in decoded texts; give Writing a tokenizer.")
        if not self._is_fixed:
            return
        if len(self):
            raise ValueError(
                "beam search scores its prompts together, so none can join later; write them in turn."
            )
        if len({one.max_tokens for one in limits}) > 1:
            raise ValueError(
                "beam search needs one max_tokens for all prompts of a batch (got "
                f"{sorted({one.max_tokens for one in limits})}); write them one max_tokens after another."
            )

    def _make_room(self) -> None:
        """Adds columns for the tokens that the rows may still generate, and drops those before the start of all rows."""
        rows = self._rows
        assert rows is not None
        unused = min(rows.starts)
        self._column -= unused
        rows.starts = [start - unused for start in rows.starts]
        rows.last = [last - unused for last in rows.last]

        full = rows.ids.new_zeros(len(rows.ids), max(rows.last))
        held = rows.ids[:, unused : unused + self._column]
        full[:, : held.shape[1]] = held
        rows.ids = full
        self._next_last = min(rows.last)

    @torch.inference_mode()
    def step(self) -> dict[int, Written]:
        """Generates one token for each row and feeds it to the model.

        Returns:
            The texts completed by this token, keyed by prompt number.
        """
        assert self._rows is not None
        assert self._draws is not None
        choice = self._decoder.choose(self._session.logits, self._rows.is_done, self._draws)
        self._draws = self._draws.next()
        if choice.rows is not None:
            self._move(choice.rows)
        finished = self._record(choice)

        # Most steps finish no text; they end here with the model's own step.
        ids = choice.ids
        if self._some_done:
            is_done = self._rows.is_done
            going = len(is_done) - int(is_done.sum())
            if not going:
                self._session.leave(is_done)
                self._rows = self._draws = None
                self._column, self._some_watched = 0, False
                return finished
            if not self._is_fixed and self._is_worth_leaving(going):
                ids = ids[self._leave()]
        self._session.step(ids)
        return finished

    def _move(self, sources: Int[Tensor, " B"]) -> None:
        """Moves texts between rows, as beam search does."""
        assert self._rows is not None
        self._is_fixed = True
        self._session = self._session.fork(sources)
        self._rows = self._rows.select(sources)
        if self._some_watched:  # two rows may continue the same text
            self._rows.watches = [None if one is None else one.fork() for one in self._rows.watches]

    def _record(self, choice: Choice) -> dict[int, Written]:
        """Stores the chosen tokens and returns the texts that they finish."""
        rows = self._rows
        assert rows is not None
        rows.ids[:, self._column] = choice.ids
        self._column += 1
        ends = choice.ids == self._end_id
        if self._some_watched:
            self._watch(choice.ids, ends)

        # In most steps no row is finished, so these return early.
        is_last = self._column >= self._next_last
        self._some_done = self._some_done or is_last or bool(ends.any())
        if not self._some_done:
            rows.totals += choice.logprobs
            rows.lengths += 1
            return {}

        is_going = ~rows.is_done
        rows.totals += torch.where(is_going, choice.logprobs, 0.0)
        rows.lengths += is_going
        rows.has_ended |= ends & is_going
        rows.is_done |= ends
        if is_last:
            is_full = [last <= self._column for last in rows.last]
            rows.is_done |= torch.tensor(is_full, device=ends.device)
        return self._finished(is_going)

    def _watch(self, ids: Int[Tensor, " B"], ends: Bool[Tensor, " B"]) -> None:
        """Marks the rows whose text now contains a stop text as ended."""
        assert self._rows is not None
        pushed = zip(
            self._rows.watches, ids.tolist(), ends.tolist(), self._rows.is_done.tolist(), strict=True
        )
        for row, (watch, token, is_end, is_done) in enumerate(pushed):
            if watch is None or is_end or is_done:
                continue
            if watch.push(token):
                ends[row] = True

    def _finished(self, was_going: Bool[Tensor, " B"]) -> dict[int, Written]:
        """The texts that are finished now but were not one step earlier."""
        rows = self._rows
        assert rows is not None
        if self._decoder.width == 1:
            return rows.written((was_going & rows.is_done).nonzero()[:, 0])
        # The best beam is known only when no beam can change any more.
        if not bool(rows.is_done.all()):
            return {}
        return rows.written(self._decoder.best(rows.totals, rows.lengths))

    def _is_worth_leaving(self, going: int) -> bool:
        """Whether finished rows should leave now: moving rows of the cache costs about as much as one step of them.

        A row that has reached its maximum length leaves at once, since there may be no further positions for it.
        """
        assert self._rows is not None
        return going <= _ENOUGH * len(self) or self._column >= self._next_last

    def _leave(self) -> Int[Tensor, " b"]:
        """Removes finished rows; returns the old indices of the others in their new order."""
        assert self._rows is not None
        assert self._draws is not None
        kept = self._session.leave(self._rows.is_done)
        self._rows, self._draws = self._rows.select(kept), self._draws.select(kept)
        self._some_done = False
        self._next_last = min(self._rows.last)
        return kept


@torch.inference_mode()
def written(
    session: Continuing,
    decoder: Decoder,
    draws: Draws,
    limits: Sequence[Limits],
    *,
    end_id: int,
    tokenizer: Tokenizer | None = None,
) -> list[Written]:
    """Generates after every prompt of a session until all texts have ended; the session cannot be used again.

    Args:
        session: Prompts that were just read, ``decoder.width`` rows for each.
        decoder: Chooses tokens.
        draws: Random numbers of each row.
        limits: Limits of each prompt.
        end_id: Token that ends a text.
        tokenizer: Needed only for stop texts.
    """
    writing = Writing(session, decoder, end_id=end_id, tokenizer=tokenizer)
    numbers = writing.add(draws, limits)
    found: dict[int, Written] = {}
    while len(writing):
        found |= writing.step()
    return [found[number] for number in numbers]


@torch.inference_mode()
def write(
    model: VLM, batch: Batch, options: Options, *, end_id: int, tokenizer: Tokenizer | None = None
) -> list[list[int]]:
    """Generates the answer to each row of a batch of prompts; returns its ids, with the end token if it was reached.

    Args:
        model: A model that generates text, in evaluation mode.
        batch: Complete prompts, padded on the right.
        options: Length and decoding method.
        end_id: Token that ends an answer.
        tokenizer: Needed only for stop texts.
    """
    decoder: Decoder = options.decoding.build(end_id=end_id)
    draws = Draws.of(options.seed, names_of_rows(batch), width=decoder.width)
    session = Session(model, room=options.max_tokens)
    session.join(batch, packed=False)
    prompts = len(session)
    if decoder.width > 1:
        rows = torch.arange(prompts, device=session.logits.device)
        session = session.fork(rows.repeat_interleave(decoder.width))

    limits = [options.limits] * prompts
    texts = written(session, decoder, draws, limits, end_id=end_id, tokenizer=tokenizer)
    return [text.ids for text in texts]
