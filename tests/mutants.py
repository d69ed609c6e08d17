"""Plain JSON values with one value replaced by an odd one: what a reader of somebody else's files must stand."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    10**12,
    10**30,
    -(10**400),
    0.5,
    1e308,
    -1e-308,
    float("nan"),
    float("inf"),
    "",
    "text",
    "\x1b[2J\ud800\u2028",
    "x" * 10_000,
    [],
    {},
    [[]],
    ["a", "b"],
    [1, None, "c"],
    {"a": 1},
    {"value": "high", "low": [], "high": {}},
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands that is inside another one."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*path, key))


def mutants(value: Any, count: int, *, seed: int = 0) -> Iterator[tuple[str, Any]]:
    """Copies with one value replaced or left out, each with words for what was done; no two are alike.

    Args:
        value: Of dicts, lists and scalars.
        count: Copies at most, drawn over all that there are.
        seed: Of the draw.
    """
    removed = object()
    everything = [(path, odd) for path in _places(value) for odd in (*ODD, removed)]
    for path, odd in random.Random(seed).sample(everything, min(count, len(everything))):
        changed = copy.deepcopy(value)
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        if odd is removed:
            del holder[path[-1]]
        else:
            holder[path[-1]] = copy.deepcopy(odd)
        what = "left out" if odd is removed else repr(odd)[:40]
        yield f"{'.'.join(map(str, path))}: {what}", changed
