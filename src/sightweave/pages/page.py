"""A run's story on one page: what was run, how it learnt, what it scores, and what it says to pictures.

The page asks for nothing: pictures, curves, styles and the one script are inside it, and its policy
(Content-Security-Policy) forbids everything else. All texts are escaped, what a model says above all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core import files
from sightweave.pages import curves, scores
from sightweave.pages.cards import card, fitting, shower
from sightweave.pages.values import text

MAX_BYTES = 3_000_000
"""Of the whole page; cards of the gallery are left out evenly where they would not fit."""
_GALLERY_BYTES = 2_300_000
_SPARE_BYTES = 60_000
"""Room for what the choice of cards adds elsewhere, such as the names of types in a filter."""
_LONG = 60
"""Characters of a fact that gets a line of its own."""
_FOLDER = Path(__file__).parent
"""Of a page, in which its policy begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page is made of; any part may be missing."""

    title: str
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Shown in this order: who answered, seed, device, commit, parameters, fingerprint of the data, the template and the
    like. A mapping (such as versions) is shown in one line."""
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
    return write(path, render(page))


def write(path: Path, html: str) -> int:
    """Writes a page and returns its size in bytes; what UTF-8 cannot hold becomes a question mark."""
    data = html.encode("utf-8", errors="replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, data)
    return len(data)


def image_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of all pictures that these rows show, those of the controls included."""
    shown = [one for row in rows for one in (row, *(row.get("controls") or {}).values())]
    return list(dict.fromkeys(one["image"] for one in shown if one.get("image")))


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


def style_and_policy(script: str = "") -> tuple[Any, str]:
    """The style of all pages, and a policy for a page that has this style and at most this script."""
    from markupsafe import Markup

    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    rules = ["default-src 'none'", "img-src data:", f"style-src '{_hash(style)}'"]
    rules += [f"script-src '{_hash(script)}'"] * bool(script)
    return Markup(style), "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def gallery_script() -> Any:
    """The script that filters and orders cards."""
    from markupsafe import Markup

    return Markup((_FOLDER / "page.js").read_text(encoding="utf-8"))


def render(page: Page) -> str:
    """The page as HTML; equal pages give equal bytes."""
    script = gallery_script() if page.gallery else ""
    style, policy = style_and_policy(script)
    marks = scores.controls(page.evaluations)
    template = environment().get_template("page.html.jinja")
    parts = {
        "page": page,
        "facts": facts(page.facts),
        # Both texts are files of this package, and the policy names them by their hash.
        "style": style,
        "script": script,
        "policy": policy,
        "panels": [_panel(panel) for panel in curves.panels(page.history)],
        "can": scores.can(page.evaluations),
        "marks": [scores.control_name(name) for name in marks],
        "evaluations": [scores.evaluation(found, marks) for found in page.evaluations],
    }
    show = shower(page.pictures)
    return with_cards(
        template, parts, [card(row, show) for row in page.gallery], order=lambda one: one["right"]
    )


def with_cards(
    template: Any, parts: Mapping[str, Any], cards: Sequence[dict[str, Any]], *, order: Callable[[Any], Any]
) -> str:
    """A page with as many cards as fit, and with what its filters choose from.

    Args:
        template: Of the page.
        parts: What it shows beside the cards.
        cards: In the order in which their answers were given.
        order: By which they are shown.
    """

    def filled(kept: Sequence[dict[str, Any]]) -> str:
        numbered = [{**one, "number": number} for number, one in enumerate(kept)]
        html: str = template.render(
            **parts,
            cards=sorted(numbered, key=order),
            left_out=len(cards) - len(kept),
            choices={
                "splits": list(dict.fromkeys((one["split"], one["split"]) for one in kept)),
                "tasks": list(dict.fromkeys((one["task"], one["task"]) for one in kept)),
                "types": sorted({(one["task"], one["type"]) for one in kept if one["type"]}),
            },
        )
        return html

    if not cards:
        return filled(cards)
    room = MAX_BYTES - _SPARE_BYTES - len(filled([]).encode("utf-8", errors="replace"))
    return filled(fitting(cards, min(room, _GALLERY_BYTES)))


def facts(found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value and whether the value is long, for a list of facts; those that say nothing are left out."""
    shown = ((name.replace("_", " "), text(value)) for name, value in found.items())
    return [(name, value, len(value) > _LONG or "\n" in value) for name, value in shown if value]


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _panel(panel: curves.Panel) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "title": panel.title,
        "is_log": panel.is_log,
        "lines": [(name, text(last)) for name, last in zip(panel.series, panel.last, strict=True)],
        "stages": [(number, *stage) for number, stage in enumerate(panel.stages, start=1)],
        # The drawing is ours and holds numbers only.
        "svg": Markup(panel.svg),
    }
