"""What the data doctor found, on one page with thumbnails; it asks for nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.pages import pictures
from sightweave.pages.page import environment, facts, style_and_policy, write
from sightweave.pages.values import text

_THUMBNAIL = 112


def write_check(path: Path, found: Mapping[str, Any], thumbnails: Mapping[str, np.ndarray]) -> None:
    """Writes the page.

    Args:
        path: Where to.
        found: As the doctor's ``Report.to_json`` gives it.
        thumbnails: Pixels (uint8 H W 3) by the key that examples give as ``picture``.
    """
    images = {key: pictures.data_uri(value, max_side=_THUMBNAIL) for key, value in thumbnails.items()}
    style, policy = style_and_policy()
    template = environment().get_template("check.html.jinja")
    html = template.render(
        found=found,
        **{name: text(found[name]) for name in ("rows", "good_rows", "pictures")},
        passed_over=text(found["passed_over"]) if found["passed_over"] else "",
        findings=[_finding(one) for one in found["findings"]],
        facts=facts(_facts(found)),
        images=images,
        style=style,
        policy=policy,
    )
    write(path, html)


def _finding(one: Mapping[str, Any]) -> dict[str, Any]:
    """A finding, and how much of it is shown."""
    count, shown = one["count"], len(one["examples"])
    few = f"{shown} of {text(count)} shown" if 0 < shown < count else text(count)
    return {**one, "shown": few}


def _facts(found: Mapping[str, Any]) -> dict[str, Any]:
    """What few readers ask for."""
    counts = {
        **found["records"],
        **{f"split: {name}": count for name, count in found["splits"].items()},
        **{f"language: {name}": count for name, count in found["languages"].items()},
    }
    return {"format": found["kind"], **counts}
