"""Exports in mlx-vlm on the CPU: it opens both layouts, and a LLaVA's known fault is as large as the card says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from foreign.test_transformers import logits, sample
from programs import test_export as exports

from sightweave.programs.exports import transformers as exporter

pytestmark = pytest.mark.foreign
PYTHON = os.environ.get("SIGHTWEAVE_MLX_VLM", "")
LARGEST = {"idefics3": 1e-5, "llava": 2e-2}
"""Share of the largest logit; mlx-vlm 0.7.10 always computes quick GELU in a LLaVA's encoder."""


@pytest.mark.skipif(not PYTHON, reason="SIGHTWEAVE_MLX_VLM names no Python with mlx-vlm")
@pytest.mark.parametrize("layout", exports.SHAPES)
def test_it_opens_a_tied_head_and_says_the_same(layout: str, tmp_path: Path) -> None:
    run = exports.composed(tmp_path, layout)
    exporter.write(exports.source(run), tmp_path / "out", exporter.LAYOUTS[layout])
    request, expected = [], []
    for seed in range(3):
        ids, ours = logits(run, seed)
        pixels = run.processor.batch([sample(seed)]).media["image"].dense
        given = {"pixels": pixels.flatten().tolist(), "shape": list(pixels.shape), "ids": ids}
        request.append(given | {"in_rows": layout == "idefics3"})
        expected.append(ours)
    (tmp_path / "request.json").write_text(json.dumps(request), encoding="utf-8")
    script = Path(__file__).parent / "_open_mlx.py"
    command = [
        PYTHON,
        str(script),
        *(str(tmp_path / name) for name in ("out", "request.json", "answer.json")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))["answers"]
    for one, ours in zip(found, expected, strict=True):
        difference = (torch.tensor(one["logits"]) - ours).abs().max() / ours.abs().max()
        assert float(difference) < LARGEST[layout]
