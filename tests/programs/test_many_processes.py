"""Training in several processes equals training in one, and ends as one whatever happens to one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import many_processes
import pytest
import torch
from many_processes import BAD, CASES, CONTEXT, HALF, SHARDED, STAGES, STEPS, TENSOR, Found

import sightweave
from sightweave.programs.training.world import World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
TESTS = Path(many_processes.__file__).parent
LIMIT = 1800.0
"""Seconds after which processes that still run are killed, so that a deadlock fails; no test waits for it."""
TRAININGS = ("adamw", "muon", "accumulation", "packing", "mixed", "stages", "bad", "validated")
GROUPED = {"tensor": TENSOR, "context": CONTEXT}
SIZES = (2, pytest.param(4, marks=pytest.mark.slow))


def environment() -> dict[str, str]:
    path = os.pathsep.join(map(str, (Path(sightweave.__file__).parents[1], TESTS)))
    found = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return found | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})


def started(command: list[str], limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
    """Runs a command in a group of its own, all of which is killed at the limit."""
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaints = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, complaints = process.communicate()
        pytest.fail(f"processes that wait for one another for ever: {complaints}")
    return subprocess.CompletedProcess(command, process.returncode, said, complaints)


def run(folder: Path, size: int, *names: str) -> subprocess.CompletedProcess[str]:
    return started([sys.executable, many_processes.__file__, str(folder), str(size), *names])


def read(folder: Path, size: int, name: str) -> list[Found]:
    return [json.loads((folder / str(rank) / f"{name}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module", params=SIZES)
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, alone: tuple[Path, Any]
) -> tuple[Path, int]:
    """What every process found in every case."""
    folder = tmp_path_factory.mktemp(f"{request.param}-processes")
    (folder / "alone").symlink_to(alone[0])
    done = run(folder, request.param, *CASES)
    errors = [one.read_text() for one in folder.glob("*/error")]
    assert (done.returncode, errors) == (0, []), done.stderr
    return folder, request.param


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Found]]:
    """What a single process finds, and its folder."""
    folder = tmp_path_factory.mktemp("alone")
    found: dict[str, Found] = {}
    for name in ("gradients", *TRAININGS):
        (folder / name).mkdir()
        found[name] = json.loads(json.dumps(CASES[name](folder / name, World())))
    return folder, found


def assert_rows(found: list[list[float]], expected: list[list[float]]) -> None:
    """The same losses and norms of the gradient, up to rounding."""
    assert len(found) == len(expected)
    for (loss, norm), (other_loss, other_norm) in zip(found, expected, strict=True):
        assert loss == pytest.approx(other_loss, abs=1e-5, rel=1e-6)
        assert norm == pytest.approx(other_norm, rel=1e-5)


def test_gradients_are_those_of_one_process(
    many: tuple[Path, int], alone: tuple[Path, dict[str, Found]]
) -> None:
    folder, size = many
    one, ranks = dict(alone[1]["gradients"]), read(folder, size, "gradients")
    has_images = [found.pop("has_images") for found in ranks]
    assert {True, False} == {one for found in has_images for one in found}
    assert len({tuple(found) for found in has_images}) > 1, "no process with text only beside one with images"
    assert all(found == ranks[0] for found in ranks)
    assert ranks[0].pop("initial") == one.pop("initial")
    one.pop("has_images", None)
    assert one.keys() == ranks[0].keys()
    for name, expected in one.items():
        assert ranks[0][name] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("name", TRAININGS)
def test_losses_do_not_depend_on_the_number_of_processes(
    many: tuple[Path, int], alone: tuple[Path, dict[str, Found]], name: str
) -> None:
    folder, size = many
    one, first = alone[1][name], read(folder, size, name)[0]
    assert len(first["rows"]) == STEPS
    assert_rows(first["rows"], one["rows"])
    assert one["rows"][-1][0] < one["rows"][0][0] - 0.5, "nothing was learnt"
    assert first["sums"] == pytest.approx(one["sums"], rel=1e-4)


@pytest.mark.parametrize("name", TRAININGS)
def test_every_step_trains_on_the_same_samples(
    many: tuple[Path, int], alone: tuple[Path, dict[str, Found]], name: str
) -> None:
    folder, size = many
    one, first = alone[1][name], read(folder, size, name)[0]
    # Where an epoch ends inside a batch, an image can come twice. One process then reads its tokens once.
    hidden = {"weights": "", **({"tokens": 0} if name == "bad" else {})}
    strip = [save | hidden for save in one["saves"]]
    assert [save | hidden for save in first["saves"]] == strip
    assert len(strip) >= STEPS
    assert strip[0]["samples"] > strip[0]["pictures"] or name == "stages"


@pytest.mark.parametrize("name", STAGES)
def test_a_training_resumes_on_another_number_of_processes(
    many: tuple[Path, int], alone: tuple[Path, dict[str, Found]], name: str, tmp_path: Path
) -> None:
    """From one to several, from several to as many, and from several to one: as if it had never stopped."""
    folder, size = many
    expected = alone[1][name]
    first = read(folder, size, "resumed")[0]
    on_one = many_processes.resume(name, folder / name, tmp_path, World())
    again = [first[f"{name} of alone"], first[f"{name} of {folder.name}"], json.loads(json.dumps(on_one))]
    for found in again:
        assert_rows(found["rows"], expected["rows"][HALF:])
        later = [{**save, "weights": ""} for save in found["saves"]]
        assert later == [{**save, "weights": ""} for save in expected["saves"][HALF:]]
    assert first[f"{name} of {folder.name}"]["weights"] == read(folder, size, name)[0]["weights"]


@pytest.mark.parametrize("name", [*TRAININGS, "bad_windows", "dropout"])
def test_all_processes_hold_the_same_bits_and_only_the_first_saves(many: tuple[Path, int], name: str) -> None:
    first, *others = read(*many, name)
    for other in others:
        assert (other["rows"], other["saves"]) == ([], [])
        ignored = {"rows", "saves", "seed"}
        assert {k: v for k, v in other.items() if k not in ignored} == {
            k: v for k, v in first.items() if k not in ignored
        }
    assert first["saves"][-1]["weights"] == first["weights"]


def test_random_numbers_differ_between_processes(many: tuple[Path, int]) -> None:
    assert len({found["seed"] for found in read(*many, "dropout")}) == many[1]


@pytest.mark.parametrize("name", ["bad", "bad_windows"])
def test_bad_images_are_counted_once_and_by_all(many: tuple[Path, int], name: str) -> None:
    folder, size = many
    for found in read(folder, size, name):
        assert list(found["left_out"].values()) == [len(BAD)]
        assert found["distinct"] == 24 - len(BAD)
        assert (found["pictures"] == STEPS * 8) == (
            name == "bad"
        )  # in a window they leave their places empty
    rows = [json.loads(line) for line in (folder / name / "quarantine.jsonl").read_text().splitlines()]
    assert sorted(row["picture"] for row in rows) == sorted(f"bad-{number}" for number in BAD)


def test_a_loss_that_is_not_finite_in_one_process_stops_all_with_one_message(many: tuple[Path, int]) -> None:
    found = read(*many, "not_finite")
    assert len({one["error"] for one in found}) == 1
    assert "step 2: loss nan" in found[0]["error"]
    assert [one["is_reported"] for one in found] == [False] + [True] * (many[1] - 1)
    assert {one["steps"] for one in found} == {2}
    assert {one["weights"] for one in found} == {found[0]["saves"][-1]["weights"]}


def test_a_signal_to_one_process_stops_all_at_the_same_step(many: tuple[Path, int]) -> None:
    found = read(*many, "stopped")
    assert {(one["interrupted"], one["signal"], one["steps"]) for one in found} == {(True, signal.SIGTERM, 3)}
    assert [save["steps"] for save in found[0]["saves"]] == [3]
    assert {one["weights"] for one in found} == {found[0]["saves"][-1]["weights"]}


def test_processes_with_other_data_are_refused(many: tuple[Path, int]) -> None:
    for found in read(*many, "other_data"):
        assert "the training data differs between the processes" in found["error"]
        assert "process 1" in found["error"]


def test_processes_talk(many: tuple[Path, int]) -> None:
    size = many[1]
    total = size * (size - 1) / 2
    for found in read(*many, "talk"):
        assert found["sum"] == [total, size / 2, float("inf")]
        assert found["mean"] == total / size
        assert found["agree"] == [False, True]
        assert found["gather"] == ["é" * rank for rank in range(size)]
        assert found["from_first"] == {"rank": 0}
        assert found["add_up"] == [[[total] * 3] * 2, [float(size)] * 5, [float(size)]]
        assert found["copy"] == [[True], 0, [[0.0, 0.0], [0.0, 0.0]]]
        assert found["order"][0] == "0"
        assert sorted(found["order"]) == [str(rank) for rank in range(size)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("killed", -signal.SIGKILL),
        ("killed_sharded", -signal.SIGKILL),
        ("killed_tensor", -signal.SIGKILL),
        ("killed_context", -signal.SIGKILL),
        ("killed_while_others_wait", -signal.SIGKILL),
        ("hung", None),
    ],
)
def test_a_process_that_dies_or_hangs_ends_the_others(name: str, code: int | None, tmp_path: Path) -> None:
    done = run(tmp_path, 2, name)
    assert done.returncode == 1
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["0"] == 1
    if code is not None:
        assert status["1"] == code
    error = (tmp_path / "0" / "error").read_text()
    assert error.startswith("OtherProcessError: process 0 of 2 could not")
    assert (
        "another process stopped, hangs for more than mesh.timeout" in error or "within mesh.timeout" in error
    )


@pytest.fixture(scope="module")
def alone_with_vit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What a single process finds in the cases with sharded weights."""
    found: dict[str, Found] = {}
    for name, case in SHARDED.items():
        found[name] = json.loads(json.dumps(case(tmp_path_factory.mktemp(name), World())))
    return found


