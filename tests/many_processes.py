"""Trains a tiny model in several processes of this machine, in every way that a case names; tests start it as a program.

``python many_processes.py FOLDER SIZE CASE...`` imports once, forks the processes, and writes what each of them found into
``FOLDER/RANK/CASE.json``. With one process, it can also be called inside a test: what it finds is what several must find.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from contracts._compose import Case, compose, picture
from safetensors.torch import load_file, save_file
from torch import Tensor

import sightweave
from sightweave.core import catalog
from sightweave.core.device import Precision
from sightweave.core.errors import SightweaveError
from sightweave.core.types import Medium
from sightweave.data.tasks import captioning, vqa
from sightweave.models.parts import PART_NAMES
from sightweave.models.vlm import VLM
from sightweave.programs.training.checkpoints import Checkpoints, Snapshot
from sightweave.programs.training.logs import read_metrics
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.schedule import ScheduleConfig
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import State
from sightweave.programs.training.trainer import Ending, Storage, Trainer, TrainingData
from sightweave.programs.training.work import Work
from sightweave.programs.training.world import Mesh, World, opened

TASKS = {name: catalog.config_class("data.tasks", name)().build() for name in catalog.kinds("data.tasks")}
STEPS, HALF = 20, 7
OTHER = "compare this picture with that one"
"""A text that training does not show."""
TIMEOUT = 300.0
Found = dict[str, Any]


class Pictures:
    """Pictures with one or two questions and answers of several lengths; some cannot be read."""

    def __init__(
        self,
        size: int = 24,
        *,
        first: int = 0,
        bad: frozenset[int] = frozenset(),
        name: str = "",
        answers: tuple[str, ...] = ("red", "a blue box", "two"),
        caption: str = "it is blue , a blue box",
    ) -> None:
        self.caption = caption
        self.size, self.first, self.bad, self.name, self.answers = size, first, bad, name, answers

    def __len__(self) -> int:
        return self.size

    @property
    def fingerprint(self) -> str:
        return f"{self.size} pictures{self.name}"

    def __getitem__(self, index: int) -> list[Any]:
        image = (
            Medium(b"no picture", key=f"bad-{index}") if index in self.bad else picture(self.first + index)
        )
        said = self.answers[index % len(self.answers)]
        asked = vqa.Record(id=f"{index}.1", images=(image,), question="what ?", answers=(said,))
        caption = captioning.Record(id=f"{index}.2", images=(image,), captions=(self.caption,))
        return [asked, caption] if index % 4 == 0 else [asked]

    def texts(self) -> Iterator[str]:
        yield "red"


def stage(**fields: Any) -> Stage:
    optimizer = OptimizerConfig(**{"lr": 1e-3, "eps": 1e-4} | fields.pop("optimizer", {}))
    schedule = ScheduleConfig(name="cosine", warmup_steps=2)
    return Stage(**{"steps": STEPS, "batch_size": 4, "optimizer": optimizer, "schedule": schedule} | fields)


class Training:
    """One training, and what it found."""

    def __init__(
        self,
        folder: Path,
        world: World,
        *stages: Stage,
        bad: frozenset[int] = frozenset(),
        name: str = "",
        case: str = "concat",
        encoder: str = "cnn",
        save_every: int = 1,
        language_model: dict[str, Any] | None = None,
        state: State | None = None,
        validation: Pictures | None = None,
        **settings: Any,
    ) -> None:
        form = "encoder_decoder" if case == "cross_attention" else "decoder_only"
        self.model, processor = compose(Case(case, (), form), encoder=encoder, language_model=language_model)
        if world.shards and not world.is_first:
            self.model.to("meta")  # its weights come from the first process
        self.folder, self.world, self.saves = folder, world, list[Found]()
        self.trainer = Trainer(
            self.model,
            processor,
            TrainingData(
                [Pictures(bad=bad, name=name)], TASKS, validation=[validation] if validation else []
            ),
            Settings(stages=stages, log_every=1, save_every=save_every, num_threads=1, **settings),
            precision=Precision("fp32", torch.device("cpu"), "for tests"),
            out=folder,
            seed=3,
            storage=Storage(save=self._save, read=self._read if validation else None),
            state=state,
            world=world,
        )

    def _save(self, state: State, model: VLM) -> None:
        self.saves.append({**counts(state), "weights": digest(model)})
        if self.world.shards:
            if state.data and self.trainer.storage.read is not None:
                self._save_share(state)
        elif state.model and (state.steps == HALF or self.trainer.storage.read is not None):
            name = "state" if state.steps == HALF else f"state-{state.steps}"
            save_file(state.to_tensors(), self.folder / f"{name}.safetensors")
            (self.folder / f"{name}.json").write_text(json.dumps(state.to_json()))

    def _save_share(self, state: State) -> None:
        checkpoints = Checkpoints(self.folder)
        if self.world.is_first:
            checkpoints.begin(state.steps)
        self.world.wait_for_first()
        snapshot = Snapshot.of(state, None)
        checkpoints.write_share(snapshot, self.world.rank, self.world.size)
        if self.world.is_first:
            checkpoints.gathered(state.steps, self.world.size, TIMEOUT)
            checkpoints.complete(snapshot, self.world.size)

    def _read(self, steps: int) -> State:
        if self.world.shards:
            return Checkpoints(self.folder).read(steps)
        return read_state(self.folder / ("state" if steps == HALF else f"state-{steps}"))

    def run(self) -> Ending:
        return self.trainer.run()

    def found(self) -> Found:
        """Counts and hashes of this process, and the rows of the log in the first one."""
        log = self.folder / "metrics.jsonl"
        rows = [(row["loss"], row["grad_norm"]) for row in read_metrics(log)] if self.world.is_first else []
        return {
            "rows": rows,
            "saves": self.saves,
            "weights": digest(self.model),
            "sums": [float(whole(one.detach()).double().square().sum()) for one in self.model.parameters()],
            "validations": [asdict(one) for stage in self.trainer.state.validations for one in stage],
            **counts(self.trainer.state),
        }


def counts(state: State) -> Found:
    """What a state counts, with a hash of the pictures seen so far."""
    seen = hashlib.sha256(state.seen.to_tensor().numpy().tobytes()).hexdigest()
    return {
        "steps": state.steps,
        "samples": state.samples,
        "pictures": state.pictures,
        "tokens": state.tokens,
        "distinct": state.distinct_pictures,
        "position": [state.position, state.within],
        "seen": seen,
        "left_out": state.left_out,
        "kept": state.kept_steps,
    }


def whole(tensor: Tensor) -> Tensor:
    """All rows of a tensor, which all processes ask for together if it is sharded."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def digest(model: VLM) -> str:
    """A hash of all weights and statistics."""
    found = hashlib.sha256()
    for value in model.state_dict().values():
        found.update(whole(value.detach()).contiguous().numpy().tobytes())
    return found.hexdigest()


