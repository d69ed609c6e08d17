"""Folders of Transformers that somebody else wrote: nothing outside of them is read, fetched or run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sightweave import api
from sightweave.core import transformers_folder
from sightweave.core.errors import CheckpointError

pytest.importorskip("transformers")
from parity import _checkpoints

from sightweave.data.inputs import pretrained_tokenizer

TENSORS = {"a": torch.ones(2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with a config and an index of one file."""
    place = tmp_path / "theirs"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"model_type": "llava"}), encoding="utf-8")
    save_file(TENSORS, place / "one.safetensors")
    return place


def index(folder: Path, name: object) -> None:
    text = json.dumps({"metadata": {}, "weight_map": {"a": name}})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ["../two.safetensors", "/etc/passwd", "one.bin", "sub/one.safetensors", 3])
def test_an_index_leads_nowhere_else_and_to_no_pickle(folder: Path, name: object) -> None:
    save_file(TENSORS, folder.parent / "two.safetensors")
    (folder / "one.bin").write_bytes(pickle.dumps({}))
    index(folder, name)
    with pytest.raises(CheckpointError):
        transformers_folder.read_tensors(folder)
    with pytest.raises(CheckpointError, match="only safetensors files in the same folder"):
        api.predictor(folder)


def test_links_of_a_cache_are_fine(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "01", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    save_file(TENSORS, blobs / "0123456789")
    (blobs / "abc").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}), encoding="utf-8")
    (snapshot / "one.safetensors").symlink_to("../../blobs/0123456789")
    (snapshot / "model.safetensors.index.json").symlink_to("../../blobs/abc")
    assert transformers_folder.read_tensors(snapshot)["a"].equal(TENSORS["a"])


def test_a_kernel_on_the_hub_is_not_fetched(folder: Path) -> None:
    values = {"model_type": "llava", "text_config": {"_attn_implementation": "someorg/kernel"}}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"refers to code on the Hub \('someorg/kernel'\)"):
        api.predictor(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["config.json", "one.safetensors"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    index(folder, "one.safetensors")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    read = transformers_folder.read_config if name == "config.json" else transformers_folder.read_tensors
    with pytest.raises(CheckpointError):
        read(folder)


@pytest.mark.parametrize(
    "template", ["{{ 'x' * 10**9 }}", "{% for i in range(99999) %}" * 2 + "{% endfor %}" * 2]
)
def test_a_chat_template_without_end_is_refused(tmp_path: Path, template: str) -> None:
    tokenizer = _checkpoints.byte_level(tmp_path)
    _checkpoints.llama(tmp_path, vocab_size=len(tokenizer), tie_word_embeddings=True)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"chat_template": template}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="the chat template cannot be rendered:"):
        pretrained_tokenizer.read(tmp_path, 10)