@pytest.fixture(scope="module", params=SIZES)
def sharded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Found]]:
    """What every process found with sharded weights: in all cases, or in two cases if there are many processes."""
    folder, size = tmp_path_factory.mktemp(f"{request.param}-sharded"), request.param
    names = list(SHARDED) if size == 2 else ["sharded_gradients", "sharded_muon"]
    done = run(folder, size, *names)
    errors = [one.read_text() for one in folder.glob("*/error")]
    assert (done.returncode, errors) == (0, []), done.stderr
    return {name: read(folder, size, name) for name in names}


def test_gradients_of_sharded_weights_are_those_of_one_process(
    sharded: dict[str, list[Found]], alone_with_vit: dict[str, Found]
) -> None:
    one, (first, *others) = dict(alone_with_vit["sharded_gradients"]), sharded["sharded_gradients"]
    has_images = [found.pop("has_images") for found in (first, *others)]
    del one["has_images"]
    assert any(other != has_images[0] for other in has_images), (
        "no process with text only beside one with images"
    )
    assert first["initial"] == one["initial"], "other initial weights"
    assert all(other == first for other in others)

    assert one.keys() == first.keys()
    for name in one.keys() - {"initial"}:
        assert first[name] == pytest.approx(one[name], abs=1e-6), name


def test_losses_of_sharded_weights_are_those_of_one_process(
    sharded: dict[str, list[Found]], alone_with_vit: dict[str, Found]
) -> None:
    for name in sharded.keys() - {"sharded_gradients"}:
        one, (first, *others) = alone_with_vit[name], sharded[name]
        assert_rows(first["rows"], one["rows"])
        assert first["sums"] == pytest.approx(one["sums"], rel=1e-4)
        for found, expected in zip(first["validations"], one["validations"], strict=True):
            assert found == {**expected, "loss": pytest.approx(expected["loss"], abs=1e-5)}
        assert [save["samples"] for save in first["saves"]] == [save["samples"] for save in one["saves"]]
        for other in others:  # each saves its share
            assert other["saves"] == first["saves"]
            assert other["weights"] == first["weights"]


