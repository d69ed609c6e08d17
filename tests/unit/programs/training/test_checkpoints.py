"""Checkpoints to resume from: written from copies in a thread, kept, found again when damaged, and never half there."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sightweave.core.errors import CheckpointError
from sightweave.programs.training import checkpoints
from sightweave.programs.training.checkpoints import Checkpoints, Saver, Snapshot, check_space, space_for
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.state import State


def model() -> nn.Module:
    """Two layers that share one weight."""
    made = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    made[1].weight = made[0].weight
    return made


def state(steps: int, weights: nn.Module) -> State:
    return State(
        steps=steps,
        data="data",
        seen=Seen(9),
        model=weights.state_dict(),
        random={"cpu": torch.get_rng_state()},
    )


def written(folder: Path, *steps: int, keep: int = 2) -> Checkpoints:
    made = Checkpoints(folder, keep)
    for number in steps:
        made.write(Snapshot.of(state(number, model()), model()))
    return made


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    made = written(tmp_path, 3, 6, 9, 12)
    assert made.steps == [9, 12]
    assert sorted(path.name for path in made.folder.iterdir()) == ["step-00000009", "step-00000012"]
    found = made.newest()
    assert found is not None
    assert found.steps == 12
    assert made.read(9).steps == 9


def test_the_best_is_kept_too(tmp_path: Path) -> None:
    made = Checkpoints(tmp_path)
    for number in (1, 2, 3, 4):
        snapshot = Snapshot.of(state(number, model()), model())
        made.write(Snapshot(number, snapshot.document, snapshot.tensors, snapshot.weights, best=1))
    assert made.steps == [1, 3, 4]


def test_one_is_too_few_to_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 2.*got 1"):
        Checkpoints(tmp_path, keep=1)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "manifest", "empty"])
def test_a_damaged_one_is_skipped_with_the_reason(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = written(tmp_path, 3, 6)
    newest = made.path(6)
    file = newest / "state.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(content[:-7])
    elif damage == "flipped":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "missing":
        file.unlink()
    elif damage == "manifest":
        (newest / "manifest.json").write_text("{}")
    else:
        for one in newest.iterdir():
            one.unlink()

    found = made.newest()
    assert found is not None
    assert found.steps == 3
    assert f"{newest}: skipped, using the one before it: " in caplog.text


def test_training_is_not_started_again_where_all_are_damaged(tmp_path: Path) -> None:
    made = written(tmp_path, 3, 6)
    for steps in (3, 6):
        (made.path(steps) / "state.json").write_text("{")
    with pytest.raises(
        CheckpointError, match=r"(?s)none of its 2 checkpoints can be read.*step-00000006.*step-00000003"
    ):
        made.newest()


def test_no_checkpoints_are_no_error(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None
    Checkpoints(tmp_path).remove()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    made = written(tmp_path, 3)
    (made.folder / "notes.txt").write_text("mine")
    (made.folder / "step-mine").mkdir()
    (made.folder / ".step-00000005.tmp-abc").mkdir()
    made.remove()
    assert sorted(path.name for path in made.folder.iterdir()) == ["notes.txt", "step-mine"]


def test_one_that_was_being_replaced_is_found(tmp_path: Path) -> None:
    made = written(tmp_path, 3)
    made.path(3).rename(made.folder / ".step-00000003.previous")
    assert made.steps == [3]
    found = made.newest()
    assert found is not None
    assert found.steps == 3


def test_an_update_made_meanwhile_does_not_reach_the_file(tmp_path: Path) -> None:
    net = model()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    may_write = threading.Event()
    made = Checkpoints(tmp_path)

    def write(snapshot: Snapshot) -> None:
        assert may_write.wait(60)
        made.write(snapshot)

    with Saver(tmp_path) as saver:
        saver.save(Snapshot.of(state(1, net), net), write)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(1)
        may_write.set()
        saver.finish()

    read = made.read(1).model
    assert read.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in read.items())


def test_tied_weights_are_copied_once(tmp_path: Path) -> None:
    net = model()
    snapshot = Snapshot.of(state(1, net), net)
    assert snapshot.weights["0.weight"] is snapshot.weights["1.weight"]
    assert snapshot.weights["0.weight"] is snapshot.tensors["model/0.weight"]
    assert snapshot.weights["0.weight"].data_ptr() != net[0].weight.data_ptr()  # type: ignore[index]  # a Sequential


def test_a_failed_save_is_told_and_the_next_one_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Checkpoints(tmp_path)
    snapshot = Snapshot.of(state(1, model()), model())

    def full(_snapshot: Snapshot) -> None:
        raise CheckpointError("the disk is full")

    saver = Saver(tmp_path)
    with caplog.at_level(logging.ERROR):
        saver.save(snapshot, full)
        saver.save(snapshot, made.write)
    assert "checkpoint after step 1 not saved; training continues: the disk is full" in caplog.text
    saver.finish()
    assert made.steps == [1]

    saver.save(snapshot, full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        saver.finish()


def test_space_is_looked_at_before_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = checkpoints.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: usage._replace(free=100))
    check_space(tmp_path, 100)
    with pytest.raises(CheckpointError, match="needs 101 bytes and 100 are free"):
        check_space(tmp_path, 101)

    written: list[Any] = []
    saver = Saver(tmp_path)
    saver.save(Snapshot.of(state(1, model()), model()), written.append)
    with pytest.raises(CheckpointError, match="bytes and 100 are free"):
        saver.finish()
    assert not written


def test_the_space_of_a_run_covers_its_files(tmp_path: Path) -> None:
    net = model()
    least, most = space_for(net, 2)
    made = written(tmp_path, 3, 6, 9)
    on_disk = sum(path.stat().st_size for path in made.folder.rglob("*.safetensors"))
    numbers = 2 * torch.get_rng_state().numel()  # not in proportion to the model, and no optimizer here
    assert least < on_disk < most + numbers + 10_000
