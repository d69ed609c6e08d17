"""The report of a run on one HTML page: its settings, training curves, scores, and answers about images.

The page loads nothing: images, curves, styles and the only script are inside it, and its Content-Security-Policy
forbids everything else. All texts are escaped, especially the answers of models.
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
from sightweave.pages.cards import Show, card, cut, difference_key, figures, fitting, shower
from sightweave.pages.difference import Difference
from sightweave.pages.values import text

MAX_BYTES = 3_000_000
"""Maximum size of a page in bytes; if not all cards fit, some are left out evenly over the gallery."""
_GALLERY_BYTES = 2_300_000
"""Maximum size of the gallery in bytes."""
_SPARE_BYTES = 60_000
"""Bytes reserved for what cards add elsewhere on the page, such as names of types in a filter."""
_LONG = 60
"""Number of characters above which a fact gets a line of its own."""
_FOLDER = Path(__file__).parent
"""Folder of the templates, the style and the script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a report; any part except the title may be missing."""

    title: str
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts in the order in which they are shown, such as predictor, seed, device, commit, parameters, fingerprint of
    the data and template. A mapping (such as versions) is shown on one line."""
    recipe: str = ""
    """The recipe as YAML."""
    history: Sequence[Mapping[str, Any]] = ()
    """Rows of ``metrics.jsonl`` with step, stage, loss, lr, grad_norm and tokens_per_second."""
    evaluations: Sequence[Mapping[str, Any]] = ()
    """The output of ``Evaluation.to_json`` for each split."""
    gallery: Sequence[Mapping[str, Any]] = ()
    """Rows of ``predictions.jsonl``, chosen by ``gallery.choose``."""
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Pixels (uint8 H W or H W 3) of the images, by the ``image`` key of the rows."""
    notes: Sequence[str] = ()
    """Sentences shown at the top of the page."""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Differences between images of answers and their sources, by the key of the answer's image."""


def write_report(path: Path, page: Page) -> int:
    """Writes the report and returns its size in bytes."""
    return write(path, render(page))


def write(path: Path, html: str) -> int:
    """Writes a page and returns its size in bytes; characters that UTF-8 cannot encode become question marks."""
    data = html.encode("utf-8", errors="replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, data)
    return len(data)


def image_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of all images that these rows show, including reference images, and those of answers and controls."""
    shown: list[str | None] = []
    for row in rows:
        shown += [row.get("image"), row.get("target_image"), *(row.get("pictures") or {}).values()]
        shown += [control.get("image") for control in (row.get("controls") or {}).values()]
    return list(dict.fromkeys([key for key in shown if key]))


def environment() -> Any:
    """The jinja2 environment for the templates in this folder; it escapes every text."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style_and_policy(script: str = "") -> tuple[Any, str]:
    """The style of all pages, and a Content-Security-Policy that allows only this style and this script."""
    from markupsafe import Markup

    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    rules = ["default-src 'none'", "img-src data:", f"style-src '{_hash(style)}'"]
    if script:
        rules.append(f"script-src '{_hash(script)}'")
    return Markup(style), "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def gallery_script() -> Any:
    """The JavaScript that filters and sorts cards."""
    from markupsafe import Markup

    return Markup((_FOLDER / "page.js").read_text(encoding="utf-8"))


def render(page: Page) -> str:
    """Returns the report as HTML; equal inputs give identical bytes."""
    script = gallery_script() if page.gallery else ""
    style, policy = style_and_policy(script)
    marks = scores.controls(page.evaluations)
    parts = {
        "page": page,
        "facts": facts(page.facts),
        # The style and the script are files of this package; the policy allows them by their hashes.
        "style": style,
        "script": script,
        "policy": policy,
        "panels": list(map(_panel, curves.panels(page.history))),
        "can": scores.can(page.evaluations),
        "marks": list(map(scores.control_name, marks)),
        "evaluations": [scores.evaluation(found, marks) for found in page.evaluations],
    }

    pixels = dict(page.pictures)
    for key, one in page.differences.items():
        pixels[difference_key(key)] = one.pixels
    show = shower(pixels)
    cards = [card(row, show, page.differences) for row in page.gallery]
    parts["drawings"] = _drawings(page.evaluations, show)
    template = environment().get_template("page.html.jinja")
    return with_cards(template, parts, cards, order=lambda one: one["right"])


def _drawings(evaluations: Sequence[Mapping[str, Any]], show: Show) -> list[dict[str, Any]]:
    """The drawings of all splits that are shown but not scored, as variables of the template."""
    found = []
    for one in evaluations:
        for row in one.get("drawings") or ():
            shown = figures(row, show, {})
            if shown:
                found.append({"split": one.get("split", ""), "prompt": cut(row["prompt"]), "figures": shown})
    return found


def with_cards(
    template: Any, parts: Mapping[str, Any], cards: Sequence[dict[str, Any]], *, order: Callable[[Any], Any]
) -> str:
    """Renders a page with as many cards as fit, and with the choices of its filters.

    Args:
        template: The page's template.
        parts: Variables of the template except the cards.
        cards: All cards, in the order of their answers.
        order: Sort key for the cards.
    """

    def filled(kept: Sequence[dict[str, Any]]) -> str:
        numbered = [{**one, "number": number} for number, one in enumerate(kept)]
        html: str = template.render(
            **parts,
            cards=sorted(numbered, key=order),
            left_out=len(cards) - len(kept),
            choices=_choices(kept),
        )
        return html

    if not cards:
        return filled(cards)
    room = MAX_BYTES - _SPARE_BYTES - len(filled([]).encode("utf-8", errors="replace"))
    return filled(fitting(cards, min(room, _GALLERY_BYTES)))


def _choices(cards: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """The choices of each filter: pairs of value and label for splits and tasks, pairs of task and type for types."""
    splits: dict[str, None] = {}
    tasks: dict[str, None] = {}
    types: set[tuple[str, str]] = set()
    for one in cards:
        splits[one["split"]] = None
        tasks[one["task"]] = None
        if one["type"]:
            types.add((one["task"], one["type"]))

    return {
        "splits": list(zip(splits, splits, strict=True)),
        "tasks": list(zip(tasks, tasks, strict=True)),
        "types": sorted(types),
    }


def facts(found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name and text of each fact, and whether the text is long; empty values are left out."""
    shown = []
    for name, value in found.items():
        words = text(value)
        if words:
            is_long = len(words) > _LONG or "\n" in words
            shown.append((name.replace("_", " "), words, is_long))
    return shown


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _panel(panel: curves.Panel) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "title": panel.title,
        "is_log": panel.is_log,
        "lines": list(zip(panel.series, map(text, panel.last), strict=True)),
        "stages": [(number, *stage) for number, stage in enumerate(panel.stages, start=1)],
        # Markup is safe here, because the drawing contains only numbers.
        "svg": Markup(panel.svg),
    }
