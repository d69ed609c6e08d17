"""The verbs from Python: training on records, scoring, answering many, and what a run's folder gets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from rich.console import Console

from sightweave import api
from sightweave.core.errors import CheckpointError, DataError, FolderError, RecipeError, SightweaveError

RECIPE: dict[str, Any] = {
    "title": "Grey & small",
    "data": [],
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 280},
    "evaluate": {"max_tokens": 4},
    "train": {"stages": [{"steps": 2, "batch_size": 2}], "num_threads": 1, "precision": "fp32"},
}


def rows(count: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "image": np.full((6, 6, 3), 40 * shade, dtype=np.uint8),
            "question": "How bright?",
            "answer": str(shade),
            "split": "test" if shade % 3 == 0 else "train",
            "id": f"row-{shade}",
        }
        for shade in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return api.train(RECIPE, "seed=7", data=rows(), out=folder)


def test_training_on_records_leaves_a_scored_run(trained: api.Run) -> None:
    assert trained.folder is not None
    assert trained.recipe.seed == 7
    (evaluation,) = json.loads((trained.folder / "evaluation.json").read_text(encoding="utf-8"))["splits"]
    assert (evaluation["split"], evaluation["count"]) == ("test", 2)
    assert "Grey &amp; small" in (trained.folder / "report.html").read_text(encoding="utf-8")
    facts = json.loads((trained.folder / "run.json").read_text(encoding="utf-8"))
    steps = trained.recipe.train.stages[0].steps
    assert (facts["steps"], facts["steps_planned"], facts["interrupted"]) == (steps, steps, False)
    shown = (
        steps
        * trained.recipe.train.stages[0].batch_size
        * trained.recipe.train.stages[0].gradient_accumulation_steps
    )
    assert (facts["pictures_shown"], facts["samples_shown"]) == (shown, shown)
    assert (facts["distinct_pictures_shown"], facts["pictures_in_data"]) == (min(4, shown), 4)
    assert not list(trained.folder.glob("*left-out*"))
    again = api.load(trained.folder)
    assert api.generate(again, rows()[0]["image"], "How bright?") == api.generate(
        trained, rows()[0]["image"], "How bright?"
    )


def test_a_trained_run_is_not_overwritten_by_another_recipe(trained: api.Run) -> None:
    with pytest.raises(
        FolderError, match=r"already holds a trained run; choose another folder.*\n.*seed: 7 -> 8"
    ):
        api.train(RECIPE, "seed=8", data=rows(), out=trained.folder)


def test_batches_of_an_evaluation_are_bounded_and_halved_without_another_answer(
    trained: api.Run, tmp_path: Path
) -> None:
    held_out = [{**one, "split": "test"} for one in rows()]
    read: list[int] = []
    most = len(held_out)

    def note(_: Any, inputs: Any) -> None:
        if len(inputs[0]) > most:
            torch.empty(1 << 60)  # more than any machine has
        read.append(len(inputs[0]))

    def answers(*settings: str) -> list[tuple[str, float]]:
        read.clear()
        (found,) = api.evaluate(trained, *settings, data=held_out, controls=[], fresh=True)
        return [(item.answer.text, round(item.answer.logprob, 4)) for item in found.items]

    handle = trained.model.language_model.token_embedding.register_forward_pre_hook(note)
    try:
        expected = answers()
        assert max(read) == len(held_out)
        assert answers("evaluate.max_batch_tokens=1") == expected
        assert max(read) == 1
        most = 2
        assert answers() == expected
        assert 1 <= max(read) <= 2
    finally:
        handle.remove()
    assert answers("evaluate.max_batch_tokens=100000") == expected


def test_evaluate_needs_something_to_score(trained: api.Run) -> None:
    with pytest.raises(
        RecipeError, match=r"was trained on records passed in Python, which a run does.* pass them again"
    ):
        api.evaluate(trained)
    with pytest.raises(RecipeError, match="controls"):
        api.evaluate(trained, data=rows(), controls=["blind"])
    world = "{kind: scenes, size: 2, style: drawn}"
    unmet, met = api.evaluate(trained, data=world, splits=["combinations"], controls=[])
    assert (unmet.split, met.split) == ("combinations", "combinations, met pairs")
    assert all("subset" not in item.tags for item in unmet.items)
    assert {item.tags["subset"] for item in met.items} == {"met pairs"}
    assert len({item.group for one in (unmet, met) for item in one.items}) == 2
    assert f"{unmet.count} of the {unmet.count + met.count} prompts of 'combinations'" in unmet.notes[-1]
    (evaluation,) = api.evaluate(trained, data=world, splits=["val"], controls=[])
    assert evaluation.split == "validation"
    assert {item.group for item in evaluation.items} == {"scenes/0/validation/0", "scenes/0/validation/1"}
    with pytest.raises(RecipeError, match=r"data.0.stile: unknown key.*Did you mean 'style'"):
        api.evaluate(trained, data="{kind: scenes, stile: drawn}")
    (evaluation,) = api.evaluate(trained, data=rows(), controls=["no_image"])
    assert set(evaluation.tasks[0].controls) == {"no_image"}


def test_every_row_is_answered_whatever_its_split(trained: api.Run) -> None:
    found = list(api.answer_all(trained, rows(), max_tokens=3, batch_size=2))
    assert sorted(row["id"] for row in found) == [f"row-{shade}" for shade in range(6)]
    assert all(set(row) == {"id", "image", "prompt", "answer", "logprob"} for row in found)
    asked = [{"image": row["image"], "question": "How bright?"} for row in rows()]
    assert [row["answer"] for row in api.answer_all(trained, asked, max_tokens=3)] == [
        r["answer"] for r in found
    ]
    assert all("id" not in row for row in api.answer_all(trained, asked, max_tokens=3))  # none was given
    with pytest.raises(DataError, match="nowhere: file or folder not found"):
        api.answer_all(trained, "nowhere")


def test_what_is_sampled_for_a_row_does_not_depend_on_the_batch_size(trained: api.Run) -> None:
    sampled = {"decoding": {"kind": "sampling", "temperature": 3.0}, "max_tokens": 6, "seed": 1}
    # Rows whose ids repeat are still different draws, in one batch or over several.
    asked = [
        {"id": f"row-{number % 2}", "image": rows()[0]["image"], "question": "How bright?"}
        for number in range(12)
    ]
    said = [
        [row["answer"] for row in api.answer_all(trained, asked, batch_size=n, **sampled)] for n in (1, 5, 12)
    ]
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) > 6


def test_what_is_sampled_for_a_prompt_does_not_depend_on_the_others(trained: api.Run) -> None:
    image, sampled = rows()[0]["image"], {"decoding": "sampling", "max_tokens": 6, "seed": 1}
    asked = ["How bright?", "How dark?", "What is there?"]
    said = [one.text for one in trained.generate(image, asked, **sampled)]
    assert [one.text for one in trained.generate(image, asked[::-1], **sampled)] == said[::-1]
    assert [trained.generate(image, prompt, **sampled).text for prompt in asked] == said
    assert ["".join(trained.stream(image, prompt, **sampled)) for prompt in asked] == said


def test_rows_left_out_of_a_folder_are_written_into_the_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (6, 6)).save(data / "a.png")
    (data / "cut.png").write_bytes((data / "a.png").read_bytes()[:20])
    lines = [
        {"image": "a.png", "caption": "Black.", "split": "train"},
        {"image": "cut.png", "caption": "Cut."},
        {"image": "a.png", "captoin": "Black."},
    ]
    (data / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run = api.train(
        RECIPE | {"data": {"path": str(data), "max_bad": 1.0}}, out=tmp_path / "run", evaluate=False
    )
    assert run.folder is not None
    left = (run.folder / "rows-left-out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [(row["line"], row["field"]) for row in map(json.loads, left)] == [(2, "image"), (3, "captoin")]


def test_a_run_starts_from_another_only_with_the_same_shapes(trained: api.Run, tmp_path: Path) -> None:
    start = f"init_from={trained.folder}"
    further = api.build(RECIPE, start, data=rows())
    own, there = trained.model.state_dict(), further.model.state_dict()
    assert all((own[name] == there[name]).all() for name in own)
    with pytest.raises(CheckpointError, match=r"weights differ in shape: .* there, .* here"):
        api.build(RECIPE, start, "model.language_model.dim=32", data=rows())


def test_a_sheet_of_ones_own_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (6, 6), "red").save(tmp_path / "a.png")
    (tmp_path / "data.jsonl").write_text('{"image": "a.png", "caption": "Red."}\n', encoding="utf-8")
    with Image.open(api.sample_data(str(tmp_path), tmp_path / "sheet.png", count=1)) as sheet:
        assert sheet.size[0] > 6
    with pytest.raises(DataError, match=r"no split 'tset'. Did you mean 'test'"):
        api.sample_data(str(tmp_path), tmp_path / "sheet.png", split="tset")


def test_kinds_and_pairs() -> None:
    assert set(api.kinds("fusions")) == {"addition", "bilinear", "concat", "cross_attention", "memory"}
    assert all(api.kinds("fusions").values())
    with pytest.raises(RecipeError, match=r"no family 'fusion'. Did you mean 'fusions'\?"):
        api.kinds("fusion")
    pairs = api.pairs()
    assert pairs["concat", "decoder_only"] == "generates"
    assert pairs["bilinear", "encoder_only"] == "classifies"
    assert pairs["bilinear", "decoder_only"] == ""


def test_controls_are_listed_in_a_sentence_each() -> None:
    found = api.kinds("controls")
    assert list(found)[:3] == ["no_image", "shuffled_image", "blank_image"]
    assert all(text.endswith(".") and "\n" not in text for text in found.values())
    with pytest.raises(RecipeError, match=r"no family 'control'. Did you mean 'controls'"):
        api.kinds("control")


def test_a_drawn_world_is_not_said_to_have_been_seen(tmp_path: Path) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    settings = [
        "data={kind: scenes, size: 1000000, tasks: [vqa], items_per_image: 3}",
        "train.stages.0.steps=3",
    ]
    run = api.train(RECIPE, *settings, out=tmp_path / "run", evaluate=False, console=console)
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    shown = facts["pictures_shown"]
    assert facts["distinct_pictures_shown"] == shown == 3 * run.recipe.train.stages[0].batch_size
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"shown {shown}, distinct {shown}, in the data 1\u202f000\u202f000" in page
    assert "<dt>pictures</dt>" not in page
    said = console.export_text()
    assert f"trained for 3 steps on {shown} images ({shown} distinct, of 1,000,000 in the data)" in said
    assert f"with {facts['samples_shown']:,} samples" in said


def test_a_run_that_ends_in_an_error_says_how_far_its_checkpoint_is(tmp_path: Path) -> None:
    settings = ["train.save_every=1", "train.stages.0.steps=50", "train.stages.0.optimizer.lr=1e30"]
    with pytest.raises(SightweaveError, match=r"loss|gradient"):
        api.train(RECIPE, *settings, data=rows(), out=tmp_path / "run", evaluate=False)
    facts = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert facts["interrupted"] is True
    assert 1 <= facts["steps"] < facts["steps_planned"] == 50
    page = api.report(tmp_path / "run").read_text(encoding="utf-8")
    assert f"done {facts['steps']}, planned 50" in page


def test_an_evaluation_says_what_was_asked_and_where(trained: api.Run, tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        api.evaluate(
            trained, "evaluate.max_tokens=3", data=rows(), splits=["test"], controls=[], out=tmp_path
        )
        told.append(json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8")))
    first, again = told
    assert first["answers"] == {"new": 2, "reused": 0}
    assert again["answers"] == {"new": 0, "reused": 2}
    assert first["device"] == "cpu"
    assert first["processor"]
    assert "seconds" in first
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "new 0, reused 2" in page
    assert "<dt>evaluated settings</dt>" in page
    assert "max_tokens 3" in page  # the recipe's own say 4