def trained(*stages: Stage, **fields: Any) -> Callable[[Path, World], Found]:
    def run(folder: Path, world: World) -> Found:
        training = Training(folder, world, *stages, **fields)
        training.run()
        return training.found()

    return run


def gradients(folder: Path, world: World) -> Found:
    """The gradients of one update of four microsteps, half of whose pictures are hidden."""
    return gradients_of(folder, world)


def gradients_of(folder: Path, world: World, parts: tuple[str, ...] = PART_NAMES[:4], **fields: Any) -> Found:
    one = stage(gradient_accumulation_steps=4, hide_images=0.5, length_power=0.5, z_loss=1e-4, parts=parts)
    training = Training(folder, world, one, **fields)
    trainer = training.trainer
    initial = digest(training.model)
    (feed,) = trainer.feeds
    work = Work.begin(
        training.model, feed, one, trainer.precision, spent=0.0, split=trainer.split, context=trainer.context
    )
    with contextlib.closing(
        feed.microsteps(28)
    ) as stream:  # from here on, processes with and without images meet
        steps = [next(stream) for _ in range(4)]
    loss = work.loss(steps)
    has_images = [bool(step.batch and step.batch.media) for step in steps]
    found: Found = {"loss": loss, "has_images": has_images, "initial": initial}
    for name, parameter in work.optimizer.parameters.items():
        found[name] = None if parameter.grad is None else whole(parameter.grad).flatten().tolist()
    return found


def not_finite(folder: Path, world: World) -> Found:
    """In the last process, the third step is not finite."""
    training = Training(folder, world, stage())
    after_steps(training, 2, lambda: torch.nan, only=world.size - 1)
    try:
        training.run()
    except SightweaveError as error:
        return training.found() | {"error": str(error), "is_reported": error.is_reported}
    return training.found()


