"""Several files are read as one set of whole tensors, and written as one file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightweave.core import checkpoint, sharded_files
from sightweave.core.errors import CheckpointError
from sightweave.core.sharded_files import ShardedTensors

WHOLE = {
    "model/table": torch.arange(15.0).view(5, 3),
    "model/bias": torch.tensor([1.0, 2.0]),
    "model/gate": torch.tensor(3.0),
    "model/count": torch.tensor(7),
    "model/mask": torch.tensor([True, False, True]),
    "seen": torch.tensor([1, 2], dtype=torch.uint8),
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A complete folder of the files of three processes, of which the last has few rows."""
    temporary, folder = tmp_path / ".making", tmp_path / "done"
    temporary.mkdir()
    shares: list[dict[str, Tensor]] = [
        {**WHOLE, "model/table": WHOLE["model/table"][:2], "model/bias": WHOLE["model/bias"][:1]},
        {"model/table": WHOLE["model/table"][2:4], "model/bias": WHOLE["model/bias"][1:]},
        {"model/table": WHOLE["model/table"][4:]},
    ]
    names = [sharded_files.file_name("state", rank, 3) for rank in range(3)]
    for name, tensors in zip(names, shares, strict=True):
        assert checkpoint.entry_of(temporary, name) is None
        checkpoint.write_entry(temporary, name, tensors)
    checkpoint.finish_folder(temporary, folder, names, {"state": {"steps": 3}})
    assert not temporary.exists()
    return folder


def test_the_whole_tensors_are_read(written: Path) -> None:
    paths = sharded_files.files_of(written, "state")
    found = ShardedTensors(paths)
    assert set(found) == set(WHOLE)
    for name, expected in WHOLE.items():
        assert torch.equal(found[name], expected)
        assert found[name].dtype == expected.dtype
    group = found.group("model/")
    assert set(group) == {"table", "bias", "gate", "count", "mask"}
    assert torch.equal(group["table"], WHOLE["model/table"])


def test_the_manifest_covers_all_files(written: Path) -> None:
    assert checkpoint.read_document(written, "state") == {"steps": 3}
    for path in sharded_files.files_of(written, "state"):
        assert checkpoint.read_aliases(written, path.name) == {}
    assert sorted(one.name for one in written.iterdir()) == [
        "manifest.json",
        *[f"state-0000{number}-of-00003.safetensors" for number in (1, 2, 3)],
        "state.json",
    ]


def test_one_file_is_written_that_safetensors_reads(written: Path, tmp_path: Path) -> None:
    found = ShardedTensors(sharded_files.files_of(written, "state"))
    names = {name.removeprefix("model/"): name for name in WHOLE if name.startswith("model/")}
    found.write(tmp_path / "model.safetensors", names)
    loaded = load_file(tmp_path / "model.safetensors")
    assert loaded.keys() == names.keys()
    for name, stored in names.items():
        assert torch.equal(loaded[name], WHOLE[stored])


def test_tied_weights_are_stored_once_and_read_under_both_names(tmp_path: Path) -> None:
    tied = torch.ones(2, 2)
    name = sharded_files.file_name("state", 0, 1)
    checkpoint.write_entry(tmp_path, name, {"one": tied, "two": tied})
    entry = checkpoint.entry_of(tmp_path, name)
    assert entry is not None
    found = ShardedTensors([tmp_path / name], [entry["aliases"]])
    assert torch.equal(found["one"], tied)
    assert torch.equal(found["two"], tied)
    assert len(load_file(tmp_path / name)) == 1


def test_a_damaged_or_missing_file_is_reported(written: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    last = copy / sharded_files.file_name("state", 2, 3)
    last.unlink()
    with pytest.raises(
        CheckpointError, match=r"expected 3 files .* state-00003-of-00003.safetensors is missing"
    ):
        sharded_files.files_of(copy, "state")
    last.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="truncated or changed"):
        checkpoint.read_aliases(copy, last.name)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        ShardedTensors([last])
    save_file({"x": torch.tensor([torch.nan])}, last)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        ShardedTensors([last])["x"]
    assert "x" in ShardedTensors([last]), "only a tensor that is asked for is read"
    assert sharded_files.files_of(tmp_path, "state") == []


def test_a_file_that_could_not_be_written_is_reported_to_the_first_process(tmp_path: Path) -> None:
    checkpoint.write_failure(tmp_path, "state-00002-of-00002.safetensors", "no space left")
    with pytest.raises(CheckpointError, match="another process could not write it: no space left"):
        checkpoint.entry_of(tmp_path, "state-00002-of-00002.safetensors")
