"""A folder of real photographs, as a user would have it: the model learns to tell them apart, and needs to see them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import photographs

import sightweave
from sightweave.core.types import Medium
from sightweave.data.datasets import own
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import task_of

RECIPE = Path(__file__).parents[2] / "recipes" / "own.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs.write(tmp_path_factory.mktemp("photographs"))


def test_every_photograph_reads_as_it_looks(folder: Path) -> None:
    for photograph in photographs.PHOTOGRAPHS:
        pixels = image_files.load(Medium(folder / photograph.name, key=photograph.name))
        width, height = photograph.size
        assert pixels.shape == (height, width, 3), photograph.name
        with Image.open(photographs.SOURCES / photograph.source) as opened:
            original = opened.convert("L").resize((24, 24))
        seen = Image.fromarray(pixels).convert("L").resize((24, 24))
        # The same picture in another file format: light and dark stand at the same places.
        alike = np.corrcoef(np.ravel(original), np.ravel(seen))[0, 1]
        assert alike > 0.9, f"{photograph.name}: correlation {alike:.2f}"


def test_questions_differ_among_the_pictures_and_held_out_wordings_are_new() -> None:
    for question, (learnt, asked) in photographs.WORDINGS.items():
        assert not set(learnt) & set(asked)
        answers = [photograph.answers[question] for photograph in photographs.PHOTOGRAPHS]
        assert len(set(answers)) == len(answers), question


@pytest.mark.slow
def test_held_out_wordings_are_answered_and_only_with_the_right_picture(folder: Path, tmp_path: Path) -> None:
    run = sightweave.train(
        RECIPE, f"data={folder}", "train.num_threads=1", out=tmp_path / "run", evaluate=False
    )
    (evaluation,) = sightweave.evaluate(run)
    asked = len(photographs.PHOTOGRAPHS) * sum(len(held_out) for _, held_out in photographs.WORDINGS.values())
    assert (evaluation.split, evaluation.count) == ("test", asked)
    (task,) = evaluation.tasks
    assert task.task == "vqa"
    wrong = [(i.prompt, i.answer.text, i.references) for i in evaluation.items if not i.answer.right]
    assert task.score.value >= 0.9, wrong
    assert task.controls["shuffled_image"].value <= 0.3
    assert task.controls["no_image"].value <= 0.3
    # What was learnt beside the questions.
    learnt = photographs.PHOTOGRAPHS[:6]
    captions = [run.caption(folder / p.name).text in p.captions for p in learnt]
    assert sum(captions) >= 5
    german = [run.translate(folder / p.name, p.translations["en"], to="de").text for p in learnt]
    assert sum(text == p.translations["de"] for text, p in zip(german, learnt, strict=True)) >= 5


def test_the_rows_of_the_guide_are_read(tmp_path: Path) -> None:
    guide = (RECIPE.parents[1] / "docs" / "how-to" / "own-pictures.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"```json\n(.*?)```", guide, flags=re.DOTALL)
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "cat.jpg")
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "sub" / "tea.png")
    (tmp_path / "data.jsonl").write_text(rows, encoding="utf-8")
    found = own.from_folder(tmp_path)
    assert not found.faults
    assert [[task_of(record) for record in records] for records in found] == [
        ["captioning", "vqa", "reasoning"],
        ["translation"],
    ]
    assert len(own.from_folder(tmp_path, split="test")) == 1
