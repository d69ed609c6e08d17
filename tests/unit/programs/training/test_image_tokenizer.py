"""A stage of image tokens trains the image tokenizer on the images alone, and measures how well it restores others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, picture, sample
from unit.programs.training.test_trainer import PRECISION, TASKS, Some, stage, trainer

from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Medium
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.models.image_tokenizers.fsq import Fsq
from sightweave.models.loss import amounts, picture_loss, training_loss
from sightweave.models.vlm import VLM
from sightweave.programs.training.logs import read_metrics
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.summary import restoring
from sightweave.programs.training.trainer import Trainer, TrainingData

LEARN: dict[str, Any] = {"learn": "image_tokens", "parts": ("image_tokenizer",)}


def composed() -> tuple[VLM, Processor]:
    model, processor = compose(Case("concat", (), "decoder_only"))
    torch.manual_seed(0)
    model.image_tokenizer = Fsq(image_size=16, levels=(8, 5, 5), channels=8, max_channels=16)
    return model, dataclasses.replace(processor, pictures=transforms.Config(size=16))


def test_only_the_image_tokenizer_changes_and_the_loss_falls(tmp_path: Path) -> None:
    model, processor = composed()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    trainer(model, processor, tmp_path, stage(60, batch_size=4, **LEARN), data=[Some(4)]).run()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])

    changed = {name for name, one in model.state_dict().items() if not torch.equal(one, before[name])}
    assert changed
    assert all(name.startswith("image_tokenizer.") for name in changed)
    assert rows[-1]["update_ratio_image_tokenizer"] > 0


def test_validation_measures_pictures_that_were_not_trained_on(tmp_path: Path) -> None:
    model, processor = composed()
    made = Trainer(
        model,
        processor,
        TrainingData([Some(8)], TASKS, validation=[Some(3, first=50)]),
        Settings(stages=(stage(2, **LEARN),), validate_every=2, validate_samples=4, log_every=1),
        precision=PRECISION,
        out=tmp_path,
        seed=0,
    )
    made.run()
    (found,) = made.state.validations[0]
    held_out = processor.picture_batch([sample("", picture(50 + number), "what ?") for number in range(3)])
    assert held_out.pictures is not None
    assert model.image_tokenizer is not None
    with torch.no_grad():
        output = model(held_out)
        codes = model.image_tokenizer.encode(held_out.pictures)
        restored = model.image_tokenizer.decode(codes)
    errors = (restored - held_out.pictures).double().square().mean((1, 2, 3))
    assert found.loss == pytest.approx(picture_loss(output, held_out, edge_weight=0.1).item(), rel=1e-5)
    assert found.measures["psnr"] == pytest.approx((-10 * errors.log10()).mean().item())
    assert found.measures["codes_used"] == len(codes.unique())
    assert -1 < found.measures["ssim"] < 1
    assert found.scores == {}  # its language model has learnt nothing

    row = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert row["validation_psnr"] == found.measures["psnr"]
    (line,) = restoring(made.settings, made.state.validations, made.state.kept_steps)
    assert f"PSNR of {found.measures['psnr']:.1f} dB, SSIM {found.measures['ssim']:.3f}; they have" in line


def test_the_loss_is_the_error_of_pixels_and_edges() -> None:
    model, processor = composed()
    batch = processor.picture_batch([sample("", picture(1), picture(2), "what ?")])
    with torch.no_grad():
        output = model(batch)
    assert output.pictures is not None
    assert batch.pictures is not None
    error = output.pictures - batch.pictures
    pixels = error.abs().mean()
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    found = training_loss(output, batch, edge_weight=0.5)
    torch.testing.assert_close(found, pixels + 0.5 * (across + down))
    # Two batches of one picture each have the mean of the batch of both.
    halves = [processor.picture_batch([sample("", picture(number), "what ?")]) for number in (1, 2)]
    of = sum([amounts(one) for one in halves[1:]], amounts(halves[0]))
    with torch.no_grad():
        shares = [training_loss(model(one), one, edge_weight=0.5, of=of) for one in halves]
    torch.testing.assert_close(shares[0] + shares[1], found)


def test_each_image_is_used_once_and_pixels_are_from_0_to_1() -> None:
    _, processor = composed()
    same = [sample("a", picture(1), "what ?"), sample("b", picture(1), "how many ?", picture(2))]
    batch = processor.picture_batch(same)
    assert batch.pictures is not None
    assert batch.pictures.shape == (2, 3, 16, 16)
    assert 0 <= float(batch.pictures.min()) < 0.2
    assert 0.8 < float(batch.pictures.max()) <= 1
    # Sides are padded with grey, as for the encoder.
    wide = Medium(torch.zeros(8, 16, 3, dtype=torch.uint8).numpy(), "black and wide")
    padded = processor.picture_batch([sample("", wide, "what ?")]).pictures
    assert padded is not None
    torch.testing.assert_close(padded[0, :, 0], torch.full((3, 16), 0.5))
    torch.testing.assert_close(padded[0, :, 8], torch.zeros(3, 16))


def test_samples_without_an_image_and_unreadable_images_are_left_out(tmp_path: Path) -> None:
    model, processor = composed()
    made = trainer(
        model, processor, tmp_path, stage(4, batch_size=2, **LEARN), data=[Some(6, bad=frozenset({1, 2}))]
    )
    made.run()
    assert made.state.quarantine.reasons
    assert made.state.pictures == 8

    class Texts(Some):
        def __getitem__(self, index: int) -> list[Any]:
            return [dataclasses.replace(one, images=()) for one in super().__getitem__(index)]

    with pytest.raises(DataError, match="none of 3 images has a usable sample"):
        trainer(*composed(), tmp_path / "texts", stage(1, **LEARN), data=[Texts(3)]).run()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"learn": "image_tokens"},
            r"learns image_tokens, which trains nothing but the image tokenizer; set parts",
        ),
        ({"parts": ("encoder", "image_tokenizer")}, "parts has image_tokenizer, but learn is answers"),
        (
            {**LEARN, "words": "captions"},
            "words is captions, but learn is image_tokens, which reads no words",
        ),
        ({**LEARN, "pack_window": 2, "pack_to": 90}, "pack_window is 2, but learn is image_tokens"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage(steps=1, **fields)


def test_a_model_without_an_image_tokenizer_is_refused(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    with pytest.raises(
        RecipeError, match=r"has image_tokenizer, but the model has none; set model\.image_tokenizer"
    ):
        trainer(model, processor, tmp_path, stage(1, **LEARN), data=[Some(2)]).run()
    with pytest.raises(RecipeError, match=r"no image tokenizer; set model\.image_tokenizer"):
        processor.picture_batch([sample("", picture(1), "what ?")])
