"""Formats numbers and facts as the text of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SHARE = "%"
"""Unit of scores from 0 to 1, which are shown in per cent."""
_THIN = "\u202f"
_MINUS = "\u2212"


def text(value: Any) -> str:
    """Formats a fact: thin spaces in large integers, four significant digits of other numbers, lists on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not known"

    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(text, value))

    if isinstance(value, int):
        return f"{value:,}".replace(",", _THIN) if abs(value) >= 10_000 else str(value)
    if isinstance(value, float) and 1000 <= abs(value) < 1e15:
        return text(round(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def number(value: float | None, unit: str = SHARE, *, is_signed: bool = False) -> str:
    """Formats the value of a metric; returns an empty text if there is no finite value."""
    if value is None or not math.isfinite(value):
        return ""
    sign = "+" if is_signed else ""
    shown = f"{100 * value:{sign}.1f}" if unit == SHARE else f"{value:{sign}.4g}"
    return shown.replace("-", _MINUS)


def estimate(
    found: Mapping[str, float] | float | None, unit: str = SHARE, *, is_signed: bool = False
) -> dict[str, str] | None:
    """Formats a value and its interval; returns None if there is no finite value. A plain number has no interval."""
    ends = found if isinstance(found, Mapping) else {"value": found, "low": None, "high": None}
    value = number(ends["value"], unit, is_signed=is_signed)
    if not value:
        return None

    low = number(ends["low"], unit, is_signed=is_signed)
    high = number(ends["high"], unit, is_signed=is_signed)
    return {"value": value, "range": f"{low} to {high}" if low and high else ""}


def p_value(p: float | None) -> str:
    """Formats a p-value; below 0.001 as an upper bound, and empty if there is none."""
    if p is None or not math.isfinite(p):
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"
