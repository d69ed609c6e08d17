"""Answers -> the cards of a page, as many as fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sightweave.pages import pictures
from sightweave.pages.scores import control_name

CARD_BYTES = 2_800
"""Marks around a card's texts and pictures, a little more than they take."""
_MAX_TEXT = 800
"""Characters of one prompt or answer in a card."""
_MAX_REFERENCES = 5
_THUMBNAIL = 72
"""Pixels of the longer side of a control's picture."""
_CONTROL_SAID = {"no_image": "without the image", "shuffled_image": "with another image"}

Show = Callable[[str, int], str]
"""Key of a picture and its longer side -> its address inside the page; empty for one that is not there."""


def shower(pixels: Mapping[str, np.ndarray]) -> Show:
    """Encodes each picture once per size."""
    encoded: dict[tuple[str, int], str] = {}

    def show(key: str, max_side: int) -> str:
        if key not in pixels:
            return ""
        if (key, max_side) not in encoded:
            encoded[key, max_side] = pictures.data_uri(pixels[key], max_side=max_side)
        return encoded[key, max_side]

    return show


def asked(row: Mapping[str, Any], show: Show) -> dict[str, Any]:
    """What was asked in one row, with its picture."""
    references = row.get("references") or ()
    return {
        "split": row.get("split") or "evaluation",
        "task": row.get("task", ""),
        "type": row.get("type", ""),
        "prompt": cut(row.get("prompt", "")),
        "references": [cut(reference) for reference in references[:_MAX_REFERENCES]],
        "more_references": max(0, len(references) - _MAX_REFERENCES),
        "image": row.get("image") or "",
        "picture": show(row.get("image") or "", pictures.MAX_SIDE),
    }


def said(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was answered in one row, or in one of its controls."""
    parsed = row.get("parsed")
    return {
        "answer": cut(row.get("answer", "")),
        "parsed": cut(parsed or ""),
        "is_unparsed": "parsed" in row and parsed is None,
        "right": bool(row.get("right")),
        "is_cut": row.get("finish") == "length",
        "certainty": _certainty(row.get("logprob")),
    }


def card(row: Mapping[str, Any], show: Show) -> dict[str, Any]:
    """One row of ``predictions.jsonl``."""
    others = row.get("controls") or {}
    return {
        **asked(row, show),
        **said(row),
        "changes": _changes(row),
        "controls": [
            {
                "name": _CONTROL_SAID.get(name, control_name(name)),
                "picture": show(control.get("image") or "", _THUMBNAIL),
                **said(control),
            }
            for name, control in others.items()
        ],
    }


def fitting(cards: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """The cards that fit into so many bytes, evenly spread over all."""
    share = min(1.0, max(0, room) / max(1, sum(_bytes(one) for one in cards)))
    return [one for n, one in enumerate(cards) if math.floor((n + 1) * share) > math.floor(n * share)]


def cut(words: str) -> str:
    """A text of a bounded length."""
    return words if len(words) <= _MAX_TEXT else f"{words[:_MAX_TEXT]} ..."


def _changes(row: Mapping[str, Any]) -> str:
    """``yes`` if the answer is another one without the picture, ``no`` if not; empty where that was not asked."""
    blind = (row.get("controls") or {}).get("no_image")
    if blind is None:
        return ""
    return "yes" if _read(row) != _read(blind) else "no"


def _read(row: Mapping[str, Any]) -> str:
    """What an answer says, without differences of case and space."""
    parsed = row.get("parsed")
    return " ".join((row.get("answer", "") if parsed is None else parsed).split()).casefold()


def _certainty(logprob: float | None) -> str:
    """The geometric mean probability of a token, in per cent."""
    return "" if logprob is None or not math.isfinite(logprob) else f"{100 * math.exp(min(0.0, logprob)):.0f}"


def _bytes(value: Any) -> int:
    """What a card takes; some texts stand in it twice."""
    if isinstance(value, str):
        from markupsafe import escape

        size = len(str(escape(value)).encode("utf-8", errors="replace"))
        return size if value.startswith("data:image/") else 2 * size
    if isinstance(value, Mapping):
        return (CARD_BYTES if "prompt" in value else 0) + sum(_bytes(item) for item in value.values())
    return sum(_bytes(item) for item in value) if isinstance(value, list | tuple) else 0
