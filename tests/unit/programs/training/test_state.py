"""A training that resumes from its state, written and read again, ends with the bits of one that never stopped."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose
from torch import nn
from unit.programs.training.test_trainer import Some, stage, trainer

from sightweave.core.checkpoint import read_document, read_weights, write_folder
from sightweave.core.errors import CheckpointError
from sightweave.models.adapters.lora import Lora
from sightweave.models.encoders import cnn
from sightweave.models.vlm import VLM
from sightweave.programs.training.durations import Pace
from sightweave.programs.training.logs import Averages, read_metrics
from sightweave.programs.training.schedule import ScheduleConfig
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.state import State, random_states
from sightweave.programs.training.trainer import Trainer

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="PEFT is not installed")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
TIMES = ("seconds", "stage_seconds", "feed_seconds")
NUMBERS = ("step", "stage", "loss", "grad_norm", "lr")
LORA = {"language_model": Lora(rank=2, dropout=0.2)}
PACKED = {"batch_size": 2, "gradient_accumulation_steps": 2, "pack_to": 150, "pack_window": 3}


def composed() -> tuple[VLM, Any]:
    """A model with dropout, and with running statistics in its encoder."""
    model, processor = compose(Case("concat", (), "decoder_only"), language_model={"dropout": 0.2})
    eyes = cnn.Config(image_size=32, channels=(16, 32, 32), blocks=(0, 0, 1), norm="batch").build()
    torch.manual_seed(1)
    for parameter in eyes.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.encoders.path("image").encoder = eyes
    return model, processor


def train(
    out: Path, *stages: Stage, state: State | None = None, save: Any = None, **settings: Any
) -> Trainer:
    model, processor = composed()
    if state is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.5)  # whatever it begins with, the state's weights count
    made = trainer(
        model,
        processor,
        out,
        *stages,
        data=[Some(17, bad=frozenset({2, 5})), Some(6, first=17)],
        state=state,
        **{"save": save or (lambda _state, _model: None), "save_every": 1, "log_every": 3, **settings},
    )
    made.run()
    return made


def written(folder: Path, state: State) -> None:
    write_folder(folder, {"state": state.to_tensors()}, {"state": state.to_json()})


def read(folder: Path) -> State:
    return State.of(read_document(folder, "state"), read_weights(folder, name="state"))


def numbers(state: State) -> dict[str, Any]:
    """What a resume must not change: all but times, and the fingerprint that only a state to resume from has."""
    document = state.to_json()
    document.pop("data")
    document["progress"] = {name: one for name, one in document["progress"].items() if name not in TIMES}
    document["progress"]["averages"].pop("since")
    return document


def rows(out: Path) -> list[dict[str, Any]]:
    return [{name: row[name] for name in NUMBERS} for row in read_metrics(out / "metrics.jsonl")]


def same(one: Trainer, other: Trainer) -> Iterator[str]:
    """What differs between two trainers that have ended."""
    left, right = one.model.state_dict(), other.model.state_dict()
    if left.keys() != right.keys():
        yield "names of weights"
    yield from (name for name, value in left.items() if not torch.equal(value, right[name]))
    if numbers(one.state) != numbers(other.state):
        yield f"{numbers(one.state)} and {numbers(other.state)}"
    if not torch.equal(one.state.seen.to_tensor(), other.state.seen.to_tensor()):
        yield "which pictures were seen"
    if rows(one.out) != rows(other.out):
        yield f"{rows(one.out)} and {rows(other.out)}"


RUNS: dict[str, tuple[tuple[Stage, ...], dict[str, Any], tuple[int, ...]]] = {
    # Stages, settings, and updates to resume after: inside a stage, at its end, and between two rows of the log.
    "windows, then muon and microsteps": (
        (
            stage(5, name="one", **PACKED),
            Stage(
                **vars(stage(5, name="two", gradient_accumulation_steps=2, optimizer={"name": "muon"}))
                | {"schedule": ScheduleConfig(name="cosine", warmup_steps=2)}
            ),
        ),
        {},
        (1, 4, 5, 8),
    ),
    "muon, then adamw with parts, rates and hidden images": (
        (
            stage(4, name="one", optimizer={"name": "muon"}, pack_to=150),
            stage(
                4,
                name="two",
                parts=("connector", "language_model"),
                hide_images=0.3,
                samples_per_image=1,
                optimizer={"lr_multipliers": {"connector": 0.5}, "layer_decay": 0.9, "weight_decay": 0.1},
            ),
        ),
        {},
        (2, 4, 5),
    ),
    "words, then decoded in two threads": (
        (stage(3, name="one", learn="words", words="captions"), stage(3, name="two", **PACKED)),
        {"num_workers": 2},
        (2, 4),
    ),
}


def check_resumes(
    tmp_path: Path, stages: tuple[Stage, ...], settings: dict[str, Any], after: Sequence[int]
) -> None:
    """Resumes from the states after some of the updates, and compares with the run that wrote them."""
    folders: dict[int, Path] = {}

    def save(state: State, _model: VLM) -> None:
        if state.model:  # the last one has nothing to train
            folders[state.steps] = tmp_path / f"state-{state.steps}"
            written(folders[state.steps], state)

    whole = train(tmp_path / "whole", *stages, save=save, **settings)
    assert list(folders) == list(range(1, sum(one.steps or 0 for one in stages) + 1))

    for steps in after:
        out = tmp_path / f"resumed-{steps}"
        shutil.copytree(tmp_path / "whole", out)  # rows after the state are in it, too, as after a crash
        resumed = train(out, *stages, state=read(folders[steps]), **settings)
        assert list(same(whole, resumed)) == [], f"resumed after {steps} updates"


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(name: str, tmp_path: Path) -> None:
    check_resumes(tmp_path, *RUNS[name])


@needs_peft
def test_adapters_are_resumed_apart_from_the_layers_beside_them(tmp_path: Path) -> None:
    stages = (stage(2, name="one", lora=LORA), stage(2, name="two"), stage(3, name="three", lora=LORA))
    check_resumes(tmp_path, stages, {}, (1, 4, 6))


@needs_peft
@needs_bitsandbytes
def test_quantized_parts_are_resumed(tmp_path: Path) -> None:
    stages = (stage(2, name="one", parts=("encoder", "connector")), stage(2, name="two", lora=LORA))
    check_resumes(tmp_path, stages, {"quantize": {"language_model": "nf4"}}, (1, 3))


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize(
    "lora", [pytest.param({}, id="weights"), pytest.param(LORA, id="adapters", marks=needs_peft)]
)
def test_a_run_that_was_asked_to_stop_leaves_a_state(
    after: int, lora: dict[Any, Lora], tmp_path: Path
) -> None:
    stages = (stage(3, name="one", lora=lora, **PACKED), stage(3, name="two", lora=lora))
    whole = train(tmp_path / "whole", *stages, log_every=1)
    states: list[State] = []

    def stop(state: State, _model: VLM) -> None:
        states.append(state)
        if len(states) == after:
            signal.raise_signal(signal.SIGTERM)
        if len(states) == after + 1:
            written(tmp_path / "state", state)

    stopped = train(tmp_path / "stopped", *stages, save=stop, log_every=1)
    # The update at hand is finished; where it was the last one of its stage, no other begins.
    assert stopped.state.steps == (3 if after == 3 else after + 1)
    assert len(states) == after + 1
    resumed = train(tmp_path / "stopped", *stages, state=read(tmp_path / "state"), log_every=1)
    assert list(same(whole, resumed)) == []


def test_a_stage_with_minutes_counts_those_before_the_resume() -> None:
    now = [100.0]
    one = Stage(minutes=1, schedule=ScheduleConfig(name="constant"))
    pace = Pace(one, now=lambda: now[0], spent=50.0)
    assert not pace.is_over(3)
    now[0] += 10
    assert pace.spent == 60.0
    assert pace.is_over(3)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The document and the tensors of a run after one of two updates."""
    found: list[tuple[dict[str, Any], dict[str, torch.Tensor]]] = []

    def save(state: State, _model: VLM) -> None:
        tensors = {name: value.clone() for name, value in state.to_tensors().items()}
        found.append((state.to_json(), tensors))

    train(tmp_path_factory.mktemp("example"), stage(2), save=save)
    return found[0]


