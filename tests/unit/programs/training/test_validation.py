"""A validation gives the exact loss of the validation split, and training computes the same bits with and without it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, picture
from torch import nn
from torch.nn import functional as F
from unit.programs.training.test_state import composed
from unit.programs.training.test_trainer import PRECISION, TASKS, Some, stage

from sightweave.core.errors import CheckpointError, RecipeError
from sightweave.core.types import Medium
from sightweave.data.tasks import vqa
from sightweave.models.parts import enter_training
from sightweave.models.vlm import VLM
from sightweave.programs.training import early_stopping
from sightweave.programs.training.early_stopping import Best, Validated, better
from sightweave.programs.training.logs import read_metrics
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import State, random_states
from sightweave.programs.training.trainer import Storage, Trainer, TrainingData
from sightweave.programs.training.validation import Validation, interval, num_bytes, undisturbed

HELD_OUT = Some(7, first=50)


def settings(*stages: Stage, **fields: Any) -> Settings:
    return Settings(stages=stages or (stage(4),), **{"validate_every": 1, **fields})


def validation(
    processor: Any, one: Stage | None = None, data: Any = HELD_OUT, words: Any = "none", **fields: Any
) -> Validation:
    one = one or stage(4)
    return Validation(
        [data], TASKS, processor, one, settings(one, **fields), words=words, precision=PRECISION
    )


def test_the_loss_is_the_mean_over_all_target_tokens_however_they_are_batched() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    total = count = 0.0
    for index in range(len(HELD_OUT)):
        for record in HELD_OUT[index]:
            sample = TASKS["captioning" if "caption" in record.id else "vqa"].sample(record)
            batch = processor.batch([sample])
            with torch.no_grad():
                output = model(batch)
            labels = batch.target.labels.flatten()[output.at + 1]
            total += float(F.cross_entropy(output.logits, labels, reduction="sum"))
            count += len(labels)

    for width, packed in ((1, None), (3, None), (7, 500)):
        one = stage(4, batch_size=width, pack_to=packed, length_power=0.5, z_loss=0.1)
        found = validation(processor, one).run(model, step=9)
        assert found is not None
        assert found.step == 9
        assert found.loss == pytest.approx(total / count, rel=1e-5)
        assert found.scores == {}


def test_a_second_validation_of_the_same_weights_is_bit_equal_with_and_without_kept_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    kept = validation(processor)
    first, second = kept.run(model, step=0), kept.run(model, step=0)
    monkeypatch.setattr("sightweave.programs.training.validation._KEPT_BYTES", 0)
    third = validation(processor).run(model, step=0)
    assert first == second == third


def test_the_model_and_the_random_states_are_as_before() -> None:
    model, processor = composed()
    enter_training(model, ("connector", "language_model"))
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    random = random_states(PRECISION.device)["cpu"]
    validation(processor, validate_samples=3).run(model, step=0)
    assert [module.training for module in model.modules()] == modes
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random_states(PRECISION.device)["cpu"], random)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_random_states_and_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2)).train()
    model[1].eval()
    before = torch.get_rng_state()

    def fail() -> None:
        with undisturbed(model, torch.device("cpu")):
            assert not model[0].training
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (model[0].training, model[1].training) == (True, False)
    assert torch.equal(torch.get_rng_state(), before)


def trained(out: Path, *stages: Stage, data: Any = HELD_OUT, **fields: Any) -> Trainer:
    model, processor = composed()
    chosen = Settings(stages=stages, log_every=2, **fields)
    sources = TrainingData([Some(17)], TASKS, validation=[data] if data is not None else [])
    made = Trainer(model, processor, sources, chosen, precision=PRECISION, out=out, seed=0)
    made.run()
    return made


def test_training_computes_the_same_bits_with_and_without_validation(tmp_path: Path) -> None:
    stages = (stage(5, name="one"), stage(4, name="two", gradient_accumulation_steps=2))
    plain = trained(tmp_path / "plain", *stages, data=None)
    seen = trained(tmp_path / "seen", *stages, validate_every=2, validate_samples=4)
    weights = plain.model.state_dict()
    assert all(value.equal(weights[name]) for name, value in seen.model.state_dict().items())
    numbers = ("step", "stage", "loss", "grad_norm", "lr")
    rows = [[row[name] for name in numbers] for row in read_metrics(plain.out / "metrics.jsonl")]
    more = read_metrics(seen.out / "metrics.jsonl")
    assert [[row[name] for name in numbers] for row in more if "loss" in row] == rows
    # Every second step of a stage, and its last one.
    assert [row["step"] + 1 for row in more if "validation_loss" in row] == [2, 4, 5, 7, 9]
    assert [one.step for one in itertools.chain(*seen.state.validations)] == [2, 4, 5, 7, 9]
    assert all({"vqa", "captioning"} >= set(one.scores) > set() for one in seen.state.validations[1])
    assert plain.state.validations == [[], []]


def test_rows_of_a_validation_between_two_rows_of_the_log_have_no_loss_of_training(tmp_path: Path) -> None:
    trained(tmp_path, stage(4), validate_every=3)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [("loss" in row, "validation_loss" in row, row["step"]) for row in rows] == [
        (True, False, 1),
        (False, True, 2),
        (True, True, 3),
    ]
    assert {row["stage"] for row in rows} == {"main"}


def test_unusable_samples_are_left_out_and_counted() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))

    class Odd(Some):
        def __getitem__(self, index: int) -> list[Any]:
            empty = vqa.Record(
                id=f"empty-{index}", images=(picture(index),), question="what ?", answers=(" ",)
            )
            return [*super().__getitem__(index), empty] if index == 1 else super().__getitem__(index)

    clean = validation(processor, data=Some(3, first=1)).run(model, step=0)
    odd = validation(processor, data=Odd(4, bad=frozenset({0})))
    found = odd.run(model, step=0)
    assert clean is not None
    assert found is not None
    assert odd.left_out == 3  # two samples of the picture that cannot be read, and an empty answer
    assert found.loss is not None


def test_a_split_without_a_usable_sample_gives_no_result() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    nothing = validation(processor, data=Some(2, bad=frozenset({0, 1})))
    assert nothing.run(model, step=0) is None
    assert validation(processor, stage(4, tasks=("reasoning",))).run(model, step=0) is None


def test_words_are_validated_by_their_own_loss() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    one = stage(4, learn="words", words="captions", batch_size=2)
    found = validation(processor, one, words="captions", validate_samples=4).run(model, step=0)
    assert found is not None
    assert found.loss is not None
    assert found.loss > 0
    assert found.scores == {}  # its language model learns nothing yet


def test_at_most_so_many_images_are_drawn_over_the_whole_split() -> None:
    _, processor = compose(Case("concat", (), "decoder_only"))
    drawn = validation(processor, data=Some(500), validate_images=20)
    assert len(drawn.places) == 20
    assert max(index for _, index in drawn.places) > 250
    assert len(validation(processor, data=Some(500), validate_images=None).places) == 500


@pytest.mark.parametrize(
    ("fields", "steps", "images", "expected"),
    [
        ({"validate_every": 7}, 10, 1000, 7),
        ({"validate_every": 0}, 10, 10, 0),
        ({}, 10, 0, 0),
        ({}, 1000, 10, 100),  # ten times
        ({}, 1000, 100, 250),  # 100 images, 8 a step: 5 % are 2,000 images
        ({}, 249, 100, 0),
        ({"validate_samples": 5}, 249, 100, 25),
        ({"patience": 2}, 249, 100, 25),
    ],
)
def test_the_interval_is_the_one_asked_for_or_costs_little(
    fields: dict[str, Any], steps: int, images: int, expected: int
) -> None:
    one = stage(steps, batch_size=4, gradient_accumulation_steps=2)
    assert interval(Settings(stages=(one,), **fields), one, images) == expected


def test_settings_without_a_validation_split_to_follow_them_are_refused(tmp_path: Path) -> None:
    for fields in ({"validate_every": 5}, {"validate_samples": 2}, {"patience": 3}):
        (name,) = fields
        with pytest.raises(RecipeError, match=rf"train\.{name} is \d, but the data has no validation split"):
            trained(tmp_path, stage(2), data=None, **fields)
    with pytest.raises(ValueError, match="patience is 2, but validate_every is 0"):
        settings(patience=2, validate_every=0)
    with pytest.raises(RecipeError, match=r"train\.keep is best, but the data has no validation split"):
        trained(tmp_path, stage(2), data=None, keep="best")
    with pytest.raises(ValueError, match="keep is best, but validate_every is 0"):
        settings(keep="best", validate_every=0)
    with pytest.raises(ValueError, match=r"no task 'vqs' .*Did you mean 'vqa'"):
        settings(best_by="vqs", validate_samples=3)
    with pytest.raises(ValueError, match="best_by is vqa, but validate_samples is 0"):
        settings(best_by="vqa")


def test_the_size_of_a_batch_counts_all_its_tensors() -> None:
    _, processor = compose(Case("concat", (), "decoder_only"))
    medium: Medium = picture(0)
    batch = processor.batch(
        [TASKS["vqa"].sample(vqa.Record(id="0", images=(medium,), question="a ?", answers=("b",)))]
    )
    pixels = batch.media["image"].dense
    assert num_bytes(batch) >= pixels.numel() * pixels.element_size() + 8 * batch.target.ids.numel()
    assert num_bytes({"a": [torch.zeros(3)], "b": "text", "c": None}) == 12


def test_the_best_is_the_lowest_loss_or_the_highest_score() -> None:
    first = Validated(1, 2.0, {"vqa": 0.5, "captioning": 0.1})
    best = better(None, first, "loss")
    assert best == Best(1, 2.0, "loss")
    assert better(best, Validated(2, 2.0), "loss") is None
    assert better(best, Validated(2, 1.5), "loss") == Best(2, 1.5, "loss")
    assert better(best, Validated(2, None), "loss") is None
    best = better(None, first, "score")
    assert best == Best(1, 0.3, "score")
    assert better(best, Validated(2, 9.0, {"vqa": 0.5, "captioning": 0.2}), "score") is not None
    assert better(Best(1, 0.5, "vqa"), Validated(2, 1.0, {"vqa": 0.4}), "vqa") is None
    with pytest.raises(RecipeError, match=r"train\.best_by: .* no score of 'vqs'. Did you mean 'vqa'"):
        better(None, first, "vqs")
    # A stage without scores is judged by its loss.
    assert better(None, Validated(1, 2.0), "score") == Best(1, 2.0, "loss")


def test_a_stage_without_improvement_ends_early_and_the_next_one_begins(tmp_path: Path) -> None:
    # A frozen encoder keeps its running statistics, so that nothing changes at all.
    still = stage(20, name="still", optimizer={"lr": 0.0}, parts=("connector", "language_model"))
    made = trained(tmp_path, still, stage(3, name="next"), validate_every=2, patience=3)
    state = made.state
    assert state.stage_steps == [8, 3]  # the best is the first of four validations
    assert (state.steps, state.planned_steps) == (11, 11)
    (stopped,) = state.stopped_early
    assert (stopped.stage, stopped.step, stopped.planned_steps, stopped.patience) == ("still", 8, 20, 3)
    assert stopped.best is not None
    assert stopped.best.step == 2
    assert (
        "stage still ended early, after 8 of 20 steps: no improvement in 3 validations" in stopped.to_text()
    )
    assert [len(one) for one in state.validations] == [4, 2]
    # The best is that of the last stage.
    assert state.best is not None
    assert state.best.step > 8
    assert state.best.score == min(one.loss for one in state.validations[1] if one.loss is not None)


def test_without_patience_a_stage_goes_to_its_end(tmp_path: Path) -> None:
    made = trained(tmp_path, stage(8, optimizer={"lr": 0.0}), validate_every=2)
    assert (made.state.steps, made.state.stopped_early) == (8, [])
    assert made.state.best is not None
    assert made.state.best.score == min(one.loss for one in made.state.validations[0] if one.loss)
    assert early_stopping.Stopped("a", 1, 2, None, 3).to_text().endswith("no validation loss was finite")


def test_a_resumed_run_validates_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    stages = (stage(6, name="one", optimizer={"lr": 1e-4}), stage(4, name="two"))
    fields = {"validate_every": 2, "validate_samples": 3, "patience": 2, "save_every": 1}
    whole, states = resumable(tmp_path / "whole", *stages, **fields)
    assert len(states) == whole.state.steps
    for after in (2, 3, len(whole.state.validations[0]) * 2, whole.state.steps - 1):
        resumed, _ = resumable(tmp_path / str(after), *stages, state=states[after - 1], **fields)
        weights = resumed.model.state_dict()
        assert all(value.equal(weights[name]) for name, value in whole.model.state_dict().items())
        assert resumed.state.validations == whole.state.validations
        assert resumed.state.best == whole.state.best
        assert resumed.state.stopped_early == whole.state.stopped_early
        assert resumed.state.without_improvement == whole.state.without_improvement


def resumable(
    out: Path, *stages: Stage, state: State | None = None, **fields: Any
) -> tuple[Trainer, list[State]]:
    """A run that may begin with a state, and the states that it saved."""
    states: list[State] = []

    def save(state: State, _model: VLM) -> None:
        tensors = {name: value.clone() for name, value in state.to_tensors().items()}
        if state.model:
            states.append(State.of(json.loads(json.dumps(state.to_json())), tensors))

    model, processor = composed()
    made = Trainer(
        model,
        processor,
        TrainingData([Some(17)], TASKS, validation=[HELD_OUT]),
        Settings(stages=stages, **fields),
        precision=PRECISION,
        out=out,
        seed=0,
        storage=Storage(save=save, read=lambda steps: next(one for one in states if one.steps == steps)),
        state=state,
    )
    made.run()
    return made, states


BAD = {"optimizer": {"lr": 1.0}, "parts": ("connector", "language_model")}
"""Of a stage whose rate is so high that its first steps are its best ones."""


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_stage_ends_with_the_weights_of_its_best_validation(ema: float, tmp_path: Path) -> None:
    one = Stage(**vars(stage(8, **BAD)) | {"ema": ema})
    made, states = resumable(tmp_path, one, validate_every=1, keep="best", save_every=1000)
    losses = [found.loss for found in made.state.validations[0]]
    best = losses.index(min(losses)) + 1  # type: ignore[type-var]  # none is None
    assert best < 8
    assert made.state.kept_steps == [best]
    (saved,) = [state for state in states if state.steps == best]
    weights = made.model.state_dict()
    averages = {
        name.removesuffix("/average"): value
        for name, value in saved.optimizer.items()
        if name.endswith("/average")
    }
    assert bool(averages) == bool(ema)
    assert all(weights[name].equal(averages.get(name, value)) for name, value in saved.model.items())
    # Each better validation was saved, and no other step.
    best_so_far = [n + 1 for n, loss in enumerate(losses) if loss == min(losses[: n + 1])]  # type: ignore[type-var]  # none is None
    assert [state.steps for state in states] == best_so_far


def test_the_last_weights_stay_where_the_best_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, processor = composed()

    def read(steps: int) -> State:
        raise CheckpointError(f"step-{steps} is damaged")

    made = Trainer(
        model,
        processor,
        TrainingData([Some(17)], TASKS, validation=[HELD_OUT]),
        Settings(stages=(stage(6, **BAD),), validate_every=1, keep="best"),
        precision=PRECISION,
        out=tmp_path,
        seed=0,
        storage=Storage(read=read),
    )
    made.run()
    assert made.state.kept_steps == [6]
    assert "ends with its last weights, since those of step" in caplog.text
    assert "is damaged" in caplog.text