KINDS = ("tensor", "context")
"""How the two processes of a group divide the work: the language model, or the tokens."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def alone_with_groups(kind: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What a single process finds in the cases of groups."""
    found: dict[str, Found] = {}
    for name, case in GROUPED[kind].items():
        found[name] = json.loads(json.dumps(case(tmp_path_factory.mktemp(name), World())))
    return found


@pytest.fixture(scope="module", params=SIZES)
def grouped(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Found]]:
    """What every process found in groups of two: in all cases, or in two cases if there are two groups."""
    folder, size = tmp_path_factory.mktemp(f"{request.param}-{kind}"), request.param
    names = list(GROUPED[kind]) if size == 2 else [f"{kind}_gradients", f"{kind}_muon"]
    done = run(folder, size, *names)
    errors = [one.read_text() for one in folder.glob("*/error")]
    assert (done.returncode, errors) == (0, []), done.stderr
    return {name: read(folder, size, name) for name in names}


def test_gradients_of_groups_are_those_of_one_process(
    kind: str, grouped: dict[str, list[Found]], alone_with_groups: dict[str, Found]
) -> None:
    one, ranks = dict(alone_with_groups[f"{kind}_gradients"]), grouped[f"{kind}_gradients"]
    del one["has_images"]
    images = [found.pop("has_images") for found in ranks]
    assert images[::2] == images[1::2], "processes of one group read other samples"
    assert all(found == ranks[0] for found in ranks)

    assert one.keys() == ranks[0].keys()
    for name, expected in one.items():
        found = ranks[0][name]
        assert found == (expected if name == "initial" else pytest.approx(expected, abs=1e-6)), name


