"""The page of a data check: its findings with thumbnails, in one self-contained file."""

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
    """Writes the page of a data check.

    Args:
        path: The HTML file.
        found: The output of the doctor's ``Report.to_json``.
        thumbnails: Pixels (uint8 H W 3) of the images, by the ``picture`` key of the examples.
    """
    images = {key: pictures.data_uri(value, max_side=_THUMBNAIL) for key, value in thumbnails.items()}
    style, policy = style_and_policy()

    template = environment().get_template("check.html.jinja")
    html = template.render(
        found=found,
        rows=text(found["rows"]),
        good_rows=text(found["good_rows"]),
        pictures=text(found["pictures"]),
        passed_over=text(found["passed_over"]) if found["passed_over"] else "",
        findings=list(map(_finding, found["findings"])),
        facts=facts(_facts(found)),
        images=images,
        style=style,
        policy=policy,
    )
    write(path, html)


def _finding(one: Mapping[str, Any]) -> dict[str, Any]:
    """A finding, extended by a text on how many of its examples are shown."""
    count, shown = one["count"], len(one["examples"])
    words = f"{shown} of {text(count)} shown" if 0 < shown < count else text(count)
    return {**one, "shown": words}


def _facts(found: Mapping[str, Any]) -> dict[str, Any]:
    """The facts in the collapsed list: format, and counts by task, split and language."""
    facts = {"format": found["kind"], **found["records"]}

    for name, count in found["splits"].items():
        facts[f"split: {name}"] = count
    for name, count in found["languages"].items():
        facts[f"language: {name}"] = count
    return facts
