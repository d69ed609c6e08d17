"""Words of other libraries lead to settings that exist."""

from __future__ import annotations

import pytest
from options import options_of_commands

from sightweave import recipe
from sightweave.core import foreign_words
from sightweave.core.errors import RecipeError

SMALL = {
    "data": "scenes",
    "model": {
        "encoder": {"kind": "cnn"},
        "connector": "mlp",
        "fusion": "concat",
        "language_model": "decoder_only",
    },
    "train": {"stages": [{"steps": 1}]},
}

OF_A_STAGE = ("epochs", "max_steps", "batch_size", "gradient_accumulation_steps")


def has(values: object, path: str) -> bool:
    for step in path.split("."):
        if isinstance(values, list):
            values = values[int(step)]
        elif isinstance(values, dict) and step in values:
            values = values[step]
        else:
            return False
    return True


@pytest.mark.parametrize(
    "setting", sorted({one for found in foreign_words.SETTINGS.values() for one in found})
)
def test_each_setting_that_is_named_exists(setting: str) -> None:
    plain = recipe.read(SMALL).to_plain()
    # Drawn scenes have neither.
    plain["data"] = [{"kind": "own", "path": ".", "limit": 1, "validation": 0.1}]
    assert has(plain, setting)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("batch_size", "train.stages.0.batch_size"),
        ("per_device_train_batch_size", "train.stages.0.batch_size"),
        ("learning_rate", "train.stages.0.optimizer.lr"),
        ("max_training_steps", "train.stages.0.steps"),
        ("freeze_vision_tower", "train.stages.0.parts"),
        ("log_every_n_steps", "train.log_every"),
        ("lr", "train.stages.0.optimizer.lr"),
        ("epochs", "train.stages.0.epochs"),
        ("num_train_epochs", "train.stages.0.epochs"),
        ("max_steps", "train.stages.0.steps"),
        ("gradient_accumulation_steps", "train.stages.0.gradient_accumulation_steps"),
        ("warmup_steps", "train.stages.0.schedule.warmup_steps"),
        ("weight_decay", "train.stages.0.optimizer.weight_decay"),
        ("output_dir", "--out"),
        ("fp16", "train.precision"),
        ("bf16", "train.precision"),
        ("report_to", "TensorBoard"),
        ("image_size", "model.encoder.image_size"),
        ("gpu", "train.device"),
    ],
)
@pytest.mark.parametrize("where", ["", "train.", "train.stages.0.", "inputs.", "model."])
def test_a_word_of_another_library_names_the_setting(word: str, named: str, where: str) -> None:
    if where == "train.stages.0." and word in OF_A_STAGE:
        return
    with pytest.raises(RecipeError) as raised:
        recipe.read(SMALL, [f"{where}{word}=3"])
    assert f"{where}{word}: unknown key (got 3)." in str(raised.value)
    assert named in str(raised.value)


@pytest.mark.parametrize("where", ["train.", "model.", "model.encoder.", "train.stages.0."])
def test_a_seed_is_set_at_the_top(where: str) -> None:
    with pytest.raises(RecipeError, match="The setting is called seed"):
        recipe.read(SMALL, [f"{where}random_seed=3"])


def test_a_setting_is_not_recommended_in_its_own_place() -> None:
    assert foreign_words.hint("image_size", path="model.encoder.image_size") == ""
    with pytest.raises(RecipeError, match=r"image_size: unknown key \(got 64\)\. Known:|Did you mean"):
        recipe.read(SMALL, ["model.fusion.kind=concat", "model.fusion.image_size=64"])


def test_a_word_that_nobody_knows_has_the_nearest_one() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'title'"):
        recipe.read(SMALL, ["titel=x"])


def test_each_option_that_is_named_exists() -> None:
    options = options_of_commands()
    assert {name for found in foreign_words.OPTION_WORDS.values() for name in found} <= options


@pytest.mark.parametrize(
    ("option", "value", "known", "hint"),
    [
        ("--batch-size", "8", ("settings",), "Write settings without dashes: train.stages.0.batch_size=8."),
        ("--bs", "", ("settings",), "this one is called train.stages.0.batch_size."),
        ("--output-dir", "x", ("settings", "--out"), "The option is called --out."),
        ("--limit", "5", ("--max-images",), "The option is called --max-images."),
        ("--limit", "5", ("--samples",), "The option is called --samples."),
        (
            "--lr",
            "1",
            (),
            "a training setting, train.stages.0.optimizer.lr; this command has no such option",
        ),
        ("--wandb", "", (), "Every run writes metrics.jsonl, TensorBoard events and"),
        ("--nonsense", "5", ("settings",), ""),
    ],
)
def test_options_of_other_libraries_lead_to_ours(
    option: str, value: str, known: tuple[str, ...], hint: str
) -> None:
    found = foreign_words.option_hint(option, value, known)
    assert hint in found
    assert bool(found) == bool(hint)