def stopped(folder: Path, world: World) -> Found:
    """The last process gets a signal in its third step."""
    training = Training(folder, world, stage(), save_every=1000)

    def stop() -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    after_steps(training, 2, stop, only=world.size - 1)
    ending = training.run()
    return training.found() | {"interrupted": ending.is_interrupted, "signal": ending.stop_signal}


def ended(number: int) -> Callable[[Path, World], Found]:
    """The last process ends in its third step, or stops for ever, without a word."""

    def run(folder: Path, world: World) -> Found:
        training = Training(folder, world, stage())

        def end() -> float:
            os.kill(os.getpid(), number)
            return 1.0

        after_steps(training, 2, end, only=world.size - 1)
        training.run()
        return training.found()

    return run


def killed_while_others_wait(_folder: Path, world: World) -> Found:
    """The last process is killed where the others wait for it, which may take a day."""
    if world.rank == world.size - 1:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    world.barrier()
    return {}


def after_steps(training: Training, steps: int, factor: Callable[[], float], *, only: int) -> None:
    """In one process, calls `factor` once in the step after so many, and multiplies the embeddings by its result."""
    calls = []

    def hook(_module: Any, _given: Any, embeddings: Tensor) -> Tensor:
        calls.append(1)
        return embeddings * factor() if len(calls) == steps + 1 else embeddings

    if training.world.rank == only:
        training.model.connector.register_forward_hook(hook)


def resumed(folder: Path, world: World) -> Found:
    """Goes on from the states of earlier trainings, of this number of processes and of one process."""
    found: Found = {}
    for name in ("adamw", "accumulation", "packing"):
        for began in (folder.parent, folder.parent / "alone"):
            if (began / name / "state.json").exists():
                own = folder / name / began.name
                if world.is_first:
                    own.mkdir(parents=True)
                world.wait_for_first()
                found[f"{name} of {began.name}"] = resume(name, began / name, own, world)
    return found


def resume(name: str, began: Path, folder: Path, world: World) -> Found:
    """The rest of a training, from the state in a folder."""
    training = Training(folder, world, STAGES[name], state=read_state(began / "state"))
    training.run()
    return training.found()


def read_state(path: Path) -> State:
    return State.of(
        json.loads(path.with_suffix(".json").read_text()), load_file(path.with_suffix(".safetensors"))
    )


def other_data(folder: Path, world: World) -> Found:
    """Each process reads other data."""
    try:
        Training(folder, world, stage(), name=f" of {world.rank}")
    except SightweaveError as error:
        return {"error": str(error)}
    return {}


def talk(folder: Path, world: World) -> Found:
    """What the processes say to one another."""
    order = folder / "order"
    with world.in_turns(), order.open("a") as stream:
        stream.write(str(world.local_rank))
    world.barrier()
    tensors = [torch.full((2, 3), float(world.rank)), torch.ones(5, dtype=torch.float64), torch.ones(1)]
    world.add_up(tensors)
    mine = [torch.tensor([world.rank == 0]), torch.tensor(world.rank), torch.ones(2, 2).mul(world.rank).T]
    world.copy_from_first(mine)
    world.wait_for_first()
    return {
        "sum": world.sum([world.rank, 0.5, torch.inf]),
        "mean": world.mean(world.rank),
        "agree": [world.agree(False), world.agree(world.rank == world.size - 1)],
        "gather": world.gather("é" * world.rank),
        "from_first": world.from_first({"rank": world.rank}),
        "add_up": [one.tolist() for one in tensors],
        "copy": [one.tolist() for one in mine],
        "order": order.read_text(),
    }


def sharded_run(folder: Path, _world: World) -> Found:
    """A run with sharded weights."""
    return split_run(folder, f"mesh.dp={os.environ['WORLD_SIZE']}", "mesh.shard=true")


def tensor_run(folder: Path, _world: World) -> Found:
    """A run of groups of two processes that split the language model."""
    return split_run(folder, f"mesh.dp={int(os.environ['WORLD_SIZE']) // 2}", "mesh.tp=2")


def context_run(folder: Path, _world: World) -> Found:
    """A run of groups of two processes that split the tokens."""
    return split_run(folder, f"mesh.dp={int(os.environ['WORLD_SIZE']) // 2}", "mesh.cp=2")


def split_run(folder: Path, *mesh: str) -> Found:
    """Trains the recipe in the folder with such a mesh until step 3, or resumes what is there."""
    rank = int(os.environ["RANK"])

    def stop(now: Any) -> None:
        if now.step == 3 and (folder / "stops").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    run = sightweave.train(
        folder / "recipe.json",
        *mesh,
        out=folder / "run",
        evaluate=False,
        progress=stop,
    )
    weights = next(run.model.parameters())
    return {
        "rank": run.rank,
        "is_empty": weights.is_meta,
        "is_interrupted": run.is_interrupted,
        "expected": rank,
    }


