"""Settings, options and keyword arguments by their earlier names."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from options import options_of_commands
from typer.testing import CliRunner

import sightweave
from sightweave import api, cli, recipe
from sightweave import run as runs
from sightweave.core import checkpoint, config, old_names
from sightweave.core.errors import RecipeError

MODEL = {
    "encoder": {"kind": "cnn"},
    "connector": "mlp",
    "fusion": "concat",
    "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2},
}
OLD: dict[str, Any] = {
    "data": [
        {"kind": "scenes", "per_picture": 4, "pictures": "drawn"},
        {"kind": "pictures", "path": ".", "labelled": False},
    ],
    "model": MODEL,
    "train": {
        "workers": 3,
        "threads": 2,
        "stages": [
            {
                "steps": 1,
                "pictures": 3,
                "microsteps": 2,
                "clip": 0.5,
                "checkpointing": True,
                "samples_per_picture": 5,
                "optimizer": {"part_lr": {"encoder": 0.1}},
                "schedule": {"form": "cosine", "floor": 0.1},
                "lora": {"language_model": {"targets": ["q"], "dora": True}},
            }
        ],
    },
    "evaluate": {"pictures": 7},
}
NEW: dict[str, Any] = {
    "data": [
        {"kind": "scenes", "items_per_image": 4, "style": "drawn"},
        {"kind": "images", "path": ".", "labelled": False},
    ],
    "model": MODEL,
    "train": {
        "num_workers": 3,
        "num_threads": 2,
        "stages": [
            {
                "steps": 1,
                "batch_size": 3,
                "gradient_accumulation_steps": 2,
                "max_grad_norm": 0.5,
                "gradient_checkpointing": True,
                "samples_per_image": 5,
                "optimizer": {"lr_multipliers": {"encoder": 0.1}},
                "schedule": {"name": "cosine", "min_lr_ratio": 0.1},
                "lora": {"language_model": {"target_modules": ["q"], "use_dora": True}},
            }
        ],
    },
    "evaluate": {"max_images": 7},
}
SMALL: dict[str, Any] = {"data": "scenes", "model": MODEL, "train": {"stages": [{"steps": 1}]}}


@pytest.fixture(autouse=True)
def told_again() -> Iterator[None]:
    """Each test gets its own warnings, though a process says each only once."""
    old_names._warn_once.cache_clear()
    yield
    old_names._warn_once.cache_clear()


def keys(value: Any) -> set[str]:
    """All keys in plain data."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


def test_a_recipe_with_every_old_name_is_the_one_with_the_new_names(caplog: pytest.LogCaptureFixture) -> None:
    old = recipe.read(OLD)
    (said,) = warnings(caplog)
    assert old == recipe.read(NEW)
    assert warnings(caplog) == [said]

    assert said.startswith("recipe: ")
    assert said.endswith(" The old name still works, but please use the new one.")
    recipe_names = [name for place, name in every_name() if place.startswith(("train", "evaluate", "data"))]
    assert keys(OLD) - keys(NEW) == set(recipe_names)
    for name in recipe_names:
        assert f".{name} is now called " in said
    assert "train.stages.0.pictures is now called batch_size;" in said
    assert "train.stages.0.lora.language_model.dora is now called use_dora;" in said
    assert "data.0.pictures is now called style;" in said
    assert "data.1: kind pictures is now called images;" in said


def every_name() -> list[tuple[str, str]]:
    return [(place, old) for place, names in old_names.NAMES.items() for old in names]


def test_what_is_given_is_not_changed() -> None:
    before = repr(OLD)
    recipe.read(OLD)
    assert repr(OLD) == before


def test_an_old_recipe_is_saved_with_new_names_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = recipe.read(OLD)
    file = tmp_path / "recipe.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8")
    caplog.clear()

    old = {name for _, name in every_name()}
    assert not (keys(made.to_plain()) & old - keys(NEW))
    assert recipe.read(file) == made
    assert warnings(caplog) == []


