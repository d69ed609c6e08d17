"""Turns answers into the cards of a page, as many as fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sightweave.pages import pictures
from sightweave.pages.difference import Difference
from sightweave.pages.scores import control_name

CARD_BYTES = 2_800
"""Upper bound, in bytes, on the HTML tags around a card's texts and images."""
_MAX_TEXT = 800
"""Maximum number of characters of one prompt or answer in a card."""
_MAX_REFERENCES = 5
_THUMBNAIL = 72
"""Longer side of a control's image, in pixels."""
_CONTROL_SAID = {
    "no_image": "without the image",
    "shuffled_image": "with another image",
    "copied_source": "a copy of the source",
}
_FIGURE_BYTES = 400
"""Upper bound, in bytes, on the HTML tags around one of several images in a card."""

Show = Callable[[str, int], str]
"""Function from an image's key and the length of its longer side to its ``data:`` address, or "" for an unknown
image."""


def shower(pixels: Mapping[str, np.ndarray]) -> Show:
    """Returns a function that encodes each image once per size."""
    encoded: dict[tuple[str, int], str] = {}

    def show(key: str, max_side: int) -> str:
        if key not in pixels:
            return ""
        if (key, max_side) not in encoded:
            encoded[key, max_side] = pictures.data_uri(pixels[key], max_side=max_side)
        return encoded[key, max_side]

    return show


def asked(row: Mapping[str, Any], show: Show) -> dict[str, Any]:
    """The question of a row and its image, as variables of the template."""
    references = row.get("references") or ()
    return {
        "split": row.get("split") or "evaluation",
        "task": row.get("task", ""),
        "type": row.get("type", ""),
        "prompt": cut(row.get("prompt", "")),
        "references": list(map(cut, references[:_MAX_REFERENCES])),
        "more_references": max(0, len(references) - _MAX_REFERENCES),
        "image": row.get("image") or "",
        "picture": show(row.get("image") or "", pictures.MAX_SIDE),
    }


def said(row: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a row, or of one of its controls, as variables of the template."""
    parsed = row.get("parsed")
    return {
        "answer": cut(row.get("answer", "")),
        "parsed": cut(parsed or ""),
        "is_unparsed": "parsed" in row and parsed is None,
        "right": bool(row.get("right")),
        "is_cut": row.get("finish") == "length",
        "certainty": _certainty(row.get("logprob")),
    }


def card(
    row: Mapping[str, Any], show: Show, differences: Mapping[str, Difference] | None = None
) -> dict[str, Any]:
    """The card of one row of ``predictions.jsonl``, as variables of the template.

    Args:
        row: The row.
        show: Encodes the images.
        differences: Differences between images of answers and their sources, by the image's key.
    """
    controls = []
    for name, control in (row.get("controls") or {}).items():
        shown_name = _CONTROL_SAID.get(name, control_name(name))
        other = control.get("image") or ""
        picture = show(other, _THUMBNAIL) if other != row.get("image") else ""
        controls.append({"name": shown_name, "picture": picture, **said(control)})

    return {
        **asked(row, show),
        **said(row),
        "changes": _changes(row),
        "controls": controls,
        "figures": figures(row, show, differences or {}),
    }


def figures(
    row: Mapping[str, Any], show: Show, differences: Mapping[str, Difference]
) -> list[dict[str, str]]:
    """The images of a row whose answer is an image: source, reference, the answer's images and their differences.

    Empty for rows without such images. Images that are not known are left out.
    """
    made = row.get("pictures") or {}
    if not made and not row.get("target_image"):
        return []

    found = [_figure("source", row.get("image"), show), _figure("reference", row.get("target_image"), show)]
    for writer, key in made.items():
        found.append(_figure(f"answer ({writer.replace('_', ' ')})", key, show))
        if key in differences:
            one = differences[key]
            note = f"changed: {_percent(one.inside)} of the boxes, {_percent(one.outside)} outside"
            found.append({**_figure("difference", difference_key(key), show), "note": note})
    if not row.get("image"):  # a drawing comes right after its description
        found = [*found[2:], *found[:2]]
    return [one for one in found if one["picture"]]


def difference_key(key: str) -> str:
    """The key of the image that shows a difference, from that of the answer's image."""
    return f"{key} difference"


def _figure(name: str, key: str | None, show: Show) -> dict[str, str]:
    return {"name": name, "picture": show(key or "", pictures.MAX_SIDE), "note": ""}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "nothing"


def fitting(cards: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """A selection of cards that fits into `room` bytes, spread evenly over all cards."""
    share = min(1.0, max(0, room) / max(1, sum(map(_bytes, cards))))
    return [one for n, one in enumerate(cards) if math.floor((n + 1) * share) > math.floor(n * share)]


def cut(words: str) -> str:
    """Cuts a text to `_MAX_TEXT` characters."""
    return words if len(words) <= _MAX_TEXT else f"{words[:_MAX_TEXT]} ..."


def _changes(row: Mapping[str, Any]) -> str:
    """``yes`` if the answer changes without the image, ``no`` if not; empty if that control was not run."""
    blind = (row.get("controls") or {}).get("no_image")
    if blind is None:
        return ""
    return "yes" if _read(row) != _read(blind) else "no"


def _read(row: Mapping[str, Any]) -> str:
    """An answer with case and white space normalised, to detect whether it changed."""
    parsed = row.get("parsed")
    answer = row.get("answer", "") if parsed is None else parsed
    return " ".join(answer.split()).casefold()


def _certainty(logprob: float | None) -> str:
    """The geometric mean probability of the answer's tokens, in per cent; empty if not known."""
    if logprob is None or not math.isfinite(logprob):
        return ""
    return f"{100 * math.exp(min(0.0, logprob)):.0f}"


def _bytes(value: Any) -> int:
    """Upper bound, in bytes, on the space that a card, or a part of it, takes in the page."""
    if isinstance(value, str):
        from markupsafe import escape

        size = len(str(escape(value)).encode("utf-8", errors="replace"))
        return size if value.startswith("data:image/") else 2 * size  # some texts appear twice in the page

    if isinstance(value, Mapping):
        tags = CARD_BYTES if "prompt" in value else _FIGURE_BYTES if "note" in value else 0
        return tags + sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
