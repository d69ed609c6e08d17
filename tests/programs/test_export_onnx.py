"""Two graphs in the real onnxruntime: prompts whole, and every later token with what was kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import test_export as exports
from programs.test_export_custom_code import ADAPTED_ENCODERS, adapted

import sightweave
from sightweave.core.errors import BackendError, ExportError, RecipeError

pytest.importorskip("onnxruntime")
pytest.importorskip("transformers")
from sightweave.programs.checks._base import nudge
from sightweave.programs.exports import _transformers_js, onnx
from sightweave.programs.exports import transformers as exporter
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
    assert (len(made.compared), len(made.batched), made.equal_answers) == (5, 5, 5)
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
    assert made.equal_answers == len(made.compared) == len(made.batched) == 5
    assert made.largest < 1e-4


@pytest.mark.parametrize("name", ADAPTED_ENCODERS)
def test_an_encoder_of_another_library_reads_any_number_of_pictures(name: str, tmp_path: Path) -> None:
    made = onnx.export(exports.source(adapted(name, tmp_path)), tmp_path / "out", exports.samples())
    assert made.equal_answers == len(made.compared) == len(made.batched) == 5
    assert made.largest_share < onnx.TOLERANCE


def test_large_logits_are_judged_by_their_size(tmp_path: Path) -> None:
    """Logits of published language models reach 40, where single precision rounds by more than 1e-5."""
    run = scratch({"bidirectional": "none"}, tie_embeddings=False)
    run.model.language_model.output.weight.data.mul_(3000)
    made = onnx.export(exports.source(run), tmp_path / "out", exports.samples())
    assert made.largest_share < onnx.TOLERANCE < made.largest


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
    with pytest.raises(BackendError, match=r"onnxscript not installed: pip install 'sightweave\[onnx\]'"):
        onnx.export(exports.source(run), tmp_path / "out", [])


@pytest.mark.parametrize("layout", exports.SHAPES)
def test_the_files_of_transformers_js_answer_as_we_do(layout: str, tmp_path: Path) -> None:
    run = exports.composed(tmp_path, layout)
    made = onnx.export(
        exports.source(run), tmp_path / "out", exports.samples(), card="# A card\n", layout="transformers.js"
    )
    assert (made.layout, len(made.compared), len(made.batched)) == (f"transformers.js, {layout}", 5, 5)
    assert made.equal_answers == 5
    assert made.largest_share < 1e-5
    # By these names transformers.js finds graphs and makes an empty cache.
    graphs = {file.name: _inputs(file) for file in (tmp_path / "out" / "onnx").iterdir()}
    assert set(graphs) == {"embed_tokens.onnx", "vision_encoder.onnx", "decoder_model_merged.onnx"}
    decoder = graphs["decoder_model_merged.onnx"]
    assert decoder["past_key_values.1.value"] == ["batch_size", 2, "past_sequence_length", 8]
    assert all(shape[0] == "batch_size" for inputs in graphs.values() for shape in inputs.values())
    assert set(decoder) > {"inputs_embeds", "attention_mask", "position_ids"}
    pictures = graphs["vision_encoder.onnx"]
    assert set(pictures) - {"pixel_attention_mask"} == {"pixel_values"}
    # Config and processor are those that Transformers reads.
    exporter.write(exports.source(run), tmp_path / "whole", exporter.LAYOUTS[layout])
    for name in ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "out" / "README.md").read_text() == "# A card\n"


def _inputs(file: Path) -> dict[str, list[Any]]:
    graph = pytest.importorskip("onnx").load(file).graph
    return {
        one.name: [axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim]
        for one in graph.input
    }


def test_another_weight_is_found_in_the_files_of_transformers_js(tmp_path: Path) -> None:
    run = exports.composed(tmp_path, "llava")
    layout = exporter.LAYOUTS["llava"]
    _transformers_js.write(exports.source(run), tmp_path / "out", layout)
    run.model.connector.second.weight.data.neg_()
    with pytest.raises(ExportError, match="the logits of sample"):
        _transformers_js.compare(exports.source(run), tmp_path / "out", exports.samples(), layout).check()


def test_a_layout_of_graphs_that_there_is_not_or_has_no_place(tmp_path: Path) -> None:
    run = sightweave.build(exports.scratch(), "model.connector=linear")
    with pytest.raises(
        RecipeError, match=r"export to onnx: .*\n  layout: .*'sightweave' or 'transformers\.js'"
    ):
        sightweave.export(run, to="onnx", out=tmp_path / "out", layout="transformers_js")
    with pytest.raises(ExportError, match=r"no layout 'transformers_js'\. Did you mean 'transformers\.js'"):
        onnx.export(exports.source(run), tmp_path / "out", [], layout="transformers_js")
    with pytest.raises(ExportError, match=r"model\.connector is linear"):
        sightweave.export(run, to="onnx", out=tmp_path / "out", layout="transformers.js")
    assert not (tmp_path / "out").exists()