def test_a_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "mine.yaml"
    values = SMALL | {"train": {"stages": [{"steps": 1, "pictures": 2}]}}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert recipe.read(file).train.stages[0].batch_size == 2
    assert warnings(caplog) == [
        f"{file}: train.stages.0.pictures is now called batch_size. The old name still works, but please use the new one."
    ]
    recipe.read(file)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("train.stages.0.pictures=2", "train.stages.0.batch_size", 2),
        ("train.workers=4", "train.num_workers", 4),
        ("evaluate.pictures=9", "evaluate.max_images", 9),
        ("data.0.pictures=drawn", "data.0.style", "drawn"),
        ("data.0.per_picture=3", "data.0.items_per_image", 3),
        (
            "train.stages.0.optimizer.part_lr.encoder=0.5",
            "train.stages.0.optimizer.lr_multipliers.encoder",
            0.5,
        ),
        (
            "train.stages.0.optimizer.part_lr={encoder: 0.5}",
            "train.stages.0.optimizer.lr_multipliers.encoder",
            0.5,
        ),
        ("train.stages.0={steps: 2, pictures: 5}", "train.stages.0.batch_size", 5),
        ("data={kind: scenes, per_picture: 2}", "data.0.items_per_image", 2),
    ],
)
def test_settings_with_old_names(
    setting: str, path: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    found: Any = recipe.read(SMALL, [setting]).to_plain()
    for step in path.split("."):
        found = found[int(step) if step.isdigit() else step]
    assert found == value
    (said,) = warnings(caplog)
    assert " is now called " in said


def test_a_setting_replaces_the_old_name_in_a_recipe_and_the_other_way_round() -> None:
    assert recipe.read(OLD, ["train.stages.0.batch_size=6"]).train.stages[0].batch_size == 6
    assert recipe.read(NEW, ["train.stages.0.pictures=6"]).train.stages[0].batch_size == 6


@pytest.mark.parametrize(
    ("values", "settings", "words"),
    [
        (
            SMALL | {"train": {"stages": [{"steps": 1, "pictures": 2, "batch_size": 2}]}},
            [],
            "recipe: train.stages.0.pictures is the old name of batch_size, and both are given; remove "
            "train.stages.0.pictures.",
        ),
        (
            SMALL | {"evaluate": {"max_images": 2, "pictures": 3}},
            [],
            "evaluate.pictures is the old name of max_images",
        ),
        (
            SMALL,
            ["train.threads=1", "train.num_threads=1"],
            "train.threads is the old name of train.num_threads",
        ),
        (
            SMALL,
            ["train.num_threads=1", "train.threads=1"],
            "train.threads is the old name of train.num_threads",
        ),
        (
            SMALL,
            ["train.stages.0={steps: 1, clip: 1.0, max_grad_norm: 1.0}"],
            "train.stages.0.clip is the old name of max_grad_norm",
        ),
    ],
)
def test_both_names_are_refused(values: dict[str, Any], settings: list[str], words: str) -> None:
    with pytest.raises(RecipeError) as raised:
        recipe.read(values, settings)
    assert words in str(raised.value)


def test_the_recipe_of_a_run_is_read_silently(caplog: pytest.LogCaptureFixture) -> None:
    for source in (None, config.Downloaded()):
        values = OLD | {"data": OLD["data"][:1]}
        found = recipe.of_run(values, where="run/recipe.yaml", source=source)
        assert found.train == recipe.read(NEW).train
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"kind": "my_lab.scenes", "per_picture": 4, "pictures": "mine"}},
        {"data": {"kind": "own", "path": ".", "pictures": "x"}},
        {"data": {"kind": "pictures"}},  # the name of a folder
        {"data": "pictures"},
        {"tasks": {"vqa": {"pictures": 3}}},
        {"model": {"encoder": {"kind": "cnn", "form": "x", "pictures": 3}}},
        {"pictures": 3, "title": {"pictures": 3}},
        {"train": 3, "data": [[[3]]], 4: {"pictures": 5}},
    ],
)
def test_the_same_words_elsewhere_are_left_alone(values: dict[Any, Any]) -> None:
    assert old_names.update(values) == values


@pytest.mark.parametrize("word", ["microsteps", "samples_per_picture", "clip"])
def test_an_old_name_in_the_wrong_place_leads_to_the_new_one(word: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"The setting is called train\.stages\.0\.{old_names.NAMES['train.stages'][word]}"
    ):
        recipe.read(SMALL, [f"{word}=3"])


@pytest.mark.parametrize("word", ["pictures", "form", "targets"])
def test_a_word_of_several_settings_leads_nowhere(word: str) -> None:
    assert old_names.settings_of(word) == []


def test_kinds_outside_of_recipes(caplog: pytest.LogCaptureFixture) -> None:
    asked = api.predictor({"kind": "endpoint", "url": "http://localhost:9/v1", "model": "m", "at_once": 2})
    assert asked._num_concurrent == 2
    assert warnings(caplog)[0].startswith("who: who.at_once is now called num_concurrent.")