def dropped(folder: Path, world: World) -> Found:
    """With dropout, whose random numbers differ between the processes."""
    training = Training(folder, world, stage(), language_model={"dropout": 0.2})
    training.run()
    return training.found() | {"seed": torch.initial_seed()}


STAGES = {
    "adamw": stage(),
    "accumulation": stage(gradient_accumulation_steps=3, max_grad_norm=0.1),
    "packing": stage(pack_to=150, pack_window=2, gradient_accumulation_steps=2),
}
"""Those that are resumed too."""
BAD = frozenset({1, 2, 5, 8, 11, 14, 17})
CASES: dict[str, Callable[[Path, World], Found]] = {
    "talk": talk,
    "gradients": gradients,
    "adamw": trained(STAGES["adamw"]),
    "muon": trained(stage(optimizer={"name": "muon", "muon_lr": 1e-3})),
    "accumulation": trained(STAGES["accumulation"]),
    "packing": trained(STAGES["packing"]),
    "mixed": trained(stage(hide_images=0.5), case="cross_attention"),
    "stages": trained(
        stage(learn="words", words="captions", steps=6, name="one"),
        stage(parts=("connector", "language_model"), steps=14, name="two"),
    ),
    # The stage ends with the averages at its best validation.
    "validated": trained(
        stage(ema=0.5),
        validation=Pictures(6, first=100),
        validate_every=2,
        keep="best",
    ),
    "bad": trained(stage(gradient_accumulation_steps=2), bad=BAD),
    "bad_windows": trained(stage(pack_to=150, pack_window=2, gradient_accumulation_steps=2), bad=BAD),
    "dropout": dropped,
    "not_finite": not_finite,
    "stopped": stopped,
    "other_data": other_data,
    "resumed": resumed,
}
"""Run one after another by the same processes."""
TWO_STAGES = (
    stage(learn="words", words="captions", steps=2, name="one"),
    stage(parts=("connector", "fusion", "language_model"), hide_images=0.5, steps=6, name="two"),
)
SHARDED: dict[str, Callable[[Path, World], Found]] = {
    "sharded_gradients": lambda folder, world: gradients_of(
        folder, world, case="cross_attention", encoder="vit"
    ),
    "sharded_adamw": trained(
        stage(ema=0.5, optimizer={"lr": 5e-3}),
        encoder="vit",
        # Training moves away from these answers, so the best validation is not the last one.
        validation=Pictures(6, first=100, answers=(OTHER,), caption=OTHER),
        validate_every=5,
        keep="best",
    ),
    "sharded_muon": trained(
        stage(optimizer={"name": "muon", "muon_lr": 1e-3}, gradient_checkpointing=True), encoder="vit"
    ),
    "sharded_stages": trained(*TWO_STAGES, encoder="vit"),
    # Some processes have no batch at all.
    "sharded_windows": trained(
        stage(pack_to=150, pack_window=2, gradient_accumulation_steps=2, steps=6), encoder="vit", bad=BAD
    ),
}
"""Run with sharded weights, one after another by the same processes."""
SPLIT_MODEL = {"qk_norm": True, "bias": True, "num_heads": 4, "num_kv_heads": 2}
TENSOR: dict[str, Callable[[Path, World], Found]] = {
    "tensor_gradients": lambda folder, world: gradients_of(
        folder, world, encoder="vit", language_model=SPLIT_MODEL
    ),
    "tensor_adamw": trained(
        stage(ema=0.5, optimizer={"lr": 5e-3}),
        validation=Pictures(6, first=100, answers=(OTHER,), caption=OTHER),
        validate_every=5,
        keep="best",
    ),
    "tensor_muon": trained(
        stage(optimizer={"name": "muon", "muon_lr": 1e-3}, gradient_checkpointing=True),
        language_model=SPLIT_MODEL,
    ),
    "tensor_clipped": trained(stage(gradient_accumulation_steps=3, max_grad_norm=0.1, hide_images=0.5)),
    "tensor_stages": trained(*TWO_STAGES, encoder="vit"),
    "tensor_bad": trained(stage(gradient_accumulation_steps=2, steps=6), bad=BAD),
    "tensor_windows": trained(
        stage(pack_to=150, pack_window=2, gradient_accumulation_steps=2, steps=6), bad=BAD
    ),
}
"""Run by groups of two processes that split the language model, one after another by the same processes."""
CONTEXT: dict[str, Callable[[Path, World], Found]] = {
    "context_gradients": lambda folder, world: gradients_of(
        folder, world, encoder="vit", language_model=SPLIT_MODEL
    ),
    "context_adamw": trained(
        stage(ema=0.5, optimizer={"lr": 2e-3}),
        validation=Pictures(6, first=100, answers=(OTHER,), caption=OTHER),
        validate_every=5,
        keep="best",
    ),
    "context_muon": trained(
        stage(optimizer={"name": "muon", "muon_lr": 1e-3}, gradient_checkpointing=True),
        language_model=SPLIT_MODEL,
    ),
    "context_packing": trained(
        stage(pack_to=151, pack_window=2, gradient_accumulation_steps=2, hide_images=0.5)
    ),
    "context_frozen": trained(stage(parts=("connector",), steps=6), encoder="vit"),
}
"""Run by groups of two processes that split the tokens, one after another by the same processes."""
ENDINGS = {
    "killed": ended(getattr(signal, "SIGKILL", signal.SIGTERM)),
    "hung": ended(getattr(signal, "SIGSTOP", signal.SIGTERM)),
    "killed_sharded": ended(getattr(signal, "SIGKILL", signal.SIGTERM)),
    "killed_tensor": ended(getattr(signal, "SIGKILL", signal.SIGTERM)),
    "killed_context": ended(getattr(signal, "SIGKILL", signal.SIGTERM)),
    "killed_while_others_wait": killed_while_others_wait,
}
"""Each is run alone, since a process does not survive it."""
RUNS = {"sharded_run": sharded_run, "tensor_run": tensor_run, "context_run": context_run}
"""Each connects the processes by itself."""


