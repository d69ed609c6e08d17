"""Two graphs in the real onnxruntime: prompts whole, and every later token with what was kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import test_export as exports

import sightweave
from sightweave.core.errors import BackendError, ExportError

pytest.importorskip("onnxruntime")
pytest.importorskip("transformers")
from sightweave.programs.checks._base import nudge
from sightweave.programs.exports import onnx
from sightweave.programs.exports._card import card

pytestmark = pytest.mark.slow


def scratch(fusion: dict[str, Any], **changes: Any) -> sightweave.Run:
    values = exports.scratch(**changes)
    values["model"]["fusion"] = {"kind": "concat", **fusion}
    run = sightweave.build(values)
    nudge(run.model)  # an untrained block is the identity, and would hide what it reads
    return run


def test_a_pretrained_shape_answers_as_we_do(tmp_path: Path) -> None:
    run = exports.composed(tmp_path, "idefics3")
    made = onnx.export(exports.source(run), tmp_path / "out", exports.samples(), card="# A card\n")
    assert made.program.startswith("onnxruntime 1.")
    assert (len(made.compared), made.equal_answers) == (5, 5)
    assert made.largest < 1e-4
    told = json.loads((tmp_path / "out" / "onnx.json").read_text())
    assert (told["layers"], told["kv_heads"], told["head_dim"], told["tokens_per_image"]) == (2, 2, 8, 4)
    assert (tmp_path / "out" / "README.md").read_text() == "# A card\n"


@pytest.mark.parametrize(
    ("fusion", "language_model"),
    [
        ({"bidirectional": "image", "one_position": True}, {"qk_norm": True, "feed_forward": "relu2"}),
        ({"bidirectional": "prompt"}, {"position": "learned", "norm": "layer", "bias": True}),
        ({"bidirectional": "none"}, {"position": "sinusoidal", "tie_embeddings": False}),
    ],
)
def test_other_shapes_answer_as_we_do(
    fusion: dict[str, Any], language_model: dict[str, Any], tmp_path: Path
) -> None:
    run = scratch(fusion, **language_model)
    made = onnx.export(exports.source(run), tmp_path / "out", exports.samples())
    assert made.equal_answers == len(made.compared) == 5
    assert made.largest < 1e-4


def test_the_example_on_the_card_runs(tmp_path: Path) -> None:
    run = scratch({"bidirectional": "image", "one_position": True})
    text = card("A model", run.recipe.to_plain(), {}, [], use=onnx.USE)
    onnx.export(exports.source(run), tmp_path / "out", exports.samples()[:1], card=text)
    white = np.full((224, 224, 3), 255, np.uint8)
    said = exports.card_example(tmp_path / "out")
    assert said == run.generate(white, "Describe the image.", max_tokens=32).text
    assert len(said) > 3


def test_other_weights_are_found(tmp_path: Path) -> None:
    run = scratch({"bidirectional": "none"})
    onnx.write(exports.source(run), tmp_path / "out")
    run.model.connector.projection.weight.data.neg_()
    with pytest.raises(ExportError, match=r"in onnxruntime .* the logits of sample .* differ by"):
        onnx.compare(exports.source(run), tmp_path / "out", exports.samples()).check(onnx.TOLERANCE)


def test_what_needs_other_graphs_is_refused(tmp_path: Path) -> None:
    run = sightweave.build(exports.scratch(), "model.fusion=cross_attention")
    with pytest.raises(ExportError, match=r"got CrossAttention with DecoderOnly"):
        sightweave.export(run, to="onnx", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_the_packages_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scratch({"bidirectional": "none"})
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(BackendError, match=r"onnxscript not installed; pip install 'sightweave\[onnx\]'"):
        onnx.export(exports.source(run), tmp_path / "out", [])