def test_losses_of_groups_are_those_of_one_process(
    kind: str, grouped: dict[str, list[Found]], alone_with_groups: dict[str, Found]
) -> None:
    for name in grouped.keys() - {f"{kind}_gradients"}:
        one, (first, *others) = alone_with_groups[name], grouped[name]
        assert_rows(first["rows"], one["rows"])
        assert first["sums"] == pytest.approx(one["sums"], rel=1e-4)
        for found, expected in zip(first["validations"], one["validations"], strict=True):
            assert found == {**expected, "loss": pytest.approx(expected["loss"], abs=1e-5)}
        for save, expected in zip(first["saves"], one["saves"], strict=True):
            # Where an epoch ends inside a batch, an image can come twice. One process then reads its tokens once.
            ignored = {"weights": "", "tokens": 0}
            assert save | ignored == expected | ignored
        for other in others:
            assert other["weights"] == first["weights"]


OPTIMIZER = {"name": "muon", "muon_lr": 1e-3, "eps": 1e-4}
"""Both optimizers. Muon at its default rate of 0.02 would enlarge rounding errors to over 1e-5 within six steps."""

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def recipe_of(folder: Path, steps: int) -> dict[str, Any]:
    """The recipe of a tiny run on a few pictures, which are written into the folder."""
    write_pictures(folder / "data")
    return {
        "data": {"kind": "own", "path": str(folder / "data")},
        "model": {
            "encoder": {"kind": "cnn", "image_size": 16, "channels": [4, 8], "blocks": [0, 0]},
            "connector": "linear",
            "fusion": "concat",
            "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
        },
        "inputs": {"vocab_size": 280},
        "train": {
            "stages": [{"steps": steps, "batch_size": 2}],
            "device": "cpu",
            "precision": "fp32",
            "log_every": 1,
            "save_every": 2,
            "check": False,
        },
        "evaluate": {"controls": [], "max_tokens": 4},
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sharded_run", "tensor_run", "context_run"])
def test_a_run_of_any_mesh_resumes_on_any_number_of_processes(name: str, tmp_path: Path) -> None:
    """Two processes begin it; four of such a mesh and a single one each go on, as if it had never stopped."""
    recipe = recipe_of(tmp_path, steps=6)
    recipe["train"]["stages"][0] |= {"batch_size": 4, "ema": 0.5, "optimizer": OPTIMIZER}
    recipe["model"]["encoder"] = {
        "kind": "vit",
        "image_size": 16,
        "patch_size": 8,
        "dim": 16,
        "depth": 1,
        "num_heads": 2,
    }
    is_split = name != "context_run"
    folders = {size: tmp_path / str(size) / name for size in (2, 4)}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(json.dumps(recipe))

    # Two processes stop early.
    (folders[2] / "stops").touch()
    done = run(tmp_path / "2", 2, name)
    errors = [one.read_text() for one in tmp_path.glob("*/*/error")]
    assert (done.returncode, errors) == (0, []), done.stderr
    for rank, found in enumerate(read(tmp_path / "2", 2, name)):
        assert found == {
            "rank": rank,
            "expected": rank,
            "is_empty": rank > 0 and is_split,
            "is_interrupted": True,
        }
    state = folders[2] / "run" / "checkpoints" / "step-00000003"
    shares = [f"state-0000{number}-of-00002.safetensors" for number in (1, 2)]
    expected_files = shares if is_split else ["state.safetensors"]
    assert sorted(one.name for one in state.glob("*.safetensors")) == expected_files
    shutil.copytree(folders[2] / "run", folders[4] / "run")
    shutil.copytree(folders[2] / "run", tmp_path / "on-one")

    # Four go on, and one.
    done = run(tmp_path / "4", 4, name)
    errors = [one.read_text() for one in tmp_path.glob("*/*/error")]
    assert (done.returncode, errors) == (0, []), done.stderr
    sightweave.train(recipe, out=tmp_path / "on-one", evaluate=False)
    expected = sightweave.train(recipe, out=tmp_path / "whole", evaluate=False)

    losses, models = [], []
    for folder in (tmp_path / "whole", tmp_path / "on-one", folders[4] / "run"):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows])
        models.append(sightweave.load(folder))
    assert len(losses[0]) == 6
    for other, model in zip(losses[1:], models[1:], strict=True):
        assert other == pytest.approx(losses[0], abs=1e-5)
        for name, value in expected.model.state_dict().items():
            assert torch.allclose(model.model.state_dict()[name], value, atol=1e-5), name
        image = next((tmp_path / "data").glob("*.png"))
        said, should_say = [one.generate(image, "What is it?") for one in (model, expected)]
        assert said.text == should_say.text
        assert said.logprob == pytest.approx(should_say.logprob, abs=1e-4)


