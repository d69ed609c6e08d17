"""Writes messages: JSON lines with typed parts for training, a JSON array with marks for validation."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

TRAIN = ("red", "green", "blue", "white", "black", "gray")
VAL = ("yellow", "purple")


def picture(folder: Path, colour: str) -> str:
    """A picture of one colour, 40 x 20 pixels, below `folder`, and its path from there."""
    name = f"pictures/{colour}.png"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20), colour).save(folder / name)
    return name


def encoded(colour: str) -> bytes:
    """The file of such a picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), colour).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def data_url(colour: str) -> str:
    """A picture as the OpenAI interface takes it."""
    return f"data:image/webp;base64,{base64.b64encode(encoded(colour)).decode()}"


def write(folder: Path) -> Path:
    """The folder with ``train.jsonl`` and ``val.json``."""
    rows: list[dict[str, Any]] = [
        {
            "id": f"train-{index}",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be short."}]},
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which colour?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": f"It is {colour}."}]},
            ],
            "images": [{"bytes": None, "path": picture(folder, colour)}],
        }
        for index, colour in enumerate(TRAIN)
    ]
    write_lines(folder / "train.jsonl", rows)
    others = [
        {
            "messages": [
                {"role": "user", "content": "<image>Which colour?"},
                {"role": "assistant", "content": f"It is {colour}."},
            ],
            "images": [picture(folder, colour)],
        }
        for colour in VAL
    ]
    (folder / "val.json").write_text(json.dumps(others), encoding="utf-8")
    return folder


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    """One row a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
