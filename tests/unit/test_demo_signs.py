"""The demo of words in images: fewer steps on request, new scenes, and lines that can be read without colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from sightweave import api, demo_signs
from sightweave.answers.writers import rendered
from sightweave.core.recipe_files import find
from sightweave.core.types import Prediction, Sample


def test_the_quick_demo_shortens_every_stage() -> None:
    whole = api.read_recipe(find("signs"))
    quick = api.read_recipe(find("signs"), demo_signs.fewer_steps(whole))
    for before, after in zip(whole.train.stages, quick.train.stages, strict=True):
        assert before.steps is not None
        assert after.steps is not None
        assert after.steps < before.steps / 5
        assert after.schedule.warmup_steps <= after.steps / 5
        assert after.name == before.name


def test_the_scenes_are_new_and_their_languages_vary() -> None:
    recipe = api.read_recipe(find("signs"))
    samples = list(demo_signs.unseen(recipe))
    assert len(samples) == 6
    assert all(sample.task == "image_translation" and sample.references for sample in samples)
    assert len({sample.group for sample in samples}) == 6
    assert len({sample.tags["languages"].split("-")[1] for sample in samples}) > 1
    evaluated = recipe.data[0].build(split="scenes")
    assert samples[0].media[0].source().tobytes() != evaluated[0][0].images[0].source().tobytes()


def test_each_translation_has_its_images_and_says_whether_it_is_right(tmp_path: Path) -> None:
    recipe = api.read_recipe(find("signs"))
    completer = rendered.Config(font=("sightweave",), max_size=24).completing()

    def predict(samples: Sequence[Sample], *, writer: Any) -> list[Prediction]:
        assert hasattr(writer, "build")
        texts = [samples[0].target, samples[1].target.replace("=>", "=> not"), "nothing", *["?"] * 3]
        said = [Prediction(text) for text in texts]
        return [completer.complete(one, sample) for one, sample in zip(said, samples, strict=True)]

    run: Any = SimpleNamespace(recipe=recipe, predict=predict)
    lines = list(demo_signs.translate(run, tmp_path / "made"))
    assert len(lines) == 6
    assert "[green](correct)[/green]" in lines[0]
    assert "[red](wrong; correct: " in lines[1]
    assert "->  (no sign found)" in lines[2]
    for number in range(1, 7):
        with Image.open(tmp_path / "made" / f"{number}-source.png") as source:
            before = source.copy()
        made = tmp_path / "made" / f"{number}-translated.png"
        assert made.is_file() == (str(made) in lines[number - 1]) == (number < 3)
        if made.is_file():
            with Image.open(made) as target:
                assert target.size == before.size
                assert target.tobytes() != before.tobytes()
