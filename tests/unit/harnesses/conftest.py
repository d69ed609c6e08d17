"""A small run that knows three colours."""

from __future__ import annotations

import pytest
from PIL import Image

import sightweave

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="package")
def pictures() -> dict[str, Image.Image]:
    """One of each colour."""
    return {name: Image.new("RGB", (20, 14), value) for name, value in COLOURS.items()}


@pytest.fixture(scope="package")
def run(pictures: dict[str, Image.Image], tmp_path_factory: pytest.TempPathFactory) -> sightweave.Run:
    """Says a picture's colour in a word, or twice in two lines."""
    rows = []
    for name, picture in pictures.items():
        path = tmp_path_factory.mktemp("pictures") / f"{name}.png"
        picture.save(path)
        for question, answer in (("What colour is it?", name), ("Twice?", f"{name}\n{name}")):
            rows.append({"image": path, "question": question, "answer": answer, "split": "train"})
    recipe = {
        "data": [],
        "model": {
            "encoder": {"kind": "cnn", "image_size": 16, "channels": [8, 16], "blocks": [0, 0]},
            "connector": "linear",
            "fusion": "concat",
            "language_model": {"kind": "decoder_only", "dim": 32, "num_heads": 2},
        },
        "inputs": {"vocab_size": 300},
        "train": {
            "num_threads": 1,
            "precision": "fp32",
            "stages": [{"steps": 80, "batch_size": 3, "tasks": ["vqa"], "optimizer": {"lr": 0.005}}],
        },
    }
    out = tmp_path_factory.mktemp("runs") / "colours"
    sightweave.train(recipe, data=rows, out=out, evaluate=False)
    return sightweave.load(out, device="cpu")
