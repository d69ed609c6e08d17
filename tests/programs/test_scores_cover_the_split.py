"""What is scored, and what it is compared with, is drawn over the whole of the data, never taken from its beginning."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from rich.console import Console

from sightweave import api
from sightweave import recipe as recipes
from sightweave.core.errors import DataError
from sightweave.data.datasets import own
from sightweave.data.inputs.order import Mix, Mixing
from sightweave.data.reading.subset import draw
from sightweave.data.reading.table import Table
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.stored import read_evaluations
from sightweave.verbs.building import plan_lengths
from sightweave.verbs.sources import seen_in_training

CLASSES = ("ant", "bee", "cow")
EACH = 60


def picture(path: Path, number: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), (number % 256, number // 256, 9), np.uint8)).save(path)
    return path.name


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A test folder with a folder for each class, one class after the other in file order."""
    for place, name in enumerate(CLASSES):
        for number in range(EACH):
            picture(tmp_path / "data" / "test" / name / f"{number:03}.png", place * EACH + number)
    return tmp_path / "data"


def always(said: str, data: Path, path: Path) -> Path:
    """A file that gives one answer to every picture."""
    rows = [
        {"image": str(one.relative_to(data)), "answer": said, "id": str(one.relative_to(data))}
        for one in sorted(data.rglob("*.png"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(who: Path, data: Any, *settings: str, **options: Any) -> Evaluation:
    (found,) = api.evaluate(who, *settings, data=data, **options)
    return found


def ids(found: Evaluation) -> list[str]:
    return [item.id for item in found.items]


def test_a_folder_of_classes_is_scored_on_all_of_them(classes: Path, tmp_path: Path) -> None:
    who = always("ant", classes, tmp_path / "ant.jsonl")
    told = io.StringIO()
    found = score(
        who,
        classes,
        "tasks.captioning.metrics=[exact_match]",
        max_images=60,
        out=tmp_path / "out",
        console=Console(file=told, width=200),
    )
    shown = Counter(item.references[0] for item in found.items)
    assert set(shown) == set(CLASSES)
    assert all(10 <= count <= 30 for count in shown.values())
    assert found.tasks[0].score.value == shown["ant"] / 60

    assert (found.pictures, found.pictures_total) == (60, 180)
    assert "evaluating test: 60 of 180 images" in told.getvalue()
    assert "60 of 180 images" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert document["splits"][0]["pictures_total"] == 180
    assert read_evaluations(tmp_path / "out")[0].pictures_total == 180


def test_every_evaluation_of_a_split_draws_the_same_pictures(classes: Path, tmp_path: Path) -> None:
    ant, bee = (always(said, classes, tmp_path / f"{said}.jsonl") for said in ("ant", "bee"))
    first = score(ant, classes, max_images=30, out=tmp_path / "a")
    other = score(
        bee, classes, "seed=7", max_images=30, out=tmp_path / "b"
    )  # a run's own seed has no part in it
    assert ids(first) == ids(other)
    more = score(ant, classes, max_images=50, out=tmp_path / "c")
    assert set(ids(first)) < set(ids(more))
    drawn_anew = score(ant, classes, "evaluate.draw_seed=1", max_images=30, out=tmp_path / "d")
    assert set(ids(first)) != set(ids(drawn_anew))
    everything = score(ant, classes, max_images=180, out=tmp_path / "e")
    assert (everything.pictures, everything.pictures_total) == (180, None)


def test_answers_to_pictures_that_are_not_drawn_are_not_used_and_missing_ones_are_told(
    classes: Path, tmp_path: Path
) -> None:
    who = always("ant", classes, tmp_path / "ant.jsonl")
    found = score(who, classes, max_images=30, out=tmp_path / "a")
    assert any("150 of its 180 answers match none of these samples" in note for note in found.notes)

    lines = who.read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["id"] in ids(found)]
    who.write_text("".join(kept))
    assert ids(score(who, classes, max_images=30, out=tmp_path / "b")) == ids(found)
    who.write_text("".join(kept[1:]))
    with pytest.raises(DataError, match="no answer for 1 of 30 samples"):
        score(who, classes, max_images=30, out=tmp_path / "c")


def test_sources_of_different_sizes_are_drawn_as_one(tmp_path: Path) -> None:
    sources = []
    for name, size in (("large", 300), ("small", 30), ("none", 0)):
        rows = [
            {"image": picture(tmp_path / name / f"{n}.png", n), "caption": "x", "split": "test"}
            for n in range(size)
        ]
        rows += [{"image": picture(tmp_path / name / "t.png", 999), "caption": "x", "split": "train"}]
        (tmp_path / name / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources.append(own.Config(path=str(tmp_path / name)).build(split="test"))
    found = draw(sources, 110, seed=3)
    of_each = Counter(number for number, _ in found)
    assert len(set(found)) == 110
    assert 3 <= of_each[1] <= 20  # ten, give or take
    assert of_each[0] + of_each[1] == 110
    assert sum(index >= 150 for number, index in found if number == 0) >= 30
    assert draw(sources, 1000) == [(0, n) for n in range(300)] + [(1, n) for n in range(30)]
    assert draw([], 5) == []


def training_and_test(folder: Path) -> list[dict[str, Any]]:
    """Training whose first 600 pictures say one thing, and the many after them another; and a test."""
    early = {"split": "train", "question": "What is it?", "answer": "an early answer"}
    rows: list[dict[str, Any]] = [dict(early) for _ in range(600)]
    rows += [early | {"answer": "a late answer"} for _ in range(700)]
    rows += [{"split": "train", "question": "Is it far away?", "answer": "yes"} for _ in range(20)]
    rows += [{"split": "test", "question": "Is it far away?", "answer": "yes"} for _ in range(12)]
    for number, row in enumerate(rows):
        row |= {"image": picture(folder / f"{number:04}.png", number), "id": str(number)}
    return rows


def test_majority_and_text_only_know_all_of_the_training_data(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    rows = training_and_test(folder)
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    who = tmp_path / "answers.jsonl"
    who.write_text("".join(json.dumps({"id": row["id"], "answer": "no"}) + "\n" for row in rows))
    found = score(who, folder, out=tmp_path / "out")
    (kind,) = found.tasks[0].types
    assert kind.majority_answer == "a late answer"
    assert kind.neighbour == 1.0  # the question of the last twenty training pictures
    assert not any("the majority and text-only baselines use" in note for note in found.notes)


def test_answers_to_choose_from_are_those_of_all_of_the_training_data(tmp_path: Path) -> None:
    rows = [
        {
            "image": np.full((2, 2, 3), (n % 256, n // 256, 1), np.uint8),
            "question": "What?",
            "answer": f"a{n // 1500}",
        }
        for n in range(3000)
    ]
    recipe = recipes.read("recipes/demo.yaml", ["model.language_model={kind: encoder_only}"])
    table = own.from_records(rows, held_out=0.0)
    assert isinstance(table, Table)
    assert len(table) == 3000
    assert recipe.build_answers([table]) == ("a0", "a1")


def test_a_drawn_world_says_how_much_of_it_was_counted(tmp_path: Path) -> None:
    asked = {"kind": "scenes", "size": 3000, "tasks": ["captioning"]}
    rows = [
        {"id": record.id, "answer": "a big red star"}
        for group in map(
            recipes.measured({"data": asked}).data[0].build(split="validation").__getitem__, range(3000)
        )
        for record in group
    ]
    who = tmp_path / "answers.jsonl"
    who.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = score(who, asked, splits=["val"], max_images=20, out=tmp_path / "out")
    assert (found.split, found.pictures, found.pictures_total) == ("validation", 20, 3000)
    assert any(
        "the majority and text-only baselines use 2,000 of 3,000 training images" in note
        for note in found.notes
    )


def test_of_a_drawn_world_a_runs_own_pictures_are_counted(tmp_path: Path) -> None:
    rows = [{"image": np.full((2, 2, 3), n, np.uint8), "question": "What?", "answer": "a"} for n in range(50)]
    stages = ("train.stages.0.steps=3", "train.stages.0.batch_size=4", "train.stages.1.steps=20")
    world = "data=[{kind: scenes, weight: 3}, {kind: scenes, seed: 1, weight: 1}]"
    recipe = recipes.read("recipes/demo.yaml", [*stages, world])
    sources = [one.build(split="train") for one in recipe.data]
    first, second = seen_in_training(recipe, sources)
    visited = 3 * 4 * 2 + 20 * 4 * 2
    assert len(first) + len(second) == visited
    assert len(first) > 2 * len(second) > 20  # as they are mixed
    order = Mix([1_000_000] * 2, [Mixing(weight=3.0), Mixing(weight=1.0)], seed=recipe.seed)
    assert {order.at(position) for position in range(visited)} == {(0, n) for n in first} | {
        (1, n) for n in second
    }

    table = own.from_records(rows, held_out=0.0)
    mixed = [table, sources[0]]
    whole, some = seen_in_training(recipe, mixed)
    assert list(whole) == list(range(50))  # its rows are at hand, whatever the steps came to
    assert 0 < len(some) <= visited
    unknown = seen_in_training(None, mixed)
    assert [len(one) for one in unknown] == [50, 2000]
    assert max(unknown[1]) > 900_000


SMALL: dict[str, Any] = {
    "data": [],
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 300},
    "train": {"stages": [{"steps": 2, "batch_size": 2}], "num_threads": 1, "precision": "fp32"},
}


def test_lengths_are_counted_over_all_of_the_data() -> None:
    short = {"images": [], "question": "Is it?", "answer": "yes"}
    rows = [{**short, "id": f"s{n}"} for n in range(20_000)]
    rows += [{**short, "id": f"l{n}", "answer": "yes " * 60} for n in range(2000)]
    table = own.from_records(rows, held_out=0.0)
    run = api.build(SMALL, data=rows[:50])
    plan = plan_lengths(run, [table])
    assert plan.is_partial
    assert plan.percentiles["50"] < 30 < plan.percentiles["max"]
    assert "counted on 20,000 of 22,000 images" in plan.to_text()

    # A drawn world beside rows does not cut what is looked at of the rows.
    world = recipes.measured({"data": "scenes"}).data[0].build(split="train")
    few = own.from_records(rows[:300], held_out=0.0)
    assert plan_lengths(run, [few, world]).groups == 300 + 100


def parts(folder: Path, *splits: str) -> Path:
    rows = [
        {"image": picture(folder / f"{split}{n}.png", 7 * place + n), "caption": split, "split": split}
        for place, split in enumerate(splits)
        for n in range(5)
    ]
    for row in rows:
        row["id"] = row["image"]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return always("x", folder, folder.parent / "x.jsonl")


@pytest.mark.parametrize("name", ["validation", "val", "dev"])
def test_the_validation_split_is_scored_when_it_is_asked_for(tmp_path: Path, name: str) -> None:
    who = parts(tmp_path / "data", "train", "valid", "test")
    found = score(who, tmp_path / "data", splits=[name], out=tmp_path / "out")
    assert (found.split, found.count, {item.references[0] for item in found.items}) == (
        "validation",
        5,
        {"valid"},
    )


def test_by_default_the_test_split_alone_is_scored(tmp_path: Path) -> None:
    who = parts(tmp_path / "data", "train", "dev", "test")
    found = score(who, tmp_path / "data", out=tmp_path / "out")
    assert (found.split, {item.references[0] for item in found.items}) == ("test", {"test"})


def test_without_a_test_split_validation_stands_in_and_a_note_says_so(tmp_path: Path) -> None:
    who = parts(tmp_path / "data", "train", "val")
    found = score(who, tmp_path / "data", out=tmp_path / "out")
    assert found.split == "validation"
    assert any("There is no test split with answers" in note for note in found.notes)


def test_pictures_without_a_split_have_a_validation_split_too(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for number in range(120):
        picture(folder / CLASSES[number % 3] / f"{number}.png", number)
    who = always("ant", folder, tmp_path / "ant.jsonl")
    test = score(who, folder, out=tmp_path / "test")
    validation = score(who, folder, splits=["validation"], out=tmp_path / "validation")
    assert (test.split, validation.split) == ("test", "validation")
    assert validation.count > 3
    assert not set(ids(test)) & set(ids(validation))


def test_a_sheet_shows_pictures_of_all_of_the_split(classes: Path, tmp_path: Path) -> None:
    drawn = api.sample_data(str(classes), tmp_path / "sheet.png", split="test", count=12)
    again = api.sample_data(str(classes), tmp_path / "again.png", split="test", count=12)
    assert drawn.read_bytes() == again.read_bytes()
    with Image.open(drawn) as sheet:
        colours = {pixel[:3] for _, pixel in sheet.convert("RGB").getcolors(1 << 24) or ()}
    # Each picture has a red of its own, which grows through the classes.
    reds = {red for red, green, blue in colours if (green, blue) == (0, 9)}
    assert {min(red // EACH, 2) for red in reds} == {0, 1, 2}
