"""The ids of image tokens, which follow those of the text, and the form of a picture in a sequence of tokens.

A picture of h rows and w columns of codes is written as::

    begin  height h  width w  code ... code row  code ... code row  ...  end
                              |-- w codes --|    |-- w codes --|

so that it has h * (w + 1) + 4 tokens, whose number and kind are known after the third one (Lumina-mGPT, Liu et al. 2024,
arXiv:2408.02657, section 3.1, uses such marks of size and rows).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightweave.core.errors import DataError

_HEAD = 3
"""Number of tokens before the first code."""


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """The numbering of image tokens: codes, then begin, end and row, then heights, then widths."""

    first: int
    """Id of code 0: the number of text tokens."""
    num_codes: int
    """Number K of codes."""
    rows: int
    """Rows of codes of the pictures that are learnt; the largest height."""
    columns: int
    """Columns of codes of the pictures that are learnt; the largest width."""

    @property
    def begin(self) -> int:
        """Id that begins a picture."""
        return self.first + self.num_codes

    @property
    def end(self) -> int:
        """Id that ends a picture."""
        return self.begin + 1

    @property
    def row(self) -> int:
        """Id that ends a row of codes."""
        return self.begin + 2

    def height(self, rows: int) -> int:
        """Id that says how many rows of codes follow."""
        return self.begin + 2 + rows

    def width(self, columns: int) -> int:
        """Id that says how many codes each row has."""
        return self.begin + 2 + self.rows + columns

    @property
    def num_marks(self) -> int:
        """Number of image tokens that are not codes."""
        return 3 + self.rows + self.columns

    @property
    def size(self) -> int:
        """Number of image tokens."""
        return self.num_codes + self.num_marks

    @property
    def hole(self) -> int:
        """Placeholder for a code that is not known yet; it is not a token, and no model predicts it."""
        return self.first + self.size

    @property
    def most(self) -> int:
        """Number of tokens of the largest picture."""
        return self.length(self.rows, self.columns)

    def length(self, rows: int, columns: int) -> int:
        """Number of tokens of a picture."""
        return rows * (columns + 1) + _HEAD + 1

    def picture(self, codes: Sequence[int] | None = None) -> list[int]:
        """The tokens of a picture of `rows` x `columns` codes.

        Args:
            codes: The codes, row by row; None puts a `hole` in the place of each.
        """
        filled = [self.hole] * (self.rows * self.columns)
        if codes is not None:
            filled = [self.first + code for code in codes]

        ids = [self.begin, self.height(self.rows), self.width(self.columns)]
        for start in range(0, len(filled), self.columns):
            ids += [*filled[start : start + self.columns], self.row]
        return [*ids, self.end]

    def is_image(self, token_id: int) -> bool:
        """Whether an id is an image token."""
        return self.first <= token_id < self.first + self.size

    def pieces(self, ids: Sequence[int]) -> Iterator[Text | Picture]:
        """Splits generated ids into texts and pictures, in order.

        Raises:
            DataError: A picture is incomplete, or its tokens are not in the order above.
        """
        place = 0
        while place < len(ids):
            start = place
            while place < len(ids) and not self.is_image(ids[place]):
                place += 1
            if place > start:
                yield Text(tuple(ids[start:place]))
            if place < len(ids):
                picture, place = self._picture(ids, place)
                yield picture

    def _picture(self, ids: Sequence[int], start: int) -> tuple[Picture, int]:
        """The picture that begins at a place, and the place after it."""
        head = list(ids[start : start + _HEAD])
        begin, height, width = [*head, -1, -1, -1][:_HEAD]
        rows, columns = height - self.height(0), width - self.width(0)
        if begin != self.begin or not 1 <= rows <= self.rows or not 1 <= columns <= self.columns:
            raise _malformed(
                start,
                f"it begins with {head} instead of a begin mark ({self.begin}), a height ({self.height(1)} to "
                f"{self.height(self.rows)}) and a width ({self.width(1)} to {self.width(self.columns)})",
            )

        content = f"{rows} rows of {columns} codes and an end mark"
        stop = start + self.length(rows, columns)
        if stop > len(ids):
            raise _malformed(
                start, f"{content} need {stop - start} tokens, but the answer ends after {len(ids) - start}"
            )
        for place in range(start + _HEAD, stop):
            known = self._known(place - start - _HEAD, rows, columns)
            if ids[place] not in known:
                raise _malformed(
                    start,
                    f"token {place} is {ids[place]}, but {content} have one of {known[0]} to {known[-1]} there",
                )

        codes: list[tuple[int, ...]] = []
        for place in range(start + _HEAD, stop - 1, columns + 1):
            codes.append(tuple([token - self.first for token in ids[place : place + columns]]))
        return Picture(tuple(codes)), stop

    def _known(self, place: int, rows: int, columns: int) -> range:
        """The ids that are possible at a place of a picture, counted from the first code."""
        if place == rows * (columns + 1):
            return range(self.end, self.end + 1)
        if place % (columns + 1) == columns:
            return range(self.row, self.row + 1)
        return range(self.first, self.first + self.num_codes)


@dataclass(frozen=True, slots=True)
class Text:
    """Consecutive text tokens."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """The codes of a picture."""

    codes: tuple[tuple[int, ...], ...]
    """The codes of each row, counted from 0."""


def _malformed(start: int, why: str) -> DataError:
    return DataError(
        f"the picture that begins with token {start} of the answer is malformed: {why}; it was cut off, or the tokens were "
        "not generated with the rules for pictures."
    )