def write(folder: Path, name: str, world: World, rank: int) -> None:
    """Runs a case, and writes what it found."""
    shared = folder / name
    shared.mkdir(exist_ok=True)
    found = (CASES | ENDINGS | SHARDED | TENSOR | CONTEXT | RUNS)[name](shared, world)
    (folder / str(rank) / f"{name}.json").write_text(json.dumps(found))


def one_process(folder: Path, size: int, rank: int, port: int, names: list[str], timeout: float) -> None:
    torch.set_num_threads(1)
    (folder / str(rank)).mkdir()
    where = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in where.items()})
    for name in names:
        if name in RUNS:
            write(folder, name, World(), rank)

    # More than once, since a program may train several times.
    sharded = [name for name in names if name in SHARDED or name == "killed_sharded"]
    tensor = [name for name in names if name in TENSOR or name == "killed_tensor"]
    context = [name for name in names if name in CONTEXT or name == "killed_context"]
    grouped = {*RUNS, *sharded, *tensor, *context}
    plain = [name for name in names if name not in grouped]
    half = len(plain) // 2
    parts = (
        (plain[:half], {"dp": size}),
        (plain[half:], {"dp": size}),
        (sharded, {"dp": size, "shard": True}),
        (tensor, {"dp": size // 2, "tp": 2}),
        (context, {"dp": size // 2, "cp": 2}),
    )
    for part, mesh in parts:
        if part:
            with opened(Mesh(timeout=timeout, **mesh), os.environ) as world:
                for name in part:
                    write(folder, name, world, rank)


def main(folder: Path, size: int, names: list[str]) -> int:
    """Forks the processes; returns 0 if all of them succeeded. If the first one fails, the others are killed after it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    timeout = 10.0 if "hung" in names else TIMEOUT
    children = {}
    for rank in range(size):
        child = os.fork()
        if not child:
            try:
                one_process(folder, size, rank, port, names, timeout)
            except BaseException as error:
                (folder / str(rank) / "error").write_text(f"{type(error).__name__}: {error}")
                os._exit(1)
            os._exit(0)
        children[child] = rank

    # The first process must end by itself.
    status = {}
    first = next(iter(children))
    _, code = os.waitpid(first, 0)
    status[0] = os.waitstatus_to_exitcode(code)
    for child, rank in list(children.items())[1:]:
        if status[0]:
            os.kill(child, signal.SIGKILL)
        _, code = os.waitpid(child, 0)
        status[rank] = os.waitstatus_to_exitcode(code)
    (folder / "status.json").write_text(json.dumps(status))
    return int(any(status.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
