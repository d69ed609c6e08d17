"""An image encoder without tokens and an encoder-decoder from folders of Transformers, joined, trained, saved and asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sightweave
from sightweave.core.types import Part, Sample

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

PICTURE = np.full((40, 50, 3), 90, np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    _checkpoints.resnet(tmp_path / "resnet")
    tokenizer = _checkpoints.unigram(tmp_path / "t5")
    _checkpoints.t5(tmp_path / "t5", vocab_size=len(tokenizer))
    return str(tmp_path / "resnet"), str(tmp_path / "t5")


@torch.no_grad()
def test_a_text_alone_is_read_and_answered_as_theirs_does(folders: tuple[str, str]) -> None:
    run = sightweave.compose({"kind": folders[0], "image_size": 64}, folders[1], device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[1])
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(folders[1]).eval()
    text, answer = "What is left of the red dog?", "Der rote Hund."
    sample = Sample(id="one", task="vqa", parts=(Part("user", text), Part("assistant", answer, learn=True)))
    batch = run.processor.batch([sample])
    asked, said = (tokenizer(one, return_tensors="pt").input_ids for one in (text, answer))
    assert batch.source.ids.tolist() == asked.tolist()
    assert batch.target.ids.tolist() == [[0, *said[0].tolist()]]
    found = run.model.eval()(batch).logits
    expected = theirs(input_ids=asked, labels=said).logits[0]
    torch.testing.assert_close(found[:, : len(tokenizer)], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["memory", "concat"])
def test_trained_saved_and_asked(folders: tuple[str, str], tmp_path: Path, fusion: str) -> None:
    recipe = {
        "data": [{"kind": "scenes", "size": 12}],
        "model": {
            "encoder": {"kind": folders[0], "image_size": 64},
            "language_model": folders[1],
            "fusion": fusion,
        },
        "train": {"device": "cpu", "precision": "fp32", "stages": [{"steps": 3, "batch_size": 2}]},
    }
    run = sightweave.train(recipe, out=tmp_path / "run", evaluate=False)
    start = sightweave.build(recipe)
    statistics = {name: value for name, value in start.model.encoder.named_buffers()}
    assert statistics
    assert all(value.equal(statistics[name]) for name, value in run.model.encoder.named_buffers())
    assert not run.model.encoder.stem.weight.equal(start.model.encoder.stem.weight)
    before = run.generate(PICTURE, "what is it ?", max_tokens=8)
    after = sightweave.load(tmp_path / "run", device="cpu").generate(PICTURE, "what is it ?", max_tokens=8)
    assert (after.text, after.logprob) == (before.text, before.logprob)
