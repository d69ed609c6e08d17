"""Lengths -> rows of at most so many tokens: best fit, minimum slack, and the fewer rows of the two.

Minimum slack fills one row after the other as full as can be. A new heuristic algorithm for the one-dimensional
bin-packing problem (Gupta and Ho 1999, Production Planning and Control 10), with one item of each row chosen beforehand as
in New heuristics for one-dimensional bin-packing (Fleszar and Hindi 2002, Computers and Operations Research 29). Differs
from both: what goes beside it is found by dynamic programming over sums, on a bounded number of candidates, instead of by
a search; and that first item may be the shortest one, which suits lengths that are all alike.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Literal

_CANDIDATES = 128
"""Items that are tried for the rest of a row at most."""


def fewest_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """The tightest rows that the methods of this file find; best fit where that is as good.

    Args:
        lengths: Tokens of each item; one longer than `capacity` gets a row of its own.
        capacity: Tokens of a row.

    Returns:
        The items' numbers, row by row. The same lengths always give the same rows.
    """
    least = _least(lengths, capacity)
    found = best_fit(lengths, capacity)
    first: Literal["longest", "shortest"]
    for first in ("longest", "shortest"):
        if len(found) <= least:
            break
        other = minimum_slack(lengths, capacity, first=first)
        found = other if len(other) < len(found) else found
    return found


def _least(lengths: Sequence[int], capacity: int) -> int:
    """No packing has fewer rows."""
    fitting = [length for length in lengths if length <= capacity]
    return len(lengths) - len(fitting) + -(-sum(fitting) // capacity)


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Longest first, each into the fullest row that still has room; arguments and result as in `fewest_rows`.

    Rows wait in one heap for each number of free tokens. The bits of one integer say which heaps have rows, so the
    tightest one that is large enough is the lowest bit from there on: the time grows almost linearly with the items.
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
    """Row by row: one item, and beside it those that leave the fewest tokens free.

    Args:
        lengths: As in `fewest_rows`.
        capacity: Tokens of a row.
        first: Which item a row begins with. With the longest, short items are left for later rows, where they fill
            gaps. With the shortest, long ones go beside it, and those of middle length are left, which fit one another.

    Returns:
        As `fewest_rows`. The time is linear in the rows.
    """
    waiting: dict[int, list[int]] = {}
    for number in range(len(lengths) - 1, -1, -1):
        waiting.setdefault(lengths[number], []).append(number)
    left = sorted(waiting)
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
    """Different lengths that fit, longest first: all of them, or some from everywhere."""
    fitting = left[: bisect_right(left, room)]
    stride = max(1, -(-len(fitting) // _CANDIDATES))
    return fitting[::-stride]


def _fullest(counts: dict[int, int], room: int) -> list[int]:
    """Lengths whose sum comes nearest to `room` without passing it; of equal sums, the one with the longest items.

    Bit s of `sums` says that some of the items so far have the sum s: one more item shifts and joins.

    Args:
        counts: How many items of each length there are, longest first.
        room: Tokens to fill.
    """
    inside = (1 << room + 1) - 1
    sums, before, items = 1, [], []
    copies = max(1, _CANDIDATES // max(1, len(counts)))
    for length, count in counts.items():
        for _ in range(min(copies, count, room // length)):
            before.append(sums)
            items.append(length)
            sums |= (sums << length) & inside
        if sums >> room:
            break
    chosen, rest = [], sums.bit_length() - 1
    # Backwards: a short item is taken only where the longer ones alone cannot reach what is left.
    for length, reached in zip(reversed(items), reversed(before), strict=True):
        if not reached >> rest & 1:
            chosen.append(length)
            rest -= length
    return chosen[::-1]
