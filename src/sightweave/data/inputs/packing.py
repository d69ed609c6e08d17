"""Packs items into rows with a maximum number of tokens, by best fit or minimum slack, whichever needs fewer rows.

Minimum slack fills one row after another as full as possible (A new heuristic algorithm for the one-dimensional bin-packing
problem, Gupta and Ho 1999, Production Planning and Control 10). As in New heuristics for one-dimensional bin-packing
(Fleszar and Hindi 2002, Computers and Operations Research 29), one item of each row is chosen beforehand. In contrast to
both, the rest of a row is found by dynamic programming over sums of a bounded number of candidates instead of by a
search, and the first item may also be the shortest, which is better if all lengths are similar.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Literal

_CANDIDATES = 128
"""Maximum number of items that are considered for the rest of a row."""


def fewest_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Packs items with the method that needs the fewest rows; in a tie, with best fit.

    Args:
        lengths: Number of tokens of each item; an item longer than `capacity` gets a row of its own.
        capacity: Maximum number of tokens in a row.

    Returns:
        The indices of the items in each row. The result is deterministic.
    """
    minimum = _lower_bound(lengths, capacity)
    found = best_fit(lengths, capacity)

    first: Literal["longest", "shortest"]
    for first in ("longest", "shortest"):
        if len(found) <= minimum:
            break
        other = minimum_slack(lengths, capacity, first=first)
        found = other if len(other) < len(found) else found

    return found


def _lower_bound(lengths: Sequence[int], capacity: int) -> int:
    """A lower bound on the number of rows of any packing."""
    fitting = [length for length in lengths if length <= capacity]
    return len(lengths) - len(fitting) + -(-sum(fitting) // capacity)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Puts each item, longest first, into the fullest row with enough room; arguments and result are as for `fewest_rows`.

    There is a heap of rows for each number of free tokens, and the bits of an integer mark the heaps that are not empty. The
    lowest set bit from an item's length on gives the tightest row, so the time grows almost linearly with the items.
    """
    rows: list[list[int]] = []
    waiting: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0

    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[number]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            index = heappop(waiting[room])
            if not waiting[room]:
                rooms ^= 1 << room
            rows[index].append(number)
        else:
            room, index = max(capacity, length), len(rows)
            rows.append([number])

        left = room - length
        heappush(waiting[left], index)
        rooms |= 1 << left

    return rows


def minimum_slack(
    lengths: Sequence[int], capacity: int, *, first: Literal["longest", "shortest"] = "longest"
) -> list[list[int]]:
    """Fills one row after another: puts one item into a row, then the items that leave the fewest tokens free.

    The time is linear in the number of rows.

    Args:
        lengths: As for `fewest_rows`.
        capacity: Maximum number of tokens in a row.
        first: First item of each row. Starting with the longest item keeps short items for gaps in later rows. Starting with
            the shortest uses up long items, and keeps items of medium length, which fit together.

    Returns:
        As for `fewest_rows`.
    """
    waiting: dict[int, list[int]] = {}
    for number in range(len(lengths) - 1, -1, -1):
        waiting.setdefault(lengths[number], []).append(number)
    left = sorted(waiting)  # the lengths that still have items
    rows: list[list[int]] = []

    def take(length: int) -> int:
        numbers = waiting[length]
        number = numbers.pop()
        if not numbers:
            del left[bisect_left(left, length)]
        return number

    while left:
        begin = left[-1 if first == "longest" else 0]
        row, room = [take(begin)], max(0, capacity - begin)
        counts = {length: len(waiting[length]) for length in _candidates(left, room)}
        row += [take(length) for length in _fullest(counts, room)]
        rows.append(row)

    return rows


def _candidates(left: Sequence[int], room: int) -> Sequence[int]:
    """The distinct lengths that fit into `room`, longest first; if there are many, an evenly spaced selection of them."""
    fitting = left[: bisect_right(left, room)]
    stride = max(1, -(-len(fitting) // _CANDIDATES))
    return fitting[::-stride]


def _fullest(counts: dict[int, int], room: int) -> list[int]:
    """Chooses lengths whose sum is closest to `room` without exceeding it; for equal sums, the longest ones.

    Bit s of `sums` is set if a subset of the items so far has the sum s, so that adding an item takes a shift and an OR.

    Args:
        counts: Number of items of each length, longest first.
        room: Number of tokens to fill.
    """
    inside = (1 << room + 1) - 1
    sums, before, items = 1, [], []
    copies = max(1, _CANDIDATES // max(1, len(counts)))

    # Find the sums that can be reached, and store those reached before each item.
    for length, count in counts.items():
        for _ in range(min(copies, count, room // length)):
            before.append(sums)
            items.append(length)
            sums |= (sums << length) & inside
        if sums >> room:
            break

    # Go backwards and choose a short item only if the longer ones alone cannot reach the rest of the sum.
    chosen, rest = [], sums.bit_length() - 1
    for length, reached in zip(reversed(items), reversed(before), strict=True):
        if not reached >> rest & 1:
            chosen.append(length)
            rest -= length
    return chosen[::-1]