@pytest.mark.slow
def test_torchrun_trains_with_one_line_changed(tmp_path: Path) -> None:
    """The whole command: one run folder, scored by the first process after the others have left."""
    (tmp_path / "recipe.json").write_text(json.dumps(recipe_of(tmp_path, steps=3)))
    train = ["-m", "sightweave", "train", str(tmp_path / "recipe.json"), "--out", str(tmp_path / "run")]
    done = started([sys.executable, *TORCHRUN, *train, "mesh.dp=2", "--json"])
    assert done.returncode == 0, done.stderr
    (result,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert result["splits"]
    facts: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["steps"], facts["pictures_shown"], facts["interrupted"]) == (3, 6, False)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    refused = started([sys.executable, *train, "mesh.dp=2"])
    assert refused.returncode == 1
    assert "mesh.dp is 2, but 1 process(es) were started (WORLD_SIZE)" in refused.stderr


KILLED_ONCE = """
import os, signal, sys
from pathlib import Path
import sightweave

folder = Path(sys.argv[1])

def kill_once(now):
    if now.step == 5 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)

for name, progress in (("killed-once", kill_once), ("whole", False)):
    run = sightweave.train(folder / "recipe.json", "mesh.dp=2", out=folder / name, evaluate=False, progress=progress)
    assert run.rank == int(os.environ["RANK"]), run.rank
    assert not run.is_interrupted
"""


@pytest.mark.slow
def test_torchrun_restarts_a_killed_run_which_resumes(tmp_path: Path) -> None:
    """A killed process and the others are started again, and end with the bits of a run that never stopped."""
    (tmp_path / "recipe.json").write_text(json.dumps(recipe_of(tmp_path, steps=6)))
    (tmp_path / "train.py").write_text(KILLED_ONCE)
    command = [*TORCHRUN, "--max-restarts", "1", str(tmp_path / "train.py"), str(tmp_path)]
    done = started([sys.executable, *command])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()

    rows, weights = [], []
    for name in ("killed-once", "whole"):
        folder = tmp_path / name
        log = (folder / "metrics.jsonl").read_text().splitlines()
        rows.append([json.loads(line)["loss"] for line in log])
        weights.append((folder / "checkpoint" / "model.safetensors").read_bytes())
    assert len(rows[0]) == 6
    assert rows[0] == rows[1]
    assert weights[0] == weights[1]
    resumed = json.loads((tmp_path / "killed-once" / "run.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] in ([2], [4])


def write_pictures(folder: Path) -> None:
    """Writes a few pictures of noise, and questions about them."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rows = []
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "test" if number > 5 else "train"
        rows.append({"image": f"{number}.png", "question": "What is it?", "answer": "red", "split": split})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