def test_json_and_back(example: tuple[dict[str, Any], dict[str, torch.Tensor]]) -> None:
    document, tensors = example
    state = State.of(json.loads(json.dumps(document)), tensors)
    assert state.to_json() == document
    assert state.to_tensors().keys() == tensors.keys()
    assert (state.stage, state.step, state.steps, state.pictures) == (0, 1, 1, 2)
    assert state.averages.steps == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format_version": 2}, "format_version is 2, and this release reads 1"),
        ({"progress": {"steps": -1}}, r"progress\.steps: .*greater than or equal to 0 \(got -1\)"),
        ({"progress": {"position": "far"}}, r"progress\.position"),
        ({"progress": {"seconds": float("nan")}}, r"progress\.seconds: .*finite"),
        ({"progress": {"colour": 1}}, r"progress\.colour"),
        ({"progress": {"averages": {"colour": 1}}}, r"progress\.averages\.colour"),
        ({"quarantine": {}}, r"quarantine\.seen"),
        ({"more": 1}, "more"),
    ],
)
def test_a_document_that_no_run_wrote_is_refused(
    changes: dict[str, Any], reason: str, example: tuple[dict[str, Any], dict[str, torch.Tensor]]
) -> None:
    document, tensors = example
    changed = {**document, **changes}
    if "progress" in changes:
        changed["progress"] = {**document["progress"], **changes["progress"]}
    with pytest.raises(CheckpointError, match=f"training state: {reason}"):
        State.of(changed, tensors)


