"""A recipe is one value: it reads, resolves, says all its mistakes, and writes itself back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from sightweave import recipe as recipes
from sightweave.core.errors import RecipeError
from sightweave.data.datasets import own, scenes

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def values(**changes: Any) -> dict[str, Any]:
    return {"data": "scenes", "model": tiny.MODEL, "train": {"stages": [{"steps": 1}]}} | changes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_house_reads_and_writes_itself_back_equal(path: Path, tmp_path: Path) -> None:
    read = recipes.read(path)
    if not read.model.hub_names:
        read.check()
    (tmp_path / "again.yaml").write_text(read.to_yaml(), encoding="utf-8")
    assert recipes.read(tmp_path / "again.yaml") == read
    assert recipes.read(read.to_plain()) == read


def test_a_path_a_kind_and_a_mapping_are_each_one_source() -> None:
    assert recipes.read(values()).data == (scenes.Config(),)
    assert recipes.read(values(data="somewhere/mine")).data == (own.Config(path="somewhere/mine"),)
    both = recipes.read(values(data=["scenes", {"kind": "own", "path": "mine", "held_out": 0.2}])).data
    assert both == (scenes.Config(), own.Config(path="mine", held_out=0.2))


def test_settings_change_it_and_a_new_kind_drops_the_old_fields() -> None:
    read = recipes.read(values(), ["model.fusion.kind=cross_attention", "seed=4", "train.stages.0.steps=9"])
    assert type(read.model.fusion).__module__.endswith(".cross_attention")
    assert (read.seed, read.train.stages[0].steps) == (4, 9)


def test_all_mistakes_are_in_one_report() -> None:
    with pytest.raises(RecipeError) as error:
        recipes.read(values(sed=1, seed="x"), ["model.fusion=concatt"])
    assert "recipe: 3 mistake(s)" in str(error.value)
    for words in ("sed: unknown key", "seed: Input should be a valid integer", "Did you mean 'concat'"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "model.language_model.num_heads=3",
            "model.language_model: num_heads 3 does not divide the width 16",
        ),
        ("model.fusion=bilinear", "Fusions for DecoderOnly: addition, concat, cross_attention"),
        (
            "model.connector={kind: pool, side: 9}",
            "model.connector: pool side 9 is larger than the grid 4 x 4",
        ),
    ],
)
def test_parts_that_do_not_fit_are_found_without_data(setting: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipes.read(values(), [setting]).check()


def test_sizes_that_are_none_are_told_together() -> None:
    with pytest.raises(RecipeError) as error:
        recipes.read(values(), ["model.encoder.image_size=0", "model.language_model.dim=-1"])
    assert "encoder.image_size must be at least 1 (got 0)" in str(error.value)
    assert "language_model.dim must not be negative (got -1)" in str(error.value)
    assert recipes.read(values()).model.encoder.blocks == (0, 0)  # 0 blocks mean something


def test_an_image_tokenizer_is_trained_before_its_codes_are_learnt() -> None:
    model = {**tiny.MODEL, "image_tokenizer": {"kind": "fsq", "image_size": 16}}
    answers = {"name": "answers", "steps": 1}
    first = {"name": "first", "steps": 1, "learn": "image_tokens", "parts": ["image_tokenizer"]}
    with pytest.raises(RecipeError, match="image_tokenizer is not trained before stage 'answers'"):
        recipes.read(values(model=model, train={"stages": [answers, first]}))
    recipes.read(values(model=model, train={"stages": [first, answers]}))
    recipes.read(values(model=model, train={"stages": [answers]}, init_from="runs/earlier"))


def test_tasks_take_the_words_of_the_recipe() -> None:
    read = recipes.read(values(tasks={"captioning": {"instruction": "Say what you see."}}))
    assert read.task("captioning").instruction == "Say what you see."
    assert read.build_tasks()["captioning"].instruction == "Say what you see."
    with pytest.raises(RecipeError, match=r"tasks: no task 'vqq'. Did you mean 'vqa'\?"):
        recipes.read(values(tasks={"vqq": {}})).build_tasks()
    with pytest.raises(RecipeError, match=r"tasks.vqa: 1 mistake"):
        recipes.read(values(tasks={"vqa": {"instruktion": "x"}})).build_tasks()
    with pytest.raises(
        RecipeError, match=r"records of 'my_lab\.counting', .* tasks: \{my_lab\.counting: \{\}\}"
    ):
        recipes.read(values()).build_tasks()["my_lab.counting"]


def dataset(*answers: str) -> own.Own:
    rows = [
        {"image": b, "question": "What?", "answer": answer, "split": "train"}
        for answer, b in zip(answers, pictures(len(answers)), strict=True)
    ]
    return own.from_records(rows)


def pictures(count: int) -> list[Any]:
    import numpy as np

    return [np.full((4, 4, 3), shade, dtype=np.uint8) for shade in range(count)]


def test_the_tokenizer_knows_the_words_of_data_and_instructions() -> None:
    read = recipes.read(values())
    tokenizer = read.build_tokenizer([dataset("wombat", "wombat", "wombat")])
    assert len(tokenizer.encode(" wombat")) <= 2 < len(tokenizer.encode(" zyxwvut"))
    text = "Describe the image."
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_answers_are_the_commonest_and_only_for_a_model_that_chooses() -> None:
    data = [dataset("b", "a", "b", "c", "c", "b")]
    assert recipes.read(values()).build_answers(data) == ()
    chooses = ["model.language_model={kind: encoder_only, dim: 16, num_heads: 2}", "model.fusion=bilinear"]
    assert recipes.read(values(), chooses).build_answers(data) == ("b", "c", "a")
    assert recipes.read(values(), [*chooses, "inputs.num_answers=2"]).build_answers(data) == ("b", "c")
    captions = own.from_records([{"image": pictures(1)[0], "caption": "Dark.", "split": "train"}])
    with pytest.raises(RecipeError, match="the data has no question with an answer"):
        recipes.read(values(), chooses).build_answers([captions])


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere.yaml: recipe file not found"):
        recipes.read(tmp_path / "nowhere.yaml")
