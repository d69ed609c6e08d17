"""Kills a training at random moments, resumes it, and compares it with one that was never stopped.

    python -m benchmarks.kills [--kills 100] [--seed 0]

Each small recipe is trained once without a stop. Then it is trained again and again: a process is killed with SIGKILL at a
random moment after its training began, and the same call resumes it, until the run is complete. Every step that any process
made must have the sample ids, the loss and the gradient norm of the run that was never stopped, to the last bit; weights,
optimizer and random states must have the same hashes at the end of every stage.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TRACE = "trace.jsonl"
"""File next to a run's folder, to which each of its processes appends what it did."""
_IMAGES = 14
_LIMIT = 600
"""Seconds after which a process is taken for stuck."""

_CNN = {"kind": "cnn", "image_size": 16, "channels": [4, 8], "blocks": [0, 0], "norm": "batch"}
_VIT = {"kind": "vit", "image_size": 16, "patch_size": 8, "dim": 16, "depth": 1, "num_heads": 2}
_FSQ = {"kind": "fsq", "image_size": 16, "levels": [4, 3], "channels": 4, "max_channels": 8}
_DECODER = {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2, "dropout": 0.1}
_PACKED = {"batch_size": 2, "gradient_accumulation_steps": 2, "pack_to": 120, "pack_window": 3}


