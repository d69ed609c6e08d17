"""Pictures in generated answers: the rules by which their tokens follow one another, guidance, and a decoder of their own.

Each row is an automaton, whose state follows from the tokens read so far::

    text --begin--> height --> width --> code ... code row ... code ... code row --> end --> text
                                         |-- h times w codes and a row mark --|

In each state only some ids are allowed, so every picture is well-formed, whatever the logits are. A picture begins only if
the largest one fits into the tokens that the row has left.

Guidance moves the logits inside pictures away from those that the model computes for the same answer without its prompt:
Classifier-Free Diffusion Guidance (Ho and Salimans 2022, arXiv:2207.12598), applied to logits as in Make-A-Scene (Gafni et
al. 2022, arXiv:2203.13131).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sightweave.answers.decoding._base import Choice, Decoder, Draws
from sightweave.core.errors import RecipeError
from sightweave.core.image_tokens import ImageTokens
from sightweave.programs.generation.session import Session

_TEXT, _HEIGHT, _WIDTH, _FIRST_CODE = 0, 1, 2, 3
"""Number of tokens of the present picture that have been read; 0 outside pictures."""


class PictureSession:
    """A session whose rows write text and well-formed pictures.

    Args:
        session: A session with image tokens, in which all prompts have joined. With guidance, its second half continues the
            same answers, in the same order, without their prompts.
        tokens: Numbering of the image tokens.
        limits: Maximum number of tokens of each row.
        guidance: Factor of the difference that the prompt makes to the logits inside pictures; 1 for none.
    """

    logits: Float[Tensor, "B V"]
    """Logits of each row's next token; minus infinity for tokens that must not follow."""

    def __init__(
        self, session: Session, tokens: ImageTokens, limits: Sequence[int], *, guidance: float = 1.0
    ) -> None:
        self.tokens, self.guidance = tokens, guidance
        self._session = session
        device = session.logits.device
        self._left = torch.tensor(limits, device=device)
        self._place = torch.zeros_like(self._left)
        self._rows = torch.ones_like(self._left)
        self._columns = torch.ones_like(self._left)
        self._update()

    def __len__(self) -> int:
        """Number of rows, without those that continue without their prompts."""
        return len(self._place)

    @property
    def is_code(self) -> Bool[Tensor, " B"]:
        """Whether the next token of each row is a code."""
        place = self._place - _FIRST_CODE
        in_row = place % (self._columns + 1) < self._columns
        return (place >= 0) & (place < self._rows * (self._columns + 1)) & in_row

    @torch.inference_mode()
    def step(self, ids: Int[Tensor, " B"]) -> None:
        """Reads one token of each row."""
        tokens, place = self.tokens, self._place
        self._rows = torch.where(place == _HEIGHT, ids - tokens.height(0), self._rows)
        self._columns = torch.where(place == _WIDTH, ids - tokens.width(0), self._columns)

        # Rows of text stay where they are unless a picture begins; pictures go on until their end.
        moved = torch.where(place == _TEXT, (ids == tokens.begin).long(), place + 1)
        self._place = moved.masked_fill((place != _TEXT) & (ids == tokens.end), _TEXT)
        self._left = self._left - 1

        self._session.step(ids if self._is_alone else torch.cat((ids, ids)))
        self._update()

    @torch.inference_mode()
    def leave(self, is_done: Bool[Tensor, " B"]) -> Int[Tensor, " b"]:
        """Removes rows; returns the old indices of the others in their new order."""
        if self._is_alone:
            kept = self._session.leave(is_done)
        else:
            # Both halves must keep the same order.
            kept = (~is_done).nonzero()[:, 0]
            if len(kept):
                self._session = self._session.fork(torch.cat((kept, kept + len(self))))
            else:
                self._session.leave(torch.cat((is_done, is_done)))

        self._left, self._place = self._left[kept], self._place[kept]
        self._rows, self._columns = self._rows[kept], self._columns[kept]
        self.logits = self.logits[kept]
        return kept

    def fork(self, rows: Int[Tensor, " b"]) -> PictureSession:
        """Not possible: a beam would have to compare texts and pictures by their probability.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("pictures cannot be written with beam search")

    @property
    def _is_alone(self) -> bool:
        """Whether there are no rows without prompts."""
        return len(self._session) == len(self)

    def _update(self) -> None:
        """Computes the logits from those of the session."""
        logits = self._session.logits
        if not self._is_alone:
            logits, without = logits[: len(self)], logits[len(self) :]
            guided = without + self.guidance * (logits - without)
            logits = torch.where((self._place > _TEXT)[:, None], guided, logits)
        self.logits = logits.masked_fill(~self._allowed(logits.shape[-1]), -torch.inf)

    def _allowed(self, num_ids: int) -> Bool[Tensor, "B V"]:
        """Whether each id may follow."""
        tokens, place = self.tokens, self._place
        is_text = place == _TEXT
        length = self._rows * (self._columns + 1)

        # In each state, the allowed ids are consecutive: low, ..., high - 1.
        low = torch.full_like(place, tokens.row)
        high = torch.full_like(place, tokens.row + 1)
        states = (
            (is_text, 0, tokens.first),
            (place == _HEIGHT, tokens.height(1), tokens.height(tokens.rows) + 1),
            (place == _WIDTH, tokens.width(1), tokens.width(tokens.columns) + 1),
            (self.is_code, tokens.first, tokens.first + tokens.num_codes),
            (place == _FIRST_CODE + length, tokens.end, tokens.end + 1),
        )
        for state, first, stop in states:
            low, high = low.masked_fill(state, first), high.masked_fill(state, stop)

        ids = torch.arange(num_ids, device=place.device)
        allowed = (ids >= low[:, None]) & (ids < high[:, None])
        allowed[:, tokens.begin] = is_text & (self._left >= tokens.most)
        return allowed


class PictureDecoder:
    """Chooses codes with one decoding method and all other tokens with another one.

    Args:
        text: Chooses texts and marks.
        codes: Chooses codes.
        session: The session whose logits are decoded.

    Both methods have one row per prompt, as `check_decoders` ensures.
    """

    width = 1

    def __init__(self, text: Decoder, codes: Decoder, session: PictureSession) -> None:
        self._text, self._codes, self._session = text, codes, session

    def choose(self, logits: Float[Tensor, "B V"], is_done: Tensor, draws: Draws) -> Choice:
        """Chooses the next token of each row."""
        is_code = self._session.is_code
        text = self._text.choose(logits, is_done, draws)
        codes = self._codes.choose(logits, is_done, draws)
        return Choice(
            torch.where(is_code, codes.ids, text.ids), torch.where(is_code, codes.logprobs, text.logprobs)
        )

    def best(self, totals: Float[Tensor, " B"], lengths: Int[Tensor, " B"]) -> Int[Tensor, " P"]:
        """The indices of all rows, since each row is a separate answer."""
        return torch.arange(len(totals), device=totals.device)


def check_decoders(*decoders: Decoder) -> None:
    """Checks that decoding methods can write pictures.

    Raises:
        RecipeError: One has several rows per prompt.
    """
    for one in decoders:
        if one.width > 1:
            raise RecipeError(
                f"generate: decoding with {one.width} rows per prompt, such as beam search, cannot write pictures; use "
                "greedy or sampling."
            )
