"""What the data doctor found, on one page with thumbnails; it asks for nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core.report import pictures
from sightweave.core.report.page import environment, style_and_policy, write

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
    page = environment().get_template("check.html.jinja")
    write(path, page.render(found=found, images=images, style=style, policy=policy))
