"""A run's story on one page: what was run, how it learnt, what it scores, and what it says to pictures.

The page asks for nothing: pictures, curves, styles and the one script are inside it, and its policy
(Content-Security-Policy) forbids everything else. All texts are escaped, what a model says above all.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core.report import curves, pictures

MAX_BYTES = 3_000_000
"""Of the whole page; cards of the gallery are left out evenly where they would not fit."""
_GALLERY_BYTES = 2_300_000
_CARD_BYTES = 2_600
"""Marks around a card's texts and pictures, a little more than they take."""
_MAX_TEXT = 800
"""Characters of one prompt or answer in a card."""
_THUMBNAIL = 72
"""Pixels of the longer side of the exchanged picture."""
_FOLDER = Path(__file__).parent
_CONTROL_NAMES = {"no_image": "no image", "shuffled_image": "wrong image"}
_CONTROL_SAID = {"no_image": "without the picture", "shuffled_image": "with another picture"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page is made of; any part may be missing."""

    title: str
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Shown in this order: seed, device, precision, processor, commit, parameters, times and the like."""
    recipe: str = ""
    """YAML."""
    history: Sequence[Mapping[str, Any]] = ()
    """Rows of ``metrics.jsonl``: step, stage, loss, lr, grad_norm, tokens_per_second."""
    evaluations: Sequence[Mapping[str, Any]] = ()
    """One per split, as ``Evaluation.to_json`` gives them."""
    gallery: Sequence[Mapping[str, Any]] = ()
    """Rows of ``predictions.jsonl``, chosen by ``gallery.choose``."""
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Pixels (uint8 H W or H W 3) by the key that rows give as ``image``."""
    notes: Sequence[str] = ()
    """Sentences for the reader."""


def write_report(path: Path, page: Page) -> int:
    """Writes the page and returns its size in bytes."""
    data = render(page).encode("utf-8", errors="replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)


def image_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of all pictures that these rows show, those of the controls included."""
    keys = [key for row in rows for key in (row, *row.get("controls", {}).values())]
    return list(dict.fromkeys(key["image"] for key in keys if key.get("image")))


def environment() -> Any:
    """Templates of this folder, with every text escaped."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style_and_policy() -> tuple[Any, str]:
    """The style of all pages, and a policy for a page that has this style and no script."""
    from markupsafe import Markup

    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    return Markup(style), policy


def render(page: Page) -> str:
    """The page as HTML; equal pages give equal bytes."""
    from markupsafe import Markup

    style, _ = style_and_policy()
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    cards, left_out = _cards(page)
    text: str = (
        environment()
        .get_template("page.html.jinja")
        .render(
            page=page,
            facts=[(name, _text(value)) for name, value in page.facts.items()],
            # Both texts are files of this package, and the policy below names them by their hash.
            style=style,
            script=Markup(script),
            policy=(
                f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
                "base-uri 'none'; form-action 'none'"
            ),
            panels=[_panel(panel) for panel in curves.panels(page.history)],
            glance=_glance(page.evaluations),
            evaluations=[_evaluation(found) for found in page.evaluations],
            cards=cards,
            left_out=left_out,
            splits=list(dict.fromkeys(card["split"] for card in cards)),
            tasks=list(dict.fromkeys(card["task"] for card in cards)),
            types=sorted({(card["task"], card["type"]) for card in cards}),
        )
    )
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float) and 1000 <= abs(value) < 1e15:
        return _text(round(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _panel(panel: curves.Panel) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "title": panel.title,
        "is_log": panel.is_log,
        "lines": [(name, _text(last)) for name, last in zip(panel.series, panel.last, strict=True)],
        "stages": [(number, *stage) for number, stage in enumerate(panel.stages, start=1)],
        # The drawing is ours and holds numbers only.
        "svg": Markup(panel.svg),
    }


def _percent(value: float | None, *, is_signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * value:{'+' if is_signed else ''}.1f}".replace("-", "\u2212")


def _estimate(found: Mapping[str, float] | None, *, is_signed: bool = False) -> dict[str, str] | None:
    if found is None:
        return None
    value, low, high = (_percent(found[end], is_signed=is_signed) for end in ("value", "low", "high"))
    return {"value": value, "range": f"{low} to {high}"}


def _control_names(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for task in tasks for kind in task["types"] for name in kind["controls"]))


def _evaluation(found: Mapping[str, Any]) -> dict[str, Any]:
    names = _control_names(found["tasks"])
    return {
        "split": found["split"] or "evaluation",
        "count": _text(found["count"]),
        "pictures": _text(found["pictures"]),
        "notes": found["notes"],
        "controls": [_CONTROL_NAMES.get(name, name.replace("_", " ")) for name in names],
        "has_options": any(kind["chance"] is not None for task in found["tasks"] for kind in task["types"]),
        "tasks": [
            {
                "name": task["task"],
                "metric": task["metric"].replace("_", " "),
                "verdict": task["uses_image"],
                "sentence": task["sentence"],
                "rows": _rows(task, names),
            }
            for task in found["tasks"]
        ],
    }


def _rows(task: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The mean over the types and each of them; a single type is its own mean."""
    types = task["types"]
    if len(types) == 1:
        return [_row(task, names, types[0]["type"] or task["task"], is_task=True)]
    total = _row(task, names, f"mean of {len(types)} types", is_task=True)
    return [total, *(_row(kind, names, kind["type"]) for kind in types)]


def _row(
    scores: Mapping[str, Any], names: Sequence[str], name: str, *, is_task: bool = False
) -> dict[str, Any]:
    controls = [scores["controls"].get(control) for control in names]
    said = [f"score {_percent(scores['score']['value'])} %"]
    said += [
        f"{_CONTROL_NAMES.get(control, control)} {_percent(value['value'])} %"
        for control, value in zip(names, controls, strict=True)
        if value
    ]
    if scores["chance"] is not None:
        said.append(f"chance {_percent(scores['chance'])} %")
    said.append(f"most frequent answer {_percent(scores['majority'])} %")
    return {
        "name": name,
        "is_task": is_task,
        "count": _text(scores["count"]),
        "unparsed": scores["unparsed"],
        "score": _estimate(scores["score"]),
        "chance": _percent(scores["chance"]),
        "majority": _percent(scores["majority"]),
        "majority_answer": scores.get("majority_answer", ""),
        "controls": [_estimate(value) for value in controls],
        "gain": _estimate(scores["gain"], is_signed=True),
        "said": ", ".join(said),
        "bar": {
            "score": _place(scores["score"]["value"]),
            "low": _place(scores["score"]["low"]),
            "high": _place(scores["score"]["high"]),
            "chance": None if scores["chance"] is None else _place(scores["chance"]),
            "majority": _place(scores["majority"]),
            "controls": [
                (number, _place(value["value"])) for number, value in enumerate(controls) if value is not None
            ],
        },
    }


def _place(share: float) -> float:
    """Where a share from 0 to 1 stands on the bar, whose ends are 6 and 206."""
    return round(6 + 200 * min(1.0, max(0.0, share)), 1)


def _glance(evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry per task with its headline of each split."""
    names = list(dict.fromkeys(task["task"] for found in evaluations for task in found["tasks"]))
    return [
        {
            "task": name,
            "splits": [
                {
                    "split": found["split"] or "evaluation",
                    "score": _estimate(task["score"]),
                    "blind": _estimate(task["controls"].get("no_image")),
                    "verdict": task["uses_image"],
                }
                for found in evaluations
                for task in found["tasks"]
                if task["task"] == name
            ],
        }
        for name in names
    ]


def _cards(page: Page) -> tuple[list[dict[str, Any]], int]:
    """The cards that fit, evenly spread over all, and how many were left out."""
    encoded: dict[tuple[str, int], str] = {}

    def picture(key: str, max_side: int) -> str:
        if key not in page.pictures:
            return ""
        if (key, max_side) not in encoded:
            encoded[key, max_side] = pictures.data_uri(page.pictures[key], max_side=max_side)
        return encoded[key, max_side]

    cards = []
    for row in page.gallery:
        cards.append(
            {
                "split": row["split"] or "evaluation",
                "task": row["task"],
                "type": row["type"],
                "right": row["right"],
                "prompt": _cut(row["prompt"]),
                "answer": _cut(row["answer"]),
                "parsed": _cut(row["parsed"] or ""),
                "is_unparsed": row["parsed"] is None,
                "references": [_cut(reference) for reference in row["references"][:5]],
                "more_references": max(0, len(row["references"]) - 5),
                "is_cut": row.get("finish") == "length",
                "certainty": _certainty(row.get("logprob")),
                "image": row.get("image", ""),
                "picture": picture(row.get("image", ""), pictures.MAX_SIDE),
                "controls": [
                    {
                        "name": _CONTROL_SAID.get(name, name.replace("_", " ")),
                        "answer": _cut(control["answer"]),
                        "right": control["right"],
                        "picture": picture(control.get("image", ""), _THUMBNAIL),
                    }
                    for name, control in row.get("controls", {}).items()
                ],
            }
        )
    share = min(1.0, _GALLERY_BYTES / max(1, sum(_bytes(card) for card in cards)))
    kept = [card for n, card in enumerate(cards) if math.floor((n + 1) * share) > math.floor(n * share)]
    return kept, len(cards) - len(kept)


def _bytes(card: Mapping[str, Any]) -> int:
    controls = card["controls"]
    uris = len(card["picture"]) + sum(len(control["picture"]) for control in controls)
    texts = [
        card["prompt"],
        card["answer"],
        card["parsed"],
        *card["references"],
        *(c["answer"] for c in controls),
    ]
    return _CARD_BYTES + uris + 2 * sum(len(text.encode("utf-8", errors="replace")) for text in texts)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]} ..."


def _certainty(logprob: float | None) -> str:
    """The geometric mean probability of a token, in per cent."""
    return "" if logprob is None or not math.isfinite(logprob) else f"{100 * math.exp(min(0.0, logprob)):.0f}"
