"""POPE's files as their authors hand them out: JSON lines named ``.json``, and COCO's pictures of val2014."""

from __future__ import annotations

import json
from pathlib import Path

from data_sets._colours import COLOURS
from PIL import Image


def write(folder: Path) -> Path:
    """Two questions about each of four pictures, in each of the three files."""
    (folder / "val2014").mkdir(parents=True, exist_ok=True)
    for drawn in ("random", "popular", "adversarial"):
        rows = []
        for number, colour in enumerate(list(COLOURS)[:4]):
            name = f"COCO_val2014_{number:012d}.jpg"
            Image.new("RGB", (24, 16), COLOURS[colour]).save(folder / "val2014" / name)
            rows.append({"image": name, "text": f"Is there a {colour} wall in the image?", "label": "yes"})
            rows.append({"image": name, "text": "Is there a dog in the image?", "label": "no"})
        lines = [json.dumps({"question_id": number, **row}) for number, row in enumerate(rows, start=1)]
        (folder / f"coco_pope_{drawn}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
