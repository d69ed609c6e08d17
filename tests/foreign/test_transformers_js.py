"""The three graphs in the real transformers.js, in Node: its ids, its logits from the pixels of training, its answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from foreign.test_transformers import TEXT, logits, sample
from PIL import Image
from programs import test_export as exports

from sightweave.programs.exports import onnx

pytestmark = pytest.mark.foreign
MODULES = os.environ.get("SIGHTWEAVE_TRANSFORMERS_JS", "")
SCRIPT = Path(__file__).parent / "_open.mjs"


@pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="SIGHTWEAVE_TRANSFORMERS_JS names no folder with node_modules",
)
@pytest.mark.parametrize("layout", exports.SHAPES)
def test_it_says_the_same_of_the_same_pixels(layout: str, tmp_path: Path) -> None:
    run = exports.composed(tmp_path, layout)
    folder = tmp_path / "out"
    onnx.export(exports.source(run), folder, exports.samples()[:1], layout="transformers.js")
    request = []
    for seed in range(3):
        Image.fromarray(exports.picture(seed)).save(tmp_path / f"{seed}.png")
        pixels = run.processor.batch([sample(seed)]).media["image"].dense
        one = {"image": str(tmp_path / f"{seed}.png"), "text": TEXT, "shape": list(pixels.shape)}
        request.append(one | {"pixels": pixels.flatten().tolist()})
    (tmp_path / "request.json").write_text(json.dumps(request), encoding="utf-8")
    command = [
        "node",
        str(SCRIPT),
        MODULES,
        str(folder),
        str(tmp_path / "request.json"),
        str(tmp_path / "answer.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    for seed, found in enumerate(answers):
        ids, ours = logits(run, seed)
        assert found["prompt"] == ids
        assert found["shape"][-3:] == found["wanted"][-3:]
        torch.testing.assert_close(torch.tensor(found["logits"]), ours, atol=1e-5, rtol=1e-5)
        said = run.generate(exports.picture(seed), TEXT, max_tokens=16).text
        assert run.processor.tokenizer.decode(found["said"]) == said
