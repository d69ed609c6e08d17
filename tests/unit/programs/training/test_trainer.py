"""The loop learns what it is told to, leaves the rest alone, and stops before harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, picture

import sightweave
from sightweave.core import catalog
from sightweave.core.device import choose_precision
from sightweave.core.errors import RecipeError
from sightweave.core.types import Medium
from sightweave.data.tasks import captioning, vqa
from sightweave.models.parts import choose_parts
from sightweave.models.vlm import VLM
from sightweave.programs.generation import generate
from sightweave.programs.training.logs import read_metrics
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.schedule import ScheduleConfig
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import State
from sightweave.programs.training.trainer import NonFiniteLoss, Save, Storage, Trainer, TrainingData

TASKS = {name: catalog.config_class("data.tasks", name)().build() for name in catalog.kinds("data.tasks")}
PRECISION = choose_precision("fp32", torch.device("cpu"))
ANSWERS = ("red", "blue", "two", "it")


class Pictures:
    """Two pictures with one question, and an answer that only the picture tells."""

    def __init__(self, size: int = 2) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> list[Any]:
        image: Medium = picture(index)
        return [vqa.Record(id=str(index), images=(image,), question="what ?", answers=(ANSWERS[index],))]

    def texts(self) -> Iterator[str]:
        yield from ANSWERS


def trainer(
    model: VLM,
    processor: Any,
    out: Path,
    *stages: Stage,
    data: Sequence[Any] = (),
    save: Save = lambda _state, _model: None,
    state: State | None = None,
    **settings: Any,
) -> Trainer:
    return Trainer(
        model,
        processor,
        TrainingData(list(data) or [Pictures()], TASKS),
        Settings(stages=stages, **{"log_every": 1, **settings}),
        precision=PRECISION,
        out=out,
        seed=0,
        storage=Storage(save=save),
        state=state,
    )


def run(model: VLM, processor: Any, out: Path, *stages: Stage, **settings: Any) -> tuple[State, list[int]]:
    saves: list[int] = []
    made = trainer(
        model, processor, out, *stages, save=lambda state, _model: saves.append(state.steps), **settings
    )
    made.run()
    return made.state, saves


def stage(steps: int, **fields: Any) -> Stage:
    return Stage(
        steps=steps,
        batch_size=fields.pop("batch_size", 2),
        optimizer=OptimizerConfig(**{"lr": 1e-2, "weight_decay": 0.0} | fields.pop("optimizer", {})),
        schedule=ScheduleConfig(name="constant", warmup_steps=0),
        **fields,
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "case", [Case("concat", (), "decoder_only"), Case("cross_attention", (), "encoder_decoder")]
)
def test_two_samples_are_learnt_by_heart(case: Case, optimizer: str, tmp_path: Path) -> None:
    model, processor = compose(case)
    trained, saves = run(model, processor, tmp_path, stage(60, optimizer={"name": optimizer}), save_every=25)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert len(rows) == trained.steps == 60
    assert rows[-1]["loss"] < 0.05 < rows[0]["loss"]
    assert saves == [25, 50, 60]
    samples = [TASKS["vqa"].sample(Pictures()[index][0]) for index in range(2)]
    assert [one.text for one in generate(model, processor, samples)] == ["red", "blue"]


@pytest.mark.parametrize(
    "parts", [("connector",), ("fusion", "language_model"), ("token_embedding", "encoder")]
)
def test_frozen_parts_stay_bit_equal(parts: tuple[str, ...], tmp_path: Path) -> None:
    model, processor = compose(Case("cross_attention", (), "decoder_only"), language_model={"dropout": 0.2})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, processor, tmp_path, stage(2, parts=parts))
    prefixes = {
        "encoder": "encoders.image.encoder",
        "connector": "encoders.image.connector",
        "fusion": "fusion",
        "language_model": "language_model",
        "token_embedding": "language_model.token_embedding",
    }
    for name, value in model.state_dict().items():
        is_learnt = name in dict(model.named_parameters())  # a table of places is kept, but never trained
        is_free = is_learnt and any(name.startswith(prefixes[part]) for part in parts)
        assert torch.equal(value, before[name]) != is_free, name


def test_the_running_statistics_of_a_frozen_encoder_stay(tmp_path: Path) -> None:
    from sightweave.models.encoders import cnn

    model, processor = compose(Case("concat", (), "decoder_only"))
    eyes = cnn.Config(image_size=32, channels=(16, 32, 32), blocks=(0, 0, 1), norm="batch").build()
    model.encoders.path("image").encoder = eyes
    before = {name: value.clone() for name, value in eyes.state_dict().items()}
    run(model, processor, tmp_path / "frozen", stage(2, parts=("connector", "language_model")))
    assert all(torch.equal(value, before[name]) for name, value in eyes.state_dict().items())
    run(model, processor, tmp_path / "free", stage(2))
    assert not torch.equal(
        eyes.state_dict()["stages.0.norm.running_mean"], before["stages.0.norm.running_mean"]
    )


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_loss_that_is_no_number_stops_before_the_update(tmp_path: Path, clip: float) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    with torch.no_grad():
        model.connector.projection.weight[0, 0] = torch.nan
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NonFiniteLoss, match=r"stage 'main', step 0: loss nan.*no update was made .*Samples"):
        run(model, processor, tmp_path, stage(3, max_grad_norm=clip))
    after = model.state_dict()
    assert all(torch.equal(after[name].nan_to_num(7), before[name].nan_to_num(7)) for name in before)


def test_microsteps_sum_to_the_same_update_as_one_large_step(tmp_path: Path) -> None:
    made = []
    for pictures, microsteps in ((2, 1), (1, 2)):
        model, processor = compose(Case("concat", (), "decoder_only"))
        one = stage(1, gradient_accumulation_steps=microsteps, optimizer={"eps": 1e-3})
        one = Stage(**{**vars(one), "batch_size": pictures})
        run(model, processor, tmp_path / str(pictures), one)
        made.append(model.state_dict())
    for name, value in made[0].items():
        torch.testing.assert_close(made[1][name], value, atol=1e-5, rtol=1e-4)


def test_a_window_of_packed_pictures_sums_to_the_update_of_one_large_step(tmp_path: Path) -> None:
    made = []
    for name, fields in (
        ("large", {"batch_size": 2}),
        ("window", {"batch_size": 1, "gradient_accumulation_steps": 2, "pack_window": 2}),
    ):
        model, processor = compose(Case("concat", (), "decoder_only"))
        one = Stage(**{**vars(stage(1, optimizer={"eps": 1e-3})), "pack_to": 500, **fields})
        trained, _ = run(model, processor, tmp_path / name, one, num_workers=2)
        assert trained.pictures == 2
        made.append(model.state_dict())
    for name, value in made[0].items():
        torch.testing.assert_close(made[1][name], value, atol=1e-5, rtol=1e-4)


class Some:
    """Pictures with a question; every fourth has a caption too, and some cannot be read."""

    def __init__(self, size: int, *, first: int = 0, bad: frozenset[int] = frozenset()) -> None:
        self.size, self.first, self.bad = size, first, bad

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> list[Any]:
        name = f"{self.first + index}"
        image = Medium(b"no picture", key=f"bad-{name}") if index in self.bad else picture(self.first + index)
        asked = vqa.Record(id=name, images=(image,), question="what ?", answers=("red",))
        said = captioning.Record(id=f"{name}#caption", images=(image,), captions=("it",))
        return [asked, said] if index % 4 == 0 else [asked]

    def texts(self) -> Iterator[str]:
        yield from ANSWERS


@pytest.mark.parametrize(
    ("data", "first"),
    [
        ([Some(64)], {"tasks": ("captioning",)}),
        ([Some(64, bad=frozenset(range(1, 64, 2)))], {}),
        ([Some(40), Some(24, first=40)], {"tasks": ("captioning",), "gradient_accumulation_steps": 2}),
        ([Some(64)], {"pack_to": 150, "pack_window": 4}),
        ([Some(64)], {"pack_to": 150, "pack_window": 4, "tasks": ("captioning",), "batch_size": 1}),
    ],
    ids=["tasks", "unreadable", "mix", "window", "window and tasks"],
)
def test_a_stage_begins_after_the_last_picture_that_the_one_before_trained_on(
    data: list[Some], first: dict[str, Any], tmp_path: Path
) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    stages = (stage(2, name="one", **first), stage(4, name="two"))
    trained, _ = run(model, processor, tmp_path, *stages, data=data)
    shown = sum(one.steps * one.batch_size * one.gradient_accumulation_steps for one in stages)
    assert trained.distinct_pictures == trained.pictures
    assert trained.pictures <= trained.end
    assert trained.pictures == shown or "pack_window" in first  # rows of a window are dealt, not pictures
    assert trained.samples >= trained.pictures


def test_pictures_made_ahead_are_left_to_the_next_stage(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    stages = [stage(1, name=str(number), gradient_accumulation_steps=2) for number in range(4)]
    trained, _ = run(model, processor, tmp_path, *stages, data=[Some(16)])
    assert (trained.end, trained.pictures, trained.distinct_pictures) == (16, 16, 16)


def test_pictures_that_come_again_in_a_later_epoch_are_counted_once(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    trained, _ = run(model, processor, tmp_path, stage(5), data=[Some(5)])
    assert (trained.pictures, trained.distinct_pictures) == (10, 5)
    assert trained.samples == 10 + 4  # in each of two epochs, pictures 0 and 4 bring a caption as well


def test_an_unknown_part_names_the_nearest() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    with pytest.raises(RecipeError, match=r"no part 'encodr'.*Did you mean 'encoder'"):
        choose_parts(model, ["encodr"])


def test_a_part_without_weights_is_nothing_to_train(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    with pytest.raises(RecipeError, match="stage 'main': nothing to train"):
        run(model, processor, tmp_path, stage(1, parts=("fusion",)))


SCRIPT = """
import sys
from pathlib import Path
from unit_program import stage, trainer
from contracts._compose import Case, compose
from sightweave.core.checkpoint import write_folder
import torch

