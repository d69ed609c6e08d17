"""The smallest composition that trains: what tests of runs, recipes and evaluations share."""

from typing import Any

MODEL: dict[str, Any] = {
    "encoder": {"kind": "cnn", "image_size": 16, "channels": [4, 8], "blocks": [0, 0]},
    "connector": "linear",
    "fusion": "concat",
    "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
}
"""The ``model`` of a recipe."""
