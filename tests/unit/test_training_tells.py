"""What a training says and keeps: time and passes, what is held out, steps that were resolved, and scores."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import yaml
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sightweave import api
from sightweave.core.errors import RecipeError
from sightweave.programs.training.logs import METRICS, read_metrics
from sightweave.verbs import planning
from sightweave.verbs.sources import read_recipe, samples_of

RECIPE: dict[str, Any] = {
    "data": [],
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 280},
    "evaluate": {"max_tokens": 4, "controls": ["no_image"]},
    "train": {"stages": [{"epochs": 3, "batch_size": 2}], "num_threads": 1, "precision": "fp32"},
}


def rows(count: int = 8, split: str | None = None, *, shades: int = 256) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        image = np.full((6, 6, 3), 25 * number % shades, dtype=np.uint8)
        row = {"image": image, "question": "How bright?", "answer": str(number), "id": f"row-{number}"}
        made.append(row | ({"split": split} if split else {}))
    return made


def folder_of(place: Path, given: list[dict[str, Any]]) -> Path:
    place.mkdir()
    with (place / "data.jsonl").open("w", encoding="utf-8") as stream:
        for row in given:
            Image.fromarray(row["image"]).save(place / f"{row['id']}.png")
            stream.write(json.dumps({**row, "image": f"{row['id']}.png"}) + "\n")
    return place


def train(out: Path, *settings: str, **options: Any) -> tuple[api.Run, str]:
    said = io.StringIO()
    console = Console(file=said, width=200)
    run = api.train(RECIPE, *settings, out=out, console=console, **options)
    return run, said.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[api.Run, str]:
    folder = tmp_path_factory.mktemp("runs")
    return train(folder / "run", f"data={folder_of(folder / 'mine', rows(split='train'))}")


def facts(run: api.Run) -> dict[str, Any]:
    assert run.folder is not None
    return json.loads((run.folder / "run.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_the_start_says_what_is_seen_and_how_long_it_takes(trained: tuple[api.Run, str]) -> None:
    _, said = trained
    assert "stage main: 10 steps of 2 images, 2.9 passes over 7 images with 7 samples, about " in said
    assert said.index("stage main: 10 steps") < said.index("train 10/10 main: loss")


def test_the_steps_that_epochs_came_to_are_saved_and_repeat(trained: tuple[api.Run, str]) -> None:
    run, _ = trained
    assert run.folder is not None
    for name in ("recipe.yaml", "checkpoint/recipe.json"):
        (stage,) = yaml.safe_load((run.folder / name).read_text(encoding="utf-8"))["train"]["stages"]
        assert (stage["steps"], stage["epochs"]) == (10, None)
    found = facts(run)
    assert (found["steps"], found["steps_planned"]) == (10, 10)
    assert found["asked"]["train"]["stages"][0]["epochs"] == 3
    assert found["epoch_images"] == [7]
    again, _ = train(run.folder.parent / "again", *_settings(run.folder / "recipe.yaml"))
    weights = again.model.state_dict()
    assert all(value.equal(weights[name]) for name, value in run.model.state_dict().items())


def _settings(path: Path) -> list[str]:
    saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [f"data={json.dumps(saved['data'])}", f"train={json.dumps(saved['train'])}"]


def test_data_that_holds_out_nothing_has_a_share_held_out(trained: tuple[api.Run, str]) -> None:
    run, said = trained
    assert run.folder is not None
    assert "1 of 8 images are held out (1 for validation)" in said
    (evaluation,) = api.evaluate(run)
    assert (evaluation.split, evaluation.count) == ("validation", 1)
    assert "no test split with answers" in " ".join(evaluation.notes)


def test_records_that_hold_out_nothing_have_a_share_held_out(tmp_path: Path) -> None:
    run, said = train(tmp_path / "run", data=rows(30, "train"))
    assert run.folder is not None
    (evaluation,) = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))["splits"]
    assert evaluation["split"] == "validation"
    assert 0 < evaluation["count"] == 30 - _shown(run)
    assert "are held out" in said


def _split_rows(**counts: int) -> list[dict[str, Any]]:
    """Rows of several splits, each with pictures of its own."""
    made = []
    for split, count in counts.items():
        for row in rows(count, split, shades=200):
            image = row["image"] + len(made)
            made.append({**row, "image": image, "id": f"{split}-{len(made)}"})
    return made


def test_training_is_validated_on_the_validation_split_and_never_on_a_test_split(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mine", _split_rows(train=8, validation=3, test=5))
    recipe = read_recipe(RECIPE, [f"data={folder}"])
    for records in (None, _split_rows(train=8, validation=3, test=5)):
        _, sources, held_out, validation = planning._data(recipe, records, tmp_path)
        ids = [sample.id for sample in samples_of(validation, recipe.build_tasks())]
        assert len(ids) == 3
        assert all(name.startswith("validation-") for name in ids)
        assert list(held_out) == ["test"]
        assert sum(map(len, sources)) == 8
    off = read_recipe(RECIPE, [f"data={folder}", "train.validate_every=0"])
    assert planning._data(off, None, tmp_path)[3] == []


def test_the_curve_of_validation_is_in_every_log_and_the_end_of_patience_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "mine", _split_rows(train=8, validation=3, test=2))
    parts = ["connector", "language_model"]  # a frozen encoder keeps its running statistics
    stage = {"steps": 12, "batch_size": 2, "parts": parts, "optimizer": {"lr": 0.0}}
    run, said = train(
        tmp_path / "run",
        f"data={folder}",
        f"train.stages={json.dumps([stage])}",
        "train.log_every=1",
        "train.validate_every=2",
        "train.validate_samples=2",
        "train.patience=2",
        progress=True,
    )
    assert run.folder is not None
    found = facts(run)
    (stopped,) = found["stopped_early"]
    assert (stopped["step"], stopped["planned_steps"], stopped["best"]) == (6, 12, found["best"])
    assert (found["best"]["step"], found["best"]["by"]) == (2, "loss")
    assert (found["steps"], found["steps_planned"], found["interrupted"]) == (6, 6, False)
    assert "ended early, after 6 of 12 steps: no improvement in 2 validations" in said
    assert f"validation loss {found['best']['score']:.3f}" in said

    rows_of = [row for row in read_metrics(run.folder / METRICS) if "validation_loss" in row]
    assert [row["step"] for row in rows_of] == [1, 3, 5]
    assert len({row["validation_loss"] for row in rows_of}) == 1
    events = EventAccumulator(str(run.folder)).Reload()
    assert {"validation_loss", "validation_score_vqa"} <= set(events.Tags()["scalars"])
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "validation_loss" in page
    assert "Validation scores" in page
    # The recipe keeps the steps that its schedule was made for.
    assert yaml.safe_load((run.folder / "recipe.yaml").read_text())["train"]["stages"][0]["steps"] == 12


def _shown(run: api.Run) -> int:
    return int(facts(run)["pictures_in_data"])


def test_rows_of_a_test_split_are_all_that_is_held_out(tmp_path: Path) -> None:
    given = [*rows(5, "train"), {**rows(6)[5], "split": "test"}]
    run, said = train(tmp_path / "run", f"data={folder_of(tmp_path / 'mine', given)}")
    assert "are held out" not in said
    assert _shown(run) == 5


@pytest.mark.parametrize(
    ("count", "split", "settings"),
    [
        (1, None, ()),  # one picture
        (3, "train", ()),  # too few to take one away
        (4, None, ("data.0.held_out=0",)),  # the user's word
        (4, None, ("data.0.split=train",)),
        (4, "train", ("data.0.validation=0",)),
    ],
)
def test_no_held_out_picture_is_said_at_the_start_and_at_the_end(
    tmp_path: Path, count: int, split: str | None, settings: tuple[str, ...]
) -> None:
    data = folder_of(tmp_path / "mine", rows(count, split))
    run, said = train(tmp_path / "run", f"data={data}", *settings)
    assert _shown(run) == count
    assert said.count("no image is held out, so this run has no score") == 2
    assert not (tmp_path / "run" / "evaluation.json").exists()


def test_a_stage_of_minutes_ends_by_the_clock_and_is_saved_with_its_steps(tmp_path: Path) -> None:
    # How its learning rate follows the time is tested with a clock of its own, in test_durations: here a slow step decides.
    settings = ("train.stages.0.minutes=0.005", "train.log_every=3")
    run, said = train(tmp_path / "run", *settings, data=rows(6), evaluate=False)
    found = facts(run)
    assert found["steps"] == found["steps_planned"] == run.recipe.train.stages[0].steps > 0
    assert not found["interrupted"]
    assert "stage main: 0.005 minutes with steps of 2 images, on 5 images" in said
    steps = found["steps"]
    assert f"train {steps}/{steps} main: loss" in said
    history = read_metrics(tmp_path / "run" / METRICS)
    assert history[-1]["step"] == steps - 1
    assert api.load(tmp_path / "run").recipe.train.stages[0].minutes is None


def test_a_loss_that_still_falls_is_said(tmp_path: Path) -> None:
    settings = ("train.stages.0.steps=60", "train.log_every=2", "train.stages.0.schedule.name=constant")
    _, said = train(tmp_path / "run", *settings, data=rows(4), evaluate=False)
    assert "the loss was still falling when stage main ended" in said
    assert "try: train.stages.0.steps=120" in said


def test_tensorboard_gets_the_scores_and_the_pictures(trained: tuple[api.Run, str]) -> None:
    run, _ = trained
    events = EventAccumulator(str(run.folder))
    events.Reload()
    scores = [tag for tag in events.Tags()["scalars"] if tag.startswith("scores, ")]
    assert scores == ["scores, validation/vqa", "scores, validation/vqa, no_image"]
    (score,) = events.Scalars(scores[0])
    assert (score.step, 0 <= score.value <= 1) == (10, True)
    (tag,) = [tag for tag in events.Tags()["images"] if tag.startswith("answers, validation/")]
    (image,) = events.Images(tag)
    with Image.open(io.BytesIO(image.encoded_image_string)) as opened:
        assert opened.size == (image.width, image.height) == (6, 6)
    assert b"asked: How bright?" in b"".join(path.read_bytes() for path in _events(run))


def _events(run: api.Run) -> list[Path]:
    assert run.folder is not None
    return list(run.folder.glob("events.out.tfevents.*"))


def test_the_command_shows_the_scores_as_evaluate_does(tmp_path: Path) -> None:
    folder_of(tmp_path / "mine", rows(6))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    begin = [sys.executable, "-m", "sightweave"]

    def said(*words: str) -> tuple[str, str]:
        done = subprocess.run([*begin, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    out, shown = said("train", "recipe.yaml", "data=mine", "--out", "run")
    table, _ = said("evaluate", "run")
    assert "score" in table
    assert table in shown
    assert out == "run: run\nreport: run/report.html\n"  # for scripts


def test_shipped_recipes_are_listed_and_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = api.recipes()
    assert {"own", "demo", "digits"} <= known.keys()
    assert all(known.values())
    for name in ("own", "own.yaml", "recipes/own.yaml"):
        assert api.read_recipe(name).title == "My own pictures"
        assert api.read_recipe(Path(name)).title == "My own pictures"
    # A folder of that name is not in the way, and a file goes before.
    (tmp_path / "own").mkdir()
    assert api.read_recipe("own").title == "My own pictures"
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(RECIPE | {"title": "Mine"}), encoding="utf-8")
    assert api.read_recipe("own.yaml").title == "Mine"
    for wrong in ("owm", "elsewhere/own.yaml", "own.json"):
        with pytest.raises(
            RecipeError, match=r": recipe file not found, and no built-in recipe has this.*sightweave recipes"
        ):
            api.read_recipe(wrong)


def test_the_command_lists_recipes_and_prints_one(tmp_path: Path) -> None:
    begin = [sys.executable, "-m", "sightweave", "recipes"]
    listed = subprocess.run(begin, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert all(name in listed for name in api.recipes())
    printed = subprocess.run([*begin, "own"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert yaml.safe_load(printed)["title"] == "My own pictures"
    assert api.read_recipe(yaml.safe_load(printed)) == api.read_recipe("own")


CODES = ("\r", "\x1b")


def test_every_long_verb_is_silent_in_a_pipe_and_told_to_show_leaves_plain_lines(
    trained: tuple[api.Run, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # no pipe becomes a terminal by it
    run, _ = trained
    assert run.folder is not None
    data = str(run.folder.parent / "mine")
    verbs = {
        "train": lambda **how: api.train(RECIPE, out=tmp_path / "new", data=rows(6), overwrite=True, **how),
        "evaluate": lambda **how: api.evaluate(run, fresh=True, **how),
        "check_data": lambda **how: api.check_data(data, out=tmp_path / "check", fix=_new(tmp_path), **how),
        "cache_data": lambda **how: api.cache_data(RECIPE, f"data={data}", out=tmp_path / "cache", **how),
        "answer_all": lambda **how: list(api.answer_all(run, data, **how)),
    }
    for name, verb in verbs.items():
        for quiet in ({}, {"progress": False}):
            verb(**quiet)
            assert capsys.readouterr() == ("", ""), name
        verb(progress=True)
        out, shown = capsys.readouterr()
        assert out == "", name
        assert not any(code in shown for code in CODES), name
        if name in ("train", "evaluate", "check_data"):  # the others end before a line is due
            assert shown, name


def _new(place: Path) -> Path:
    return place / f"copy-{len(list(place.iterdir()))}"


def test_a_trained_run_shows_its_scores(
    trained: tuple[api.Run, str], caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = trained
    assert run.folder is not None
    (found,) = run.evaluations
    value = f"{100 * found.tasks[0].score.value:.1f} %"
    for one in (run, api.load(run.folder), api.load(run.folder / "checkpoint")):
        first, second = repr(one).splitlines()
        assert first.startswith(f"Run({str(one.folder)!r}, cnn > linear > concat > decoder_only, 0.01 M")
        assert second.startswith(f"  validation: vqa {value} (")
    html = run._repr_html_()
    assert f">{value}</td>" in html
    assert html.count("<img") == 1  # the picture that was asked about
    # Scores that are damaged do not keep a run from being shown.
    path = run.folder / "evaluation.json"
    whole = path.read_text(encoding="utf-8")
    try:
        path.write_text("{", encoding="utf-8")
        assert "vqa" not in repr(run)
        assert "its scores are not shown" in caplog.text
        assert "parts" in run._repr_html_()
    finally:
        path.write_text(whole, encoding="utf-8")


def test_scores_are_short_in_a_shell_and_a_table_in_a_notebook(trained: tuple[api.Run, str]) -> None:
    run, _ = trained
    found = api.evaluate(run)
    (one,) = found
    assert repr(one).startswith("Evaluation('validation': 1 prompts on 1 images; vqa ")
    assert repr(found) == f"[{one!r}]"
    assert len(repr(one)) < 200
    html = found._repr_html_()  # type: ignore[attr-defined]  # the list has one, its type need not say so
    assert html == one._repr_html_()
    assert html.count("<img") == 1
    assert "best without looking" in html
    assert "media" not in one.to_json()
    assert type(one).from_json({**one.to_json(), "media": "x"}).media == {}


def test_what_a_folder_says_of_its_scores_cannot_command_a_shell(trained: tuple[api.Run, str]) -> None:
    run, _ = trained
    assert run.folder is not None
    path = run.folder / "evaluation.json"
    whole = path.read_text(encoding="utf-8")
    try:
        said = json.loads(whole)
        said["splits"][0]["split"] = "\x1b]0;PWNED\x07" + "x" * 100_000
        said["splits"][0]["tasks"][0]["task"] = "\x1b[2J" + "y" * 100_000
        path.write_text(json.dumps(said), encoding="utf-8")
        shown = [repr(run), str(run), *map(repr, run.evaluations)]
        assert all("\\x1b" in one and "\x1b" not in one and len(one) < 3000 for one in shown)
        html = run._repr_html_()
        assert "\x1b" not in html
        assert len(html) < 20_000
    finally:
        path.write_text(whole, encoding="utf-8")


def test_a_check_of_data_is_short_in_a_shell_and_a_table_in_a_notebook(tmp_path: Path) -> None:
    mine = folder_of(tmp_path / "mine", [*rows(3), *rows(1)])
    with (mine / "data.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"image": "gone.png", "question": "?", "answer": "x"}\n')
    report = api.check_data(mine, out=tmp_path / "check")
    assert repr(report).startswith(f"Report({str(mine)!r}: own, 5 rows, 4 images; 1 error, ")
    assert report.verdict() in repr(report)
    html = report._repr_html_()
    assert "error: image missing" in html
    assert "duplicate row" in html
    assert "<img" in html


def test_a_run_of_records_asks_for_them_again(tmp_path: Path) -> None:
    run, _ = train(tmp_path / "run", data=rows(4), evaluate=False)
    for who in (run, tmp_path / "run"):
        with pytest.raises(
            RecipeError,
            match=r"was trained on records passed in Python, which a run does.* pass them again, as evaluate\(run, data=",
        ):
            api.evaluate(who)
    assert api.evaluate(run, data=rows(4))