torch.set_num_threads(1)
out = Path(sys.argv[1])
model, processor = compose(Case("concat", (), "decoder_only"))
def save(state, model):
    write_folder(out / "checkpoint", {"model": model.state_dict()}, processor.documents())
    (out / "steps").write_text(str(state.steps))
training = trainer(model, processor, out, stage(100000), save=save)
ending = training.run()
print("interrupted" if ending.is_interrupted else "finished", training.state.steps)
"""


def test_ctrl_c_leaves_a_checkpoint_that_loads(tmp_path: Path) -> None:
    from sightweave.core.checkpoint import load_into
    from sightweave.data.inputs.processor import Processor

    (tmp_path / "unit_program.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    source = Path(sightweave.__file__).parents[1]
    tests = Path(__file__).parents[3]
    path = os.pathsep.join(map(str, (source, tests, tmp_path)))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        metrics = tmp_path / "metrics.jsonl"
        deadline = time.monotonic() + 1800
        while not (metrics.exists() and metrics.read_text().count("\n") > 3):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=1800)
    finally:
        process.kill()
    assert process.returncode == 0, complaints
    word, steps = said.split()
    assert word == "interrupted"
    assert (tmp_path / "steps").read_text() == steps
    assert 3 < int(steps) < 100_000
    model, processor = compose(Case("concat", (), "decoder_only"))
    before = model.language_model.token_embedding.table.weight.clone()
    load_into(model, tmp_path / "checkpoint")
    assert not torch.equal(model.language_model.token_embedding.table.weight, before)
    loaded = Processor.load(tmp_path / "checkpoint")
    assert loaded.layout == processor.layout