def _recipe(data: Sequence[Any], *stages: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    model = {"encoder": _CNN, "connector": "linear", "fusion": "concat", "language_model": _DECODER}
    train = {"num_threads": 1, "precision": "fp32", "save_every": 3, "log_every": 2, "check": False}
    return {
        "data": list(data),
        "model": model | more.get("model", {}),
        "inputs": {"vocab_size": 280} | more.get("inputs", {}),
        "train": train | {"stages": list(stages)} | more.get("train", {}),
    }


def recipes(data: Path) -> dict[str, dict[str, Any]]:
    """Small recipes that cover what a resume must restore, by name; `data` is a folder that `make_data` filled."""
    rows, shards = str(data / "rows"), str(data / "shards")
    mixed = [
        {"kind": "own", "path": rows, "weight": 2},
        {"kind": "own", "path": str(data / "more"), "weight": 1},
    ]
    return {
        # Ten steps of two batches of two images: the second epoch begins in the middle of a step's microsteps.
        "accumulation over epochs": _recipe(
            [rows], {"steps": 10, "batch_size": 2, "gradient_accumulation_steps": 2}
        ),
        "windows, then muon": _recipe(
            [rows],
            {"steps": 5, "name": "one", **_PACKED},
            {"steps": 5, "name": "two", "batch_size": 2, "optimizer": {"name": "muon"}},
            train={"num_workers": 3},
        ),
        "words, then mixed sources": _recipe(
            mixed,
            {"steps": 4, "name": "one", "batch_size": 2, "learn": "words", "words": "captions"},
            {"steps": 6, "name": "two", "batch_size": 3, "augment": True, "hide_images": 0.3},
            inputs={"augment": "shift"},
        ),
        "image tokens, then answers": _recipe(
            [rows],
            {
                "steps": 4,
                "name": "one",
                "batch_size": 3,
                "learn": "image_tokens",
                "parts": ["image_tokenizer"],
                "augment": True,
            },
            {"steps": 4, "name": "two", "batch_size": 3},
            model={"image_tokenizer": _FSQ},
            inputs={"augment": "shift"},
        ),
        "cached features, then all": _recipe(
            [rows],
            {
                "steps": 5,
                "name": "one",
                "batch_size": 3,
                "parts": ["connector", "language_model"],
                "cache_features": 1,
            },
            {"steps": 5, "name": "two", "batch_size": 3},
            model={"encoder": _VIT, "fusion": "cross_attention"},
            train={"num_workers": 1},
        ),
        "shards and tiles": _recipe(
            [{"kind": "webdataset", "path": shards}],
            {"steps": 9, "batch_size": 2, "samples_per_image": 1},
            inputs={"max_tiles": 2},
            train={"num_workers": 2},
        ),
        "adapters between two stages": _recipe(
            [rows],
            {
                "steps": 4,
                "name": "one",
                "batch_size": 2,
                "lora": {"language_model": {"rank": 2, "dropout": 0.2}},
            },
            {"steps": 4, "name": "two", "batch_size": 2},
            {"steps": 4, "name": "three", "batch_size": 2, "lora": {"language_model": {"rank": 2}}},
        ),
        "a quantized part": _recipe(
            [rows],
            {"steps": 4, "name": "one", "batch_size": 2, "parts": ["encoder", "connector"]},
            {"steps": 5, "name": "two", "batch_size": 2, "lora": {"language_model": {"rank": 2}}},
            train={"quantize": {"language_model": "nf4"}},
        ),
    }


def make_data(folder: Path) -> None:
    """Two folders of images with questions and captions, one of them with an unreadable image, and two tar files."""
    import numpy as np
    from PIL import Image

    draws = np.random.default_rng(0)
    for name, count in (("rows", _IMAGES), ("more", 5)):
        (folder / name).mkdir(parents=True)
        lines = []
        for number in range(count):
            image = f"{number}.png"
            Image.fromarray(draws.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(folder / name / image)
            for kind in ("bright", "dark", "large"):
                lines.append(
                    {"image": image, "question": f"How {kind}?", "answer": str(number % 5), "split": "train"}
                )
            lines.append({"image": image, "caption": f"an image of {number % 3} things", "split": "train"})
        if name == "rows":
            (folder / name / "5.png").write_bytes(b"not an image")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name / "data.jsonl").write_text(text, encoding="utf-8")

    (folder / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(folder / "shards" / f"train-{shard:04d}.tar", "w") as archive:
            for number in range(6):
                made = io.BytesIO()
                Image.fromarray(draws.integers(0, 256, (16, 40, 3), dtype=np.uint8)).save(made, "PNG")
                for suffix, value in (("png", made.getvalue()), ("txt", f"things of kind {number}".encode())):
                    entry = tarfile.TarInfo(f"{shard}{number}.{suffix}")
                    entry.size = len(value)
                    archive.addfile(entry, io.BytesIO(value))


# What runs in the process that is killed.


@contextlib.contextmanager
def recording(out: Path, *, began: Any = lambda: None, counted: Any = lambda _steps: None) -> Iterator[None]:
    """Appends every step, checkpoint and end of a stage of the training inside to a file next to the run's folder.

    Args:
        out: The run's folder.
        began: Called when the training begins.
        counted: Called after each step, with the number of steps so far.
    """
    from sightweave.programs.training.checkpoints import Checkpoints
    from sightweave.programs.training.state import random_states
    from sightweave.programs.training.trainer import Trainer

    trace = out.with_name(f"{out.name}-{TRACE}").open("a", encoding="utf-8")
    run, count, end_stage, write = Trainer.run, Trainer._count, Trainer._end_stage, Checkpoints.write
    optimizers: list[Any] = []

    def note(row: Mapping[str, Any]) -> None:
        trace.write(json.dumps(row) + "\n")
        trace.flush()

    def noted_run(self: Any, **options: Any) -> Any:
        note({"resumed": self.state.steps})
        began()
        return run(self, **options)

    def noted_count(self: Any, work: Any, microsteps: Any, loss: float, norm: float) -> None:
        count(self, work, microsteps, loss, norm)
        optimizers[:] = [work.optimizer]
        ids = [list(one.ids) for one in microsteps]
        note({"step": self.state.steps, "ids": ids, "loss": loss.hex(), "norm": norm.hex()})
        counted(self.state.steps)

    def noted_end(self: Any, *values: Any) -> None:
        for optimizer in optimizers:  # none if the run was resumed after the last step of the stage
            parts = {"weights": self.model.state_dict(), "optimizer": optimizer.state_tensors()}
            parts["random"] = random_states(self.precision.device)
            note({"stage": self.state.stage} | {name: digest(one) for name, one in parts.items()})
        optimizers.clear()
        end_stage(self, *values)

    def noted_write(self: Any, snapshot: Any) -> None:
        write(self, snapshot)
        note({"saved": snapshot.steps})

    Trainer.run, Trainer._count, Trainer._end_stage = noted_run, noted_count, noted_end  # type: ignore[method-assign]
    Checkpoints.write = noted_write  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.run, Trainer._count, Trainer._end_stage = run, count, end_stage  # type: ignore[method-assign]
        Checkpoints.write = write  # type: ignore[method-assign]
        trace.close()


def _child(order: Mapping[str, Any]) -> None:
    """Trains, and kills itself where the order says so."""
    import sightweave

    out = Path(order["out"])

    def began() -> None:
        if "seconds" in order:
            threading.Timer(order["seconds"], _die).start()
        if "event" in order:
            _die_at(order["event"], out)

    def counted(steps: int) -> None:
        if steps == order.get("step"):
            _die()

    with recording(out, began=began, counted=counted):
        sightweave.train(order["recipe"], out=out, evaluate=False, progress=False)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(event: int, folder: Path) -> None:
    """Kills the process at the n-th time that it opens, renames or removes something in a folder."""
    seen = 0

    def hook(name: str, values: tuple[Any, ...]) -> None:
        nonlocal seen
        if name not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        if values and str(values[0]).startswith(str(folder)) and "-trace" not in str(values[0]):
            seen += 1
            if seen == event:
                _die()

    sys.addaudithook(hook)


def digest(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over names and values of tensors."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:16]


# What runs here.


@dataclass
class Trace:
    """What the processes of one run did."""

    steps: dict[int, set[str]] = field(default_factory=dict)
    """Everything that was recorded of each step: one value if all processes agree."""
    stages: dict[int, set[str]] = field(default_factory=dict)
    """The same at the end of each stage."""
    resumed: list[int] = field(default_factory=list)
    """Number of steps at which each process began."""
    saved: list[int] = field(default_factory=list)
    """Number of steps of each checkpoint that was written."""

    @classmethod
    def read(cls, out: Path) -> Trace:
        """The trace of a run; a line that a kill cut off is left out."""
        found = cls()
        for line in out.with_name(f"{out.name}-{TRACE}").read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if "step" in row:
                    found.steps.setdefault(row.pop("step"), set()).add(json.dumps(row))
                elif "stage" in row:
                    found.stages.setdefault(row.pop("stage"), set()).add(json.dumps(row))
                elif "saved" in row:
                    found.saved.append(row["saved"])
                else:
                    found.resumed.append(row["resumed"])
        return found

    def differences(self, other: Trace) -> Iterator[str]:
        """Where two traces differ."""
        for what in ("steps", "stages"):
            one, two = getattr(self, what), getattr(other, what)
            for number in sorted(one.keys() | two.keys()):
                if one.get(number) != two.get(number):
                    yield f"{what[:-1]} {number}: {one.get(number)} and {two.get(number)}"


def process(recipe: Mapping[str, Any], out: Path, **kill: Any) -> int:
    """Trains in a process of its own; returns its exit status, which is -9 if it was killed.

    Args:
        recipe: The recipe.
        out: The run's folder; files next to it record what happened.
        kill: One of ``step=`` (after that step), ``seconds=`` (after the training began) and ``event=`` (the n-th time that
            a file or folder of the run is opened, renamed or removed).

    Raises:
        RuntimeError: the process failed in another way.
    """
    order = json.dumps({"recipe": recipe, "out": str(out), **kill})
    begin = "import json, sys; from benchmarks import kills; kills._child(json.loads(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", begin, order],
        cwd=out.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{out}: exit status {done.returncode}\n{done.stderr}")
    return done.returncode


def rows(out: Path) -> list[dict[str, Any]]:
    """The rows of the log, without times."""
    found = []
    for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.append({name: row[name] for name in ("step", "stage", "loss", "grad_norm", "lr")})
    return found


def compare(whole: Path, other: Path) -> list[str]:
    """Everything in which two complete runs differ."""
    found = list(Trace.read(whole).differences(Trace.read(other)))
    if rows(whole) != rows(other):
        found.append(f"rows: {rows(whole)} and {rows(other)}")
    for name in ("checkpoint/model.safetensors", "quarantine.jsonl"):
        one, two = whole / name, other / name
        if one.exists() != two.exists() or (one.exists() and one.read_bytes() != two.read_bytes()):
            found.append(f"{name} differs")

    facts = [json.loads((out / "run.json").read_text(encoding="utf-8")) for out in (whole, other)]
    for name in (
        "steps",
        "interrupted",
        "samples_shown",
        "tokens_shown",
        "distinct_pictures_shown",
        "left_out",
    ):
        if facts[0][name] != facts[1][name]:
            found.append(f"run.json: {name} is {facts[0][name]} and {facts[1][name]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="number of kills in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments (default: 0)")
    options = parser.parse_args()
    draws = random.Random(options.seed)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        kinds = recipes(folder)
        for number, recipe in enumerate(kinds.values()):
            process(recipe, folder / f"whole-{number}")

        killed = same = runs = 0
        while killed < options.kills:
            number = runs % len(kinds)
            recipe, whole, out = (
                list(kinds.values())[number],
                folder / f"whole-{number}",
                folder / f"run-{runs}",
            )
            facts = json.loads((whole / "run.json").read_text(encoding="utf-8"))
            deaths = 0
            # One to three kills in each run; the last process is left alone.
            for _ in range(draws.randint(1, 3)):
                moment = {"seconds": draws.uniform(0, 1.2 * facts["training_seconds"] + 0.2)}
                if draws.random() < 0.5:
                    moment = {"event": draws.randint(1, 150)}
                deaths += process(recipe, out, **moment) != 0
            process(recipe, out)

            differences = compare(whole, out)
            killed, runs, same = killed + deaths, runs + 1, same + (not differences)
            print(
                f"{list(kinds)[number]}: {deaths} kills, resumed after {Trace.read(out).resumed[1:]}",
                flush=True,
            )
            for difference in differences:
                print(f"  {difference}", flush=True)
            shutil.rmtree(out)
        print(
            f"{killed} kills in {runs} runs; {same} of {runs} runs are identical to those that were never stopped"
        )
    sys.exit(same != runs)


if __name__ == "__main__":
    main()
