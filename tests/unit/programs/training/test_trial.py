"""A trial chooses threads by what a step takes, and leaves no trace in the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from contracts._compose import Case, compose
from unit.programs.training.test_durations import Pictures

from sightweave.core.device import choose_precision
from sightweave.data.tasks import vqa
from sightweave.programs.training import trial
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trainer import Trainer, TrainingData
from sightweave.programs.training.trial import Trials, choose, counts, measure

PRECISION = choose_precision("fp32", torch.device("cpu"))


def test_all_threads_a_half_and_so_on_are_tried() -> None:
    assert counts(8) == [8, 4, 2, 1]
    assert counts(3) == [3, 1]
    assert counts(1) == [1]


def test_more_threads_must_be_clearly_faster() -> None:
    assert choose({2: 0.61, 1: 0.07}) == 1  # a busy machine
    assert choose({2: 0.95, 1: 1.0}) == 1  # no gain to speak of
    assert choose({4: 0.3, 2: 0.5, 1: 1.0}) == 4
    assert choose({4: 0.48, 2: 0.5, 1: 1.0}) == 2
    assert choose({2: 5.0}) == 2


class Machine:
    """Work on a clock of its own: slow with two threads, and with one very slow now and then."""

    def __init__(self, cost: float) -> None:
        self.seconds, self.threads, self.cost, self.calls = 0.0, 0, cost, 0

    def work(self) -> None:
        self.calls += 1
        stalls = self.threads == 1 and self.calls == 3
        self.seconds += self.cost * (50 if stalls else 3 if self.threads == 2 else 1)

    def set_threads(self, count: int) -> None:
        self.threads = count

    def measure(self, threads: list[int]) -> dict[int, float]:
        return measure(self.work, threads, set_threads=self.set_threads, now=lambda: self.seconds)


def test_a_single_stall_decides_nothing() -> None:
    assert Machine(0.01).measure([2, 1]) == pytest.approx({2: 0.03, 1: 0.01})


def test_a_slow_model_is_tried_once() -> None:
    slow = Machine(10.0)
    assert slow.measure([4]) == {4: 10.0}
    assert slow.calls == 1
    slow = Machine(10.0)
    slow.measure([4, 2])
    assert slow.calls == 3


def test_the_time_of_all_steps_chooses() -> None:
    stages = [Stage(steps=10), Stage(steps=1000), Stage(steps=5)]
    found = Trials.of(stages, [{2: 1.0, 1: 9.0}, {2: 0.9, 1: 0.1}, None], otherwise=2)
    assert found.threads == 1
    assert (found.seconds_of(1), found.seconds_of(2)) == (0.1, None)
    assert "threads: 1 of 2, chosen by a trial under the current load" in found.to_text()
    assert "1: 1.00 x, 2: 4.79 x" in found.to_text()
    alone = Trials.of(stages, [None, None, None], otherwise=2)
    assert (alone.threads, alone.to_text()) == (2, "")


def test_a_trial_leaves_weights_statistics_and_random_numbers_alone() -> None:
    from sightweave.models.encoders import cnn

    model, processor = compose(Case("concat", (), "decoder_only"), language_model={"dropout": 0.2})
    eyes = cnn.Config(image_size=32, channels=(16, 32, 32), blocks=(0, 0, 1), norm="batch").build()
    model.encoders.path("image").encoder = eyes
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stage = Stage(steps=1, batch_size=2, gradient_accumulation_steps=2)
    feed = Feed(
        [Pictures(4)],
        {"vqa": vqa.Config().build()} | _captions(),
        processor,
        stage,
        seed=0,
        quarantine=Quarantine(),
    )
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = trial.run(model, (one.batch for one in feed.microsteps()), stage, PRECISION, [1])
    assert found[1] > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def _captions() -> dict[str, object]:
    from sightweave.data.tasks import captioning

    return {"captioning": captioning.Config().build()}


def test_training_is_the_same_with_a_trial_and_without(tmp_path: Path) -> None:
    tasks = {"vqa": vqa.Config().build()} | _captions()
    stages = (
        Stage(steps=2, batch_size=2, learn="words", words="captions", parts=("encoder", "connector")),
        Stage(steps=2, batch_size=2, gradient_accumulation_steps=2),
    )
    made = []
    told: list[Trials] = []
    for number, begins in enumerate((None, told.append)):
        model, processor = compose(Case("concat", (), "decoder_only"), language_model={"dropout": 0.2})
        trainer = Trainer(
            model,
            processor,
            TrainingData([Pictures(6)], tasks),
            Settings(stages=stages),
            precision=PRECISION,
            out=tmp_path / str(number),
            seed=0,
        )
        trainer.run(begins=begins)
        made.append(model.state_dict())
    assert [len(one.seconds) for one in told] == [2]
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())
