"""A grid of settings: which runs it means, and the table of what they gave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import answered
import numpy as np
import pytest

from sightweave.comparison.compare import _cost_of_step, _planned, _state, choosing_notes, compare
from sightweave.comparison.grid import grid
from sightweave.comparison.results import Budget, as_markdown
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Sample
from sightweave.recipe import read

RECIPE = """\
data: {kind: scenes, size: 30, items_per_image: 4, tasks: [vqa]}
model:
  encoder: {kind: cnn, image_size: 32, channels: [8, 16], blocks: [0, 0]}
  connector: {kind: pool, side: 2}
  fusion: concat
  language_model: {kind: decoder_only, dim: 32, depth: 2, num_heads: 2, hidden_dim: 64}
train:
  stages: [{name: words, steps: 3, batch_size: 2}, {name: answers, steps: 2, batch_size: 2}]
"""
AXES = ("model.fusion=concat,addition", "seed=0,1,2")
ASKED = answered.samples(60)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def ended(
    folder: Path,
    recipe: Path,
    settings: Sequence[str],
    *,
    asked: Sequence[Sample] = ASKED,
    share: float = 0.5,
) -> Path:
    """What a run leaves that was trained and scored."""
    resolved = read(recipe, settings)
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(resolved.to_yaml(), encoding="utf-8")
    draws = np.random.default_rng(resolved.seed).random(len(asked))
    facts = {"steps": 5, "interrupted": False, "training_seconds": 90.0, "parameters": 1000, "commit": "abc"}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    found = answered.evaluated(asked, lambda n: bool(draws[n] < share))
    return answered.write(folder, [found], measured=resolved.to_plain())


@pytest.fixture
def out(tmp_path: Path, recipe: Path) -> Path:
    """A grid of which every run is done."""
    for cell in grid(AXES):
        share = 0.9 if cell.composition == "addition" else 0.4
        ended(tmp_path / "out" / cell.name, recipe, cell.settings, share=share)
    return tmp_path / "out"


def test_runs_that_are_done_are_compared_without_training(recipe: Path, out: Path) -> None:
    said: list[str] = []
    found = compare(recipe, AXES, out=out, say=said.append)
    assert said == ["6 runs, 6 already done"]
    assert [row.name for row in found.rows] == ["concat", "addition"]
    assert found.rows[0].seeds == (0, 1, 2)
    assert found.rows[0].minutes == (1.5, 1.5, 1.5)
    (difference,) = found.differences
    assert (difference.composition, difference.against) == ("addition", "concat")
    assert difference.difference.low > 0
    assert difference.p_holm < 0.05
    document = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert [cell["seed"] for cell in document["cells"]] == [0, 1, 2, 0, 1, 2]
    assert document["cells"][3]["recipe"]["model"]["fusion"]["kind"] == "addition"
    assert (out / "comparison.md").read_text(encoding="utf-8") == as_markdown(found)
    for name in ("comparison.svg", "comparison.html"):
        assert "addition" in (out / name).read_text(encoding="utf-8")


def test_the_baseline_may_be_named(recipe: Path, out: Path) -> None:
    found = compare(recipe, AXES, out=out, against="addition")
    assert [(one.composition, one.against) for one in found.differences] == [("concat", "addition")]
    assert found.differences[0].difference.high < 0
    with pytest.raises(RecipeError, match=r"no combination 'adition' in the grid\. Did you mean 'addition'"):
        compare(recipe, AXES, out=out, against="adition")


def test_what_is_not_done_is_told_from_what_needs_scores_only(recipe: Path, out: Path) -> None:
    cells = {cell.name: read(recipe, cell.settings) for cell in grid(AXES)}
    first, *others = cells
    assert {_state(out / name, wanted) for name, wanted in cells.items()} == {"done"}
    assert _state(out / first, cells[others[0]]) == "new"  # another recipe
    assert _state(out / "nowhere", cells[first]) == "new"
    again = out / others[0]
    (again / "evaluation.json").write_text("[]", encoding="utf-8")  # the older format
    assert _state(again, cells[others[0]]) == "trained"
    (out / others[1] / "evaluation.json").unlink()
    assert _state(out / others[1], cells[others[1]]) == "trained"
    elsewhere = answered.evaluated(ASKED, lambda n: True)
    measured = cells[others[2]].to_plain() | {"evaluate": {"max_images": 3}}
    answered.write(out / others[2], [elsewhere], measured=measured)
    assert _state(out / others[2], cells[others[2]]) == "trained"  # scored in another way
    for facts in ({"steps": 4, "interrupted": False}, {"steps": 5, "interrupted": True}, {}, []):
        (out / first / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        assert _state(out / first, cells[first]) == "new"


def test_a_run_is_done_though_training_resolved_its_epochs_and_its_data(tmp_path: Path, recipe: Path) -> None:
    settings = ("train.stages.1.epochs=4", "seed=0")
    wanted = read(recipe, settings)
    folder = ended(tmp_path / "run", recipe, settings)
    saved = wanted.to_plain()
    saved["train"]["stages"][1] |= {"steps": 2, "epochs": None}
    saved["data"][0]["size"] = 29
    (folder / "recipe.yaml").write_text(read(saved).to_yaml(), encoding="utf-8")
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert _state(folder, wanted) == "new"  # nobody says that it was asked otherwise
    facts["asked"] = {name: wanted.to_plain()[name] for name in ("train", "data")}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert _state(folder, wanted) == "done"
    assert _state(folder, read(recipe, ("train.stages.1.epochs=5", "seed=0"))) == "new"
    facts["steps"] = 4  # it was stopped
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert _state(folder, wanted) == "new"


def test_a_budget_scales_what_each_stage_asks_for(recipe: Path) -> None:
    settings = ("train.stages.0.epochs=3", "train.stages.1.minutes=2")
    words, answers = read(recipe, settings).train.stages
    minutes, tokens = Budget("minutes", 1.0), Budget("tokens", 1.0)
    assert _planned(0, words, minutes, [0.5, 0.25], [30, 30]) == 45  # two pictures a step
    assert _planned(1, answers, minutes, [0.5, 0.25], [30, 30]) == 480
    assert _planned(1, read(recipe).train.stages[1], tokens, [10, 10], []) == 2
    with pytest.raises(RecipeError, match=r"tokens: stage 'answers' trains for minutes \(2\)"):
        _planned(1, answers, tokens, [10, 10], [30, 30])


def test_a_damaged_run_and_one_of_other_samples_are_named(recipe: Path, out: Path) -> None:
    cell = grid(AXES)[4]
    shutil.rmtree(out / cell.name)
    ended(out / cell.name, recipe, cell.settings, asked=answered.samples(60, prefix="other"))
    with pytest.raises(DataError, match=f"{out / 'concat-seed0'} and {out / cell.name} cannot be compared"):
        compare(recipe, AXES, out=out)
    rows = (out / cell.name / "predictions.jsonl").read_text(encoding="utf-8")
    (out / cell.name / "predictions.jsonl").write_text(rows[:-9], encoding="utf-8")
    with pytest.raises(DataError, match=rf"{cell.name}/predictions\.jsonl: line 60 is damaged"):
        compare(recipe, AXES, out=out)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"minutes": 0}, r"minutes must be above 0 \(got 0\)"),
        ({"tokens": -5}, r"tokens must be above 0 \(got -5\)"),
        ({"tokens": float("nan")}, "tokens must be above 0"),
        ({"minutes": 3, "tokens": 4000}, r"set either minutes \(3\) or tokens \(4000"),
    ],
)
def test_a_budget_that_is_none_is_refused(
    recipe: Path, tmp_path: Path, budget: dict[str, float], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        compare(recipe, AXES, out=tmp_path / "out", **budget)
    assert not (tmp_path / "out").exists()


def test_what_a_step_costs_is_read_from_the_trial(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [
        {"step": n, "seconds": 9.0 if n % 24 < 8 else 0.5 * (1 + n // 24), "tokens_per_second": 100.0}
        for n in range(48)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert _cost_of_step(path, 2, Budget("minutes", 1.0)) == [0.5, 1.0]  # the first eight allocate memory
    tokens = _cost_of_step(path, 2, Budget("tokens", 1.0))
    assert tokens == pytest.approx([100 * (8 * 9 + 16 * 0.5) / 24, 100 * (8 * 9 + 16) / 24])


def test_recipes_compared_on_a_test_are_warned_of() -> None:
    (note,) = choosing_notes(["scenes", "validation", "combinations", "scenes"])
    assert note.startswith("These are scores on scenes, combinations. To choose among the rows")
    assert choosing_notes(["validation"]) == []
    assert [cell.name for cell in grid(["evaluate.splits=[validation]"])] == ["run"]
