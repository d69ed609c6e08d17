"""The smallest composition that trains: what tests of runs, recipes and evaluations share."""

from typing import Any

import numpy as np

MODEL: dict[str, Any] = {
    "encoder": {"kind": "cnn", "image_size": 16, "channels": [4, 8], "blocks": [0, 0]},
    "connector": "linear",
    "fusion": "concat",
    "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
}
"""The ``model`` of a recipe."""

RECIPE: dict[str, Any] = {
    "data": [],
    "model": MODEL,
    "inputs": {"vocab_size": 280},
    "train": {"stages": [{"steps": 1}]},
}
"""Of a run that is built rather than trained."""
PICTURE = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
ROWS = [{"image": PICTURE, "question": "What is it?", "answer": "a ramp", "split": "train"}]
"""Records for it."""


def vit_model() -> dict[str, Any]:
    """The same with a Transformer that sees, for what acts on its linear layers; made anew, so that a test may change it."""
    return {
        "encoder": {"kind": "vit", "image_size": 32, "patch_size": 8, "dim": 32, "depth": 1},
        "connector": "linear",
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2},
    }