def test_a_missing_number_does_not_count_as_none(
    example: tuple[dict[str, Any], dict[str, torch.Tensor]],
) -> None:
    document, tensors = example
    progress = {name: value for name, value in document["progress"].items() if name != "within"}
    with pytest.raises(CheckpointError, match=r"progress\.within is missing"):
        State.of({**document, "progress": progress}, tensors)
    with pytest.raises(CheckpointError, match="format_version is None"):
        State.of([], tensors)


def test_tensors_of_another_kind_are_refused(
    example: tuple[dict[str, Any], dict[str, torch.Tensor]],
) -> None:
    document, tensors = example
    with pytest.raises(CheckpointError, match="unknown tensor 'weights/a'; expected seen, model/"):
        State.of(document, {**tensors, "weights/a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="'seen' is missing"):
        State.of(document, {name: one for name, one in tensors.items() if name != "seen"})


def test_a_state_of_something_else_is_refused(
    example: tuple[dict[str, Any], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    document, tensors = example
    progress = document["progress"]
    others = {
        "its data has the fingerprint other": State.of({**document, "data": "other"}, tensors),
        r"in stage 1, and 0 stages have ended; the recipe has 1 \(main\)": State.of(
            {**document, "progress": {**progress, "stage": 1}}, tensors
        ),
        "no weights, so nothing is left to train after its 1 steps": State.of(
            document, {"seen": tensors["seen"]}
        ),
        "weights do not fit the recipe's model": State.of(
            document, {**tensors, "model/more": torch.zeros(1)}
        ),
        "belongs to no trained parameter": State.of(
            document, {**tensors, "optimizer/more/step": torch.zeros(1)}
        ),
    }
    for reason, state in others.items():
        with pytest.raises(CheckpointError, match=reason):
            train(tmp_path, stage(2), state=state)


def test_generators_of_the_cpu_are_always_there() -> None:
    torch.manual_seed(3)
    states = random_states(torch.device("cpu"))
    assert list(states) == ["cpu"]
    assert torch.equal(states["cpu"], torch.get_rng_state())


def test_averages_are_of_the_updates_since_the_last_row() -> None:
    averages = Averages(since=10.0)
    averages.add(loss=1.0, norm=2.0, tokens=30, pictures=4, samples=6)
    averages.add(loss=2.0, norm=4.0, tokens=50, pictures=4, samples=8)
    averages.waiting += 0.5
    assert averages.row(now=12.0) == {
        "loss": 1.5,
        "grad_norm": 3.0,
        "seconds": 2.0,
        "steps_per_second": 1.0,
        "tokens_per_second": 40.0,
        "pictures_per_second": 4.0,
        "samples_per_second": 7.0,
        "waiting_share": 0.25,
    }