def with_old_names(value: Any, names: dict[str, str]) -> Any:
    """Plain data with old keys in the place of new ones."""
    if isinstance(value, dict):
        return {names.get(key, key): with_old_names(inner, names) for key, inner in value.items()}
    return [with_old_names(one, names) for one in value] if isinstance(value, list) else value


def test_a_run_of_an_earlier_version_loads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = SMALL | {"inputs": {"vocab_size": 300}, "data": {"kind": "scenes", "size": 2}}
    run = sightweave.build(values)
    old = with_old_names(
        run.recipe.to_plain(),
        {
            "num_threads": "threads",
            "max_images": "pictures",
            "items_per_image": "per_picture",
            "style": "pictures",
            "batch_size": "pictures",
            "max_grad_norm": "clip",
            "lr_multipliers": "part_lr",
            "min_lr_ratio": "floor",
        },
    )
    assert old["train"]["stages"][0]["pictures"] == old["train"]["stages"][0]["clip"] * 8
    documents = {**run.processor.documents(), "recipe": old}
    weights = run.model.state_dict()
    checkpoint.write_folder(tmp_path / "run" / runs.CHECKPOINT, {"model": weights}, documents)
    (tmp_path / "run" / runs.RECIPE).write_text(yaml.safe_dump(old), encoding="utf-8")

    loaded = sightweave.load(tmp_path / "run")
    assert loaded.recipe == run.recipe
    assert warnings(caplog) == []
    assert runs.asked_of({runs.ASKED: {"train": {"threads": 2}}}) == {"train": {"num_threads": 2}}


def test_decoding_by_an_old_name(caplog: pytest.LogCaptureFixture) -> None:
    options = runs._options(decoding={"kind": "beam", "beams": 3})
    assert options.decoding.num_beams == 3
    assert warnings(caplog)[0].startswith("generate: decoding.beams is now called num_beams.")


def test_every_new_option_exists_and_no_old_one() -> None:
    options = options_of_commands()
    assert set(old_names.OPTIONS.values()) <= options
    assert not set(old_names.OPTIONS) & options


def test_old_options_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    known = ["--max-images", "--out"]
    words = ["run", "--pictures", "3", "--pictures=4", "--out", "x", "--", "--pictures"]
    found = old_names.new_options(words, known)
    assert found == ["run", "--max-images", "3", "--max-images=4", "--out", "x", "--", "--pictures"]
    assert warnings(caplog)[0].startswith("--pictures is now called --max-images.")
    assert old_names.new_options(["--pictures"], ["--out"]) == ["--pictures"]
    with pytest.raises(RecipeError, match="--pictures is the old name of --max-images, and both are given"):
        old_names.new_options(["--pictures", "3", "--max-images=4"], known)


def test_help_shows_new_options_only() -> None:
    shown = CliRunner().invoke(cli.app, ["evaluate", "--help"], env={"COLUMNS": "200"}).output
    assert "--max-images" in shown
    assert "--pictures" not in shown


def test_a_command_takes_an_old_option(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = CliRunner().invoke(cli.app, ["evaluate", str(tmp_path / "nowhere"), "--pictures", "3"])
    assert "No such option" not in found.output
    assert "not found" in str(found.exception)
    assert warnings(caplog)[0].startswith("--pictures is now called --max-images.")


def test_keyword_arguments_by_their_old_names(caplog: pytest.LogCaptureFixture) -> None:
    @old_names.accepts(pictures="max_images")
    def ask(who: str, *, max_images: int | None = None) -> tuple[str, int | None]:
        """Asks."""
        return who, max_images

    assert ask("me", pictures=3) == ("me", 3)  # type: ignore[call-arg]  # the old name
    assert ask("me", max_images=4) == ("me", 4)
    assert ask("me") == ("me", None)
    assert ask.__doc__ == "Asks."
    assert warnings(caplog) == [
        "ask(pictures=) is now called max_images=. The old name still works, but please use the new one."
    ]
    with pytest.raises(
        TypeError, match=r"ask\(pictures=\) is the old name of max_images=, and both are given"
    ):
        ask("me", pictures=3, max_images=4)  # type: ignore[call-arg]  # the old name


@pytest.mark.parametrize(
    ("function", "new"),
    [(sightweave.evaluate, "max_images"), (sightweave.compare, "jobs"), (sightweave.export, "license")],
)
def test_public_functions_have_the_new_names(function: Any, new: str) -> None:
    assert new in inspect.signature(function).parameters
