"""The limits of an answer: it stops at its maximum number of tokens or at a stop text, even without an end token.

An answer stops at the stop text that is completed first; if several end at the same character, at the longest. The stop
text is not part of the answer. Stop texts are searched for in the decoded text, so they may span several tokens or
begin in the middle of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits at which one answer stops unless an end token comes first.

    Raises:
        ValueError: `max_tokens` is negative, or a stop text is empty.
    """

    max_tokens: int
    """Maximum number of tokens, including the end token; 0 generates nothing."""
    stop: tuple[str, ...] = ()
    """Stop texts."""

    def __post_init__(self) -> None:
        if self.max_tokens < 0:
            raise ValueError(f"max_tokens must be 0 or more (got {self.max_tokens}).")
        checked(self.stop)


def checked(stop: tuple[str, ...]) -> tuple[str, ...]:
    """Checks stop texts and returns them.

    Raises:
        ValueError: a stop text is empty, which would stop every answer before its first character.
    """
    if "" in stop:
        raise ValueError(f"stop: every stop text needs at least one character (got {list(stop)!r}).")
    return stop


class StopTexts:
    """Finds stop texts in a text that arrives in pieces, and holds back text that may be the beginning of one.

    Args:
        stop: Stop texts.
    """

    is_found: bool
    """Whether a complete stop text has been found."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._held = ""
        self.is_found = False

    def push(self, piece: str) -> str:
        """Adds a piece and returns the text, possibly empty, that is now certain to precede any stop text."""
        if self.is_found:
            return ""
        text = self._held + piece
        place = _first(text, self._stop)
        if place is not None:
            self.is_found, self._held = True, ""
            return text[:place]

        certain = len(text) - self._beginning(text)
        self._held = text[certain:]
        return text[:certain]

    def close(self) -> str:
        """Returns the text that is still held back, at the end of the answer."""
        rest, self._held = self._held, ""
        return rest

    def _beginning(self, text: str) -> int:
        """Length of the longest suffix of a text with which a stop text begins."""
        longest = max((len(one) for one in self._stop), default=0)
        for length in range(min(longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(one.startswith(end) for one in self._stop):
                return length
        return 0

    def fork(self) -> StopTexts:
        """A copy that continues from the current state."""
        forked = StopTexts(self._stop)
        forked._held, forked.is_found = self._held, self.is_found
        return forked


def _first(text: str, stop: Sequence[str]) -> int | None:
    """Start of the stop text that is completed first (the longest if there are several); None if there is none."""
    found = []
    for one in stop:
        start = text.find(one)
        if start >= 0:
            found.append((start + len(one), start))
    return min(found)[1] if found else None


def before_stop(text: str, stop: Sequence[str]) -> str:
    """A complete text up to its first stop text."""
    return text[: _first(text, stop)]


class Watch:
    """Reads the ids of one answer and reports when its text contains a stop text.

    Args:
        tokenizer: Decodes the ids.
        stop: Stop texts.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._decoder, self._texts = StreamDecoder(tokenizer), StopTexts(stop)

    def push(self, token_id: int) -> bool:
        """Adds an id and returns whether the text now contains a stop text."""
        self._texts.push(self._decoder.push(token_id))
        return self._texts.is_found

    def fork(self) -> Watch:
        """A copy that continues from the current state, for a beam."""
        forked = object.__new__(Watch)
        forked._decoder, forked._texts = self._decoder.fork(), self._texts.fork()
        return forked
