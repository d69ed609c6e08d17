"""Writes a small LLaVA instruction set: one JSON array with pictures in folders, some rows without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = ("red", "green", "blue", "white", "black", "gray", "yellow", "purple")


def picture(folder: Path, colour: str) -> str:
    """A picture of one colour below `folder`, and its path from there."""
    name = f"part-000001/{colour}.jpg"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), colour).save(folder / name)
    return name


def turns(*texts: str) -> list[dict[str, str]]:
    """Turns of a human and the model, one after the other."""
    return [{"from": ("human", "gpt")[index % 2], "value": text} for index, text in enumerate(texts)]


def write(folder: Path) -> Path:
    """The folder with ``llava_v1_5_mix.json`` and the pictures; eight rows with a picture, one with two, one without."""
    rows: list[dict[str, Any]] = []
    for index, colour in enumerate(COLOURS):
        texts = ["<image>\nWhich colour is it?", f"It is {colour}."]
        texts += ["Sure?", "Yes."] if index == 1 else []
        rows.append({"id": f"row-{index}", "image": picture(folder, colour), "conversations": turns(*texts)})
    both = [picture(folder, colour) for colour in ("blue", "red")]
    asked = turns("First <image>, then\n<image>\nwhich is red?", "The second one.")
    rows.append({"id": "both", "image": both, "conversations": asked})
    rows.append({"id": "text", "model": "", "conversations": turns("What does [img] mean?", "A tag.")})
    path = folder / "llava_v1_5_mix.json"
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return folder


def write_sharegpt(folder: Path) -> Path:
    """The same format as LLaMA-Factory has it, with its own columns: the file ``mllm_demo.json``."""
    rows = [
        {
            "conversations": [
                {"from": "human", "value": "<image>What is it, and what time?"},
                {"from": "function_call", "value": '{"name": "clock", "arguments": {}}'},
                {"from": "observation", "value": "noon"},
                {"from": "gpt", "value": f"It is {colour}, at noon."},
            ],
            "images": [picture(folder, colour)],
            "videos": [],
            "audios": [],
            "system": "Be short.",
            "tools": '[{"name": "clock", "parameters": {}}]',
        }
        for colour in COLOURS
    ]
    path = folder / "mllm_demo.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path
