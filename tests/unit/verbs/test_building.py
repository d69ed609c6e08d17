"""A process that gets its weights from another one builds the same model and processor, without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import sightweave
from sightweave.verbs.building import composed, emptied
from sightweave.verbs.sources import build_sources, read_recipe

ROWS = [{"images": [], "question": "And without?", "answer": name} for name in ("red", "blue")]
RECIPE: dict[str, Any] = {
    "data": [],
    "model": {
        "encoder": {"kind": "vit", "image_size": 16, "patch_size": 8, "dim": 16, "depth": 1, "num_heads": 2},
        "connector": "linear",
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
    },
    "inputs": {"vocab_size": 280},
    "train": {"stages": [{"steps": 1}], "device": "cpu"},
}


def same_without_weights(expected: sightweave.Run, found: sightweave.Run) -> bool:
    state, other = expected.model.state_dict(), found.model.state_dict()
    assert state.keys() == other.keys()
    assert all(value.shape == other[name].shape for name, value in state.items())
    assert expected.processor.documents() == found.processor.documents()
    return all(value.is_meta for value in other.values())


def test_a_model_on_the_meta_device_has_no_weights(tmp_path: Path) -> None:
    whole = sightweave.build(RECIPE, data=ROWS)
    sources = build_sources(whole.recipe, ROWS, "train")
    assert same_without_weights(whole, composed(whole.recipe, sources, torch.device("meta")))
    assert all(value.is_meta for value in emptied(whole).state_dict().values())

    # The tokenizer comes from the run in init_from, and nothing else is read from it.
    whole.save(tmp_path / "run")
    recipe = read_recipe({**RECIPE, "init_from": str(tmp_path / "run")}, ())
    found = composed(recipe, [], torch.device("meta"))
    assert same_without_weights(composed(recipe, [], torch.device("cpu")), found)
