"""Folders of others: read where they are whole, refused with the file, the reason and the way out where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sightweave.core.errors import CheckpointError
from sightweave.core.transformers_folder import INDEX, WEIGHTS, is_named, read_config, read_json, read_tensors

A, B = torch.arange(6.0).view(2, 3), torch.ones(4)


def write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def test_one_file(tmp_path: Path) -> None:
    save_file({"a": A, "b": B}, tmp_path / WEIGHTS)
    found = read_tensors(tmp_path)
    assert found["a"].equal(A)
    assert found["b"].equal(B)


def test_the_files_of_an_index(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "one.safetensors")
    save_file({"b": B}, tmp_path / "two.safetensors")
    write_index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    assert sorted(read_tensors(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("name", ["../one.safetensors", "/etc/passwd", "x\\one.safetensors", 3])
def test_an_index_that_leads_out(tmp_path: Path, name: object) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    save_file({"a": A}, tmp_path / "one.safetensors")
    write_index(inner, {"a": name})
    with pytest.raises(CheckpointError, match=r"the index is damaged, or points outside its folder\."):
        read_tensors(inner)


def test_an_index_that_is_none(tmp_path: Path) -> None:
    write_index(tmp_path, ["one.safetensors"])
    with pytest.raises(CheckpointError, match="weight_map must map"):
        read_tensors(tmp_path)


def test_a_listed_file_that_is_missing(tmp_path: Path) -> None:
    write_index(tmp_path, {"a": "one.safetensors"})
    with pytest.raises(
        CheckpointError, match=r"one\.safetensors: file not found.*hf download OWNER/NAME one\.safetensors"
    ):
        read_tensors(tmp_path)


def test_one_weight_in_two_files(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "one.safetensors")
    save_file({"a": A, "b": B}, tmp_path / "two.safetensors")
    write_index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    with pytest.raises(CheckpointError, match="a is also in another file"):
        read_tensors(tmp_path)


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save({"a": A}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"a pickle \(pytorch_model\.bin\).*save_pretrained"):
        read_tensors(tmp_path)


def test_a_pickle_beside_safe_weights_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02 not even a pickle")
    save_file({"a": A}, tmp_path / WEIGHTS)
    assert read_tensors(tmp_path)["a"].equal(A)


def test_a_pickle_under_a_safe_name(tmp_path: Path) -> None:
    torch.save({"a": A}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=": is a pickle despite its name; pickles can run code and"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("kept", [0, 7, 20, -1])
def test_a_file_that_was_cut(tmp_path: Path, kept: int) -> None:
    save_file({"a": A}, tmp_path / WEIGHTS)
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:kept])
    with pytest.raises(CheckpointError, match=": incomplete safetensors file:"):
        read_tensors(tmp_path)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    save_file({"a": torch.tensor([1.0, float("nan")])}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match="a: 1 of 2 values are NaN"):
        read_tensors(tmp_path)


def test_code_of_its_own_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"auto_map": {"AutoModel": "evil.Model"}}), encoding="utf-8"
    )
    with pytest.raises(CheckpointError, match=r"auto_map requests the checkpoint.s own code.*evil\.Model"):
        read_config(tmp_path)


@pytest.mark.parametrize(("text", "fault"), [("[]", "expected a JSON object"), ("{", "not valid JSON")])
def test_a_config_that_is_none(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=fault):
        read_config(tmp_path)


def test_what_is_missing_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="run hf download google/siglip --local-dir google/siglip"):
        read_config("google/siglip")
    with pytest.raises(CheckpointError, match="nowhere: folder not found"):
        read_config(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json: file not found"):
        read_json(tmp_path, "preprocessor_config.json")


def test_which_words_name_a_folder(tmp_path: Path) -> None:
    assert not is_named(str(tmp_path))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert is_named(str(tmp_path))
    assert is_named("google/siglip2-base-patch16-224")
    assert not is_named("vit")
    assert not is_named("my_lab.encoder")
