"""Numbers and facts -> the words of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SHARE = "%"
"""The unit of numbers from 0 to 1, which are shown times 100."""
_THIN = "\u202f"
_MINUS = "\u2212"


def text(value: Any) -> str:
    """A fact as a reader wants it: thin spaces in large numbers, four digits of others, lists in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not known"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", _THIN) if abs(value) >= 10_000 else str(value)
    if isinstance(value, float) and 1000 <= abs(value) < 1e15:
        return text(round(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def number(value: float | None, unit: str = SHARE, *, is_signed: bool = False) -> str:
    """A number of a metric; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    sign = "+" if is_signed else ""
    shown = f"{100 * value:{sign}.1f}" if unit == SHARE else f"{value:{sign}.4g}"
    return shown.replace("-", _MINUS)


def estimate(
    found: Mapping[str, float] | float | None, unit: str = SHARE, *, is_signed: bool = False
) -> dict[str, str] | None:
    """A value and its interval; None where there is no value. A plain number has no interval."""
    ends = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
    value, low, high = (number(ends[end], unit, is_signed=is_signed) for end in ("value", "low", "high"))
    if not value:
        return None
    return {"value": value, "range": f"{low} to {high}" if low and high else ""}


def p_value(p: float | None) -> str:
    """A p-value, small ones by their bound; empty where there is none."""
    if p is None or not math.isfinite(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"
