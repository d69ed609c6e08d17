"""A run as an evaluation asks it: its answers, its likelihoods, and a name that changes with its weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
from contracts._compose import ANSWERS, Case, compose, samples, tokenizer
from pydantic import ValidationError

from sightweave import recipe as recipes
from sightweave.core.errors import DataError
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.programs.generation import Options, generate
from sightweave.programs.predictors.run import Config, RunPredictor, recognise
from sightweave.run import Run, load

RECIPE = {
    "data": [],
    "model": tiny.MODEL,
    "train": {"stages": [{"steps": 1}]},
}
TEXTS = [("red", "a blue box")] * len(samples())


def small_run() -> Run:
    """Of random weights, the same each time."""
    recipe = recipes.read(RECIPE)
    torch.manual_seed(0)
    model = recipe.model.build(vocab_size=tokenizer().vocab_size, num_answers=len(ANSWERS))
    transform = transforms.Config(size=model.encoder.image_size)
    processor = Processor(tokenizer=tokenizer(), transform=transform, layout=model.layout, answers=ANSWERS)
    return Run(model.eval(), processor, recipe)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "one"
    place.mkdir()
    small_run().save(place)
    return place


def test_it_says_what_generate_says() -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    predictor = Config(batch_size=3).build(model=model, processor=processor, name="tiny", fingerprint="f")
    assert isinstance(predictor, RunPredictor)
    assert (predictor.name, predictor.fingerprint, predictor.batch_size) == ("tiny", "f", 3)
    assert predictor.can_score
    assert predictor.can_control
    told: list[int] = []
    found = predictor.predict(samples(), TEXTS, max_tokens=4, progress=told.append)
    assert sum(told) == len(samples())
    assert max(told) <= 3
    for one, said in zip(samples(), found, strict=True):
        (alone,) = generate(model, processor, [one], Options(max_tokens=4), TEXTS[:1])
        assert (said.text, said.finish, said.tokens) == (alone.text, alone.finish, alone.tokens)
        assert [each.logprob for each in said.likelihoods] == pytest.approx(
            [each.logprob for each in alone.likelihoods], abs=1e-4
        )
    with pytest.raises(DataError, match=r"1 list\(s\) of texts for 7 sample\(s\)"):
        predictor.predict(samples(), TEXTS[:1])
    with pytest.raises(ValidationError):
        Config(batch_size=0)


def test_folders_of_runs_are_known_without_their_weights(folder: Path, tmp_path: Path) -> None:
    assert recognise(str(folder)) == "a run"
    assert recognise(str(folder / "checkpoint")) == "a run's checkpoint"
    for strange in (tmp_path, tmp_path / "nothing", folder / "recipe.yaml"):
        assert recognise(str(strange)) == ""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for weights in copy.rglob("*.safetensors"):
        weights.write_bytes(b"")
    assert recognise(str(copy)) == "a run"


def test_a_run_makes_its_predictor(folder: Path) -> None:
    run = load(folder, device="cpu")
    predictor = run.predictor()
    assert predictor.name == str(folder)
    found = predictor.predict(samples(), TEXTS, max_tokens=3)
    assert found == run.predict(samples(), TEXTS, max_tokens=3)
    assert all(len(one.likelihoods) == 2 for one in found)
    assert small_run().predictor().name == "a run in memory"


def test_the_fingerprint_names_weights_and_processor_wherever_they_are(folder: Path) -> None:
    run = small_run()
    first = run.predictor().fingerprint
    assert first == small_run().fingerprint()
    assert first == load(folder, device="cpu").fingerprint()
    with torch.no_grad():
        weight = next(run.model.parameters()).flatten()
        weight[0] += 1e-3
    assert run.fingerprint() != first
    other = small_run()
    other.processor = Processor(
        tokenizer=other.processor.tokenizer,
        transform=other.processor.transform,
        layout=other.processor.layout,
        answers=ANSWERS[:2],
    )
    assert other.fingerprint() != first


def test_tokens_of_a_batch_can_be_bounded() -> None:
    run = small_run()
    asked = samples()
    expected = [one.text for one in run.predict(asked, max_tokens=4)]
    predictor = Config(max_batch_tokens=1).build(
        model=run.model, processor=run.processor, name="bounded", fingerprint=""
    )
    told: list[int] = []
    found = predictor.predict(asked, max_tokens=4, progress=told.append)
    assert [one.text for one in found] == expected
    assert set(told) == {1}
    assert [one.text for one in run.predict(asked, max_tokens=4, max_batch_tokens=1)] == expected
