"""Checkpoints: whole or not there, and refused when any byte on the disk is other than what was written."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from sightweave.core import checkpoint
from sightweave.core.checkpoint import load_into, read_document, read_weights, write_folder
from sightweave.core.errors import CheckpointError

SHAPES = {"a.weight": (3, 4), "b": (5,), "scalar": ()}


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    write_folder(path, {"model": tensors()}, {"run": {"step": 3, "name": "Zürich"}})
    return path


def change_manifest(folder: Path, **values: object) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_round_trip_is_exact(folder: Path) -> None:
    read = read_weights(folder, SHAPES)
    assert set(read) == set(SHAPES)
    for name, tensor in tensors().items():
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)
    assert read_document(folder, "run") == {"step": 3, "name": "Zürich"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_other_types_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    write_folder(tmp_path / "c", {"model": {"x": tensor}})
    read = read_weights(tmp_path / "c")["x"]
    assert read.dtype == dtype
    assert torch.equal(read, tensor)


def test_a_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    """The file begins with the header's length, whose first byte may be a pickle's."""
    starts = set()
    for count in range(1, 40):
        folder = tmp_path / str(count)
        write_folder(folder, {"model": {"x" * 8 * count: torch.ones(1)}})
        starts.add((folder / "model.safetensors").read_bytes()[0])
        assert len(read_weights(folder)) == 1
    assert 0x80 in starts


def test_tied_weights_are_stored_once_and_come_back_twice(tmp_path: Path) -> None:
    table = torch.randn(100, 8)
    write_folder(tmp_path / "c", {"model": {"embedding": table, "head": table}})
    assert (tmp_path / "c" / "model.safetensors").stat().st_size < 1.5 * table.numel() * 4
    read = read_weights(tmp_path / "c", {"embedding": (100, 8), "head": (100, 8)})
    assert torch.equal(read["head"], table)


def test_views_and_transposed_tensors_are_stored_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    views = {"rows": base[1:], "columns": base.mT, "whole": base, "empty": base[:0]}
    write_folder(tmp_path / "c", {"model": views})
    for name, read in read_weights(tmp_path / "c").items():
        assert torch.equal(read, views[name])


def test_replacing_keeps_nothing_of_the_old_folder(folder: Path) -> None:
    write_folder(folder, {"other": {"x": torch.ones(2)}})
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", "other.safetensors"]
    assert [file.name for file in folder.parent.iterdir()] == ["checkpoint"]


def test_a_writer_that_died_between_its_renames_lost_nothing(folder: Path) -> None:
    folder.rename(folder.with_name(".checkpoint.previous"))
    assert read_document(folder, "run")["step"] == 3
    write_folder(folder, {"model": tensors()}, {"run": {"step": 4}})
    assert read_document(folder, "run")["step"] == 4


def test_leftovers_are_ignored_and_old_ones_removed(folder: Path) -> None:
    young, old = folder.with_name(".checkpoint.tmp-1"), folder.with_name(".checkpoint.tmp-2")
    for left in (young, old):
        left.mkdir()
        (left / "model.safetensors").write_bytes(b"half")
    os.utime(old, (0, 0))
    assert set(read_weights(folder)) == set(SHAPES)
    write_folder(folder, {"model": tensors()})
    assert young.exists()
    assert not old.exists()


@pytest.mark.parametrize("share", [index / 20 for index in range(20)])
def test_truncated(folder: Path, share: float) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: \d+ bytes, expected \d+; the file was truncated"
    ):
        read_weights(folder)


def test_any_flipped_bit(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 4
        file.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"its SHA-256 is .*\.\.\.; the file has changed\."):
            read_weights(folder)
    file.write_bytes(whole)
    read_weights(folder)


def test_longer_than_written(folder: Path) -> None:
    with (folder / "run.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(CheckpointError, match=r"run\.json: \d+ bytes, expected \d+; the file"):
        read_document(folder, "run")


def test_missing_parts_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r": checkpoint folder not found\."):
        read_weights(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"does not list 'optimizer\.safetensors'"):
        read_weights(folder, name="optimizer")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"listed in manifest\.json but missing"):
        read_weights(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        read_weights(folder)


def test_a_file_put_beside_the_others_is_not_read(folder: Path) -> None:
    (folder / "extra.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"does not list 'extra\.safetensors'"):
        read_weights(folder, name="extra")


def test_pickles_are_refused_whatever_their_name(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=": is a pickle despite its name; pickles can run code and"):
        read_weights(folder)
    with zipfile.ZipFile(file, "w") as archive:  # the form of torch.save
        archive.writestr("model/data.pkl", pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=": is a pickle despite its name; pickles can run code and"):
        read_weights(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt", "x.pkl"])
def test_a_folder_with_a_pickle_in_it_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(CheckpointError, match=f"holds {name}: pickles can run code and are never read"):
        read_weights(folder)


def forge(folder: Path, content: bytes) -> None:
    """Puts bytes in place of the weights and writes a manifest that agrees with them."""
    file = folder / "model.safetensors"
    file.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][file.name] = {"bytes": len(content), "sha256": checkpoint._sha256(file)}
    change_manifest(folder, files=manifest["files"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (1 << 63).to_bytes(8, "little") + b"{}",
        (101 << 20).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (60).to_bytes(8, "little")
        + b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}'.ljust(60)
        + b"0000",
        (60).to_bytes(8, "little")
        + b'{"x":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}'.ljust(60)
        + b"0000",
        (60).to_bytes(8, "little")
        + b'{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'.ljust(60)
        + b"0000",
        (60).to_bytes(8, "little")
        + b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'.ljust(60)
        + b"00000000",
    ],
    ids=["empty", "2^63 header", "101 MB header", "list", "shape", "type", "negative", "hole"],
)
def test_a_malformed_file_with_right_hashes(folder: Path, content: bytes) -> None:
    forge(folder, content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a safetensors file"):
        read_weights(folder)


def test_other_names_and_shapes_are_counted_and_named(folder: Path) -> None:
    expected = {"a.weight": (4, 3), "b": (5,), "c": (1,)}
    with pytest.raises(CheckpointError) as caught:
        read_weights(folder, expected)
    message = str(caught.value)
    assert "1 with a different shape, 1 missing, 1 unexpected" in message
    assert "a.weight: (3, 4) in the file, (4, 3) in the model" in message
    assert "c: missing in the file, (1,)" in message
    assert "scalar: () in the file, not in the model" in message


def test_only_the_first_ten_faults_are_named(folder: Path) -> None:
    expected = SHAPES | {f"layer{index:02d}": (1,) for index in range(25)}
    with pytest.raises(CheckpointError) as caught:
        read_weights(folder, expected)
    assert "25 missing" in str(caught.value)
    assert "layer09" in str(caught.value)
    assert "layer10" not in str(caught.value)
    assert "and 15 more" in str(caught.value)


def test_a_failed_load_changes_nothing_in_memory(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    path = tmp_path / "c"
    write_folder(path, {"model": nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3)).state_dict()})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=": these weights do not fit the model:"):
        load_into(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    write_folder(path, {"model": {name: value + 1 for name, value in before.items()}})
    load_into(model, path)
    assert all(torch.equal(value, before[name] + 1) for name, value in model.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(tmp_path: Path, value: float) -> None:
    weights = torch.ones(10)
    weights[3] = value
    write_folder(tmp_path / "c", {"model": {"w": weights}})
    with pytest.raises(CheckpointError, match="w: 1 of 10 values are NaN or infinite"):
        read_weights(tmp_path / "c")
    assert torch.equal(read_weights(tmp_path / "c", allow_nonfinite=True)["w"].isfinite(), weights.isfinite())


def test_large_finite_values_are_fine(tmp_path: Path) -> None:
    weights = torch.full((10,), 3e38)  # their sum is infinite in fp32
    write_folder(tmp_path / "c", {"model": {"w": weights}})
    assert torch.equal(read_weights(tmp_path / "c")["w"], weights)


def test_a_newer_format_names_both_versions(folder: Path) -> None:
    change_manifest(folder, format_version=2)
    with pytest.raises(
        CheckpointError, match="format_version 2, but this version of Sightweave reads up to 1"
    ):
        read_weights(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format_version": None}, "no format_version"),
        ({"files": []}, "the manifest is damaged"),
        ({"files": {"../../x.safetensors": {"bytes": 1, "sha256": "0"}}}, "the manifest is damaged"),
        ({"files": {"model.safetensors": {"bytes": "1", "sha256": "0"}}}, "the manifest is damaged"),
    ],
)
def test_a_damaged_manifest(folder: Path, values: dict[str, object], words: str) -> None:
    change_manifest(folder, **values)
    with pytest.raises(CheckpointError, match=words):
        read_weights(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
def test_a_manifest_that_is_no_json(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_weights(folder)


def test_a_full_disk_leaves_the_old_checkpoint_and_no_half_one(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    import signal

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"cannot be written: .*it needs 40000 bytes and \d+ are free"
        ):
            write_folder(folder, {"model": {"x": torch.ones(10_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert set(read_weights(folder)) == set(SHAPES)
    assert [file.name for file in folder.parent.iterdir()] == ["checkpoint"]


def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_folder(tmp_path / "file" / "c", {"model": tensors()})


def test_a_folder_of_anything_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    write_folder(tmp_path / "mine", {}, {"a": 1})  # an empty one is taken
    write_folder(tmp_path / "mine", {}, {"b": 2})  # and an earlier one is replaced
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == ["b.json", "manifest.json"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"thesis: holds chapter\.txt, but no manifest\.json"):
        write_folder(tmp_path / "thesis", {}, {"a": 1})
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
