"""The command line end to end: every command refuses a wrong path at once, and speaks JSON; data come in every form."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import sightweave
from sightweave import cli, json_results

SOURCE = str(Path(sightweave.__file__).parents[1])
RECIPE = """
data: {kind: own, path: photos}
model:
  encoder: {kind: cnn, image_size: 16, channels: [4, 8], blocks: [0, 0]}
  connector: linear
  fusion: concat
  language_model: {kind: decoder_only, dim: 16, depth: 1, num_heads: 2}
inputs: {vocab_size: 280}
train: {stages: [{steps: 80, batch_size: 2, optimizer: {lr: 0.01}}], num_threads: 1, check: false}
evaluate: {controls: [no_image], max_tokens: 4}
"""
COLORS = ("red", "green", "blue", "black", "white", "yellow")


class Done(NamedTuple):
    stdout: str
    stderr: str


def sightweave_(folder: Path, *words: str | Path, stdin: str = "", status: int = 0) -> Done:
    """Runs a command, as a shell does but in this process, which has torch already."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", ["sightweave", *map(str, words)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        with pytest.raises(SystemExit) as stop:
            cli.main()
    done = Done(out.getvalue(), err.getvalue())
    assert int(stop.value.code or 0) == status, f"{words}: {stop.value.code}\n{done.stdout}\n{done.stderr}"
    return done


def said(folder: Path, *words: str | Path, stdin: str = "", status: int = 0) -> list[Any]:
    """What a command says with ``--json``: every line of standard output is JSON, without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {words}")

    done = sightweave_(folder, *words, "--json", stdin=stdin, status=status)
    return [json.loads(line, parse_constant=refuse) for line in done.stdout.splitlines()]


def keys(shape: Any) -> set[str]:
    return set(shape.__annotations__)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a recipe and a run that was trained on the command line."""
    folder = tmp_path_factory.mktemp("place")
    photos = folder / "photos"
    photos.mkdir()
    rows = []
    for number, color in enumerate(COLORS):
        Image.new("RGB", (24, 24), color).save(photos / f"{number}.png")
        split = "test" if number % 3 == 2 else "train"
        asked = {"question": "What color is it?", "answer": color}
        german = {"source": color, "target": f"{color}e", "source_language": "en", "target_language": "de"}
        rows.append({"image": f"{number}.png", "split": split, **asked, **german})
    (photos / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tiny.yaml").write_text(RECIPE)
    (found,) = said(folder, "train", "tiny.yaml", "--out", "run")
    assert found.keys() == keys(json_results.Trained)
    assert (found["run"], found["report"], found["interrupted"]) == ("run", "run/report.html", False)
    assert [one["split"] for one in found["splits"]] == ["test"]
    return folder


REFUSED = [
    ("train", "nowhere.yaml"),
    ("train", "own", "data=nowhere"),
    ("train", "own", "--data", "nowhere"),
    ("train", "own", "data=here", "--out", "trained"),
    ("train", "own", "init_from=nowhere"),
    ("evaluate", "nowhere"),
    ("evaluate", "here"),
    ("evaluate", "trained", "--data", "nowhere"),
    ("evaluate", "trained", "--out", "file.txt"),
    ("compare", "nowhere", "seed=0,1", "--out", "grid"),
    ("compare", "own", "seed=0,1", "--out", "file.txt"),
    ("generate", "nowhere", "picture.png", "What?"),
    ("generate", "trained", "nowhere.png", "What?"),
    ("generate", "trained", "--data", "nowhere"),
    ("generate", "trained", "--data", "here", "--out", "file.txt"),
    ("explain", "nowhere", "picture.png", "What?"),
    ("explain", "trained", "nowhere.png", "What?"),
    ("caption", "nowhere", "picture.png"),
    ("caption", "trained", "nowhere.png"),
    ("translate", "here", "picture.png", "Hello.", "--to", "de"),
    ("draw", "nowhere", "a red ball"),
    ("draw", "trained", "a red ball", "--out", "drawing.jpg"),
    ("report", "nowhere"),
    ("runs", "nowhere"),
    ("beside", "nowhere", "trained"),
    ("beside", "trained", "trained"),
    ("beside", "trained", "nowhere", "--data", "here"),
    ("check", "nowhere"),
    ("find-lr", "nowhere"),
    ("forecast", "nowhere"),
    ("check", "here"),
    ("export", "nowhere"),
    ("export", "trained", "--data", "{path: nowhere}"),
    ("export", "trained", "--out", "trained"),
    ("recipes", "nowhere"),
    ("demo", "--out", "trained"),
    ("data", "sample", "nowhere"),
    ("data", "sample", "scenes", "--out", "picture.png"),
    ("data", "check", "nowhere"),
    ("data", "check", "here", "--against", "nowhere.jsonl"),
    ("data", "check", "here", "--fix", "trained"),
    ("data", "check", "here", "--recipe", "nowhere"),
    ("data", "cache", "nowhere"),
    ("data", "cache", "own", "--data", "here", "--out", "trained"),
    ("data", "detect", "nowhere"),
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_wrong_path_is_refused_before_torch_is_loaded(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "trained" / "checkpoint").mkdir(parents=True)
    (tmp_path / "file.txt").write_text("of the user's own")
    (tmp_path / "picture.png").write_bytes(b"of the user's own")
    before = sorted(tmp_path.rglob("*"))
    script = (
        f"import sys; sys.argv = ['sightweave', *{words!r}]\n"
        "from sightweave import cli\n"
        "try:\n    cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    error, *rest = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert error.startswith("error: ") or rest[0].startswith("error: ")
    loaded = set(done.stderr.split())
    assert "sightweave.cli" in loaded
    assert not loaded & {"torch", "transformers", "matplotlib", "numpy", "pyarrow", "scipy"}
    assert sorted(tmp_path.rglob("*")) == before


def names(group: Any, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The words of every command."""
    inner = getattr(group, "commands", None)
    if inner is None:
        return {before}
    return {name for key, one in inner.items() for name in names(one, (*before, key))}


def test_every_command_refuses_something() -> None:
    tried = {words[: 2 if words[0] == "data" else 1] for words in REFUSED}
    assert names(get_command(cli.app)) - tried == {("list",)}  # which takes no path


PRINTED = [
    (("evaluate", "run", "--max-images", "2"), json_results.Evaluated),
    (("generate", "run", "photos/0.png", "What color is it?", "What is it?"), json_results.Answer),
    (("explain", "run", "photos/0.png", "What is it?", "--answer", "red"), json_results.Explained),
    (("caption", "run", "photos/0.png"), json_results.Answer),
    (("translate", "run", "photos/0.png", "red", "--to", "de"), json_results.Answer),
    (("report", "run"), json_results.Page),
    (("runs", "."), json_results.ListedRun),
    (("beside", "run", "run", "--out", "beside.html"), json_results.SideBySide),
    (("list",), json_results.Pair),
    (("list", "encoders"), json_results.Kind),
    (("recipes",), json_results.RecipeFile),
    (("data", "sample", "photos"), json_results.Sheet),
    (("data", "detect", "photos"), json_results.Detected),
    (("data", "cache", "tiny.yaml"), json_results.Cached),
    (("export", "run", "--to", "custom_code", "--samples", "1"), json_results.Exported),
    (("check", "run", "--trust-run"), json_results.Checked),
    (("find-lr", "tiny.yaml", "--steps", "3"), json_results.FoundRate),
    (("forecast", "tiny.yaml", "--device", "h100"), json_results.Forecasted),
]
"""Commands and the fields of what they print. The others have tests of their own."""
PRINTED_ELSEWHERE = {("train",), ("compare",), ("data", "check"), ("draw",)}
SAME_AS_TRAIN = {("demo",)}


def test_the_json_of_every_command_is_tested() -> None:
    tried = {words[: 2 if words[0] == "data" else 1] for words, _ in PRINTED}
    assert names(get_command(cli.app)) - tried - PRINTED_ELSEWHERE == SAME_AS_TRAIN


@pytest.mark.parametrize(
    ("words", "shape"),
    PRINTED,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value.__name__,
)
def test_a_command_prints_its_result_as_json_and_nothing_else(
    place: Path, words: tuple[str, ...], shape: Any
) -> None:
    found = said(place, *words)
    assert found
    for one in found:
        assert one.keys() <= keys(shape)
        assert one.keys() >= keys(shape) - {
            "id",
            "picture",
            "faults",
        }  # only with ids, or with a writer that draws


def test_a_check_of_data_is_json_and_keeps_its_exit_status(place: Path, tmp_path: Path) -> None:
    (found,) = said(place, "data", "check", "photos", "--out", tmp_path / "checked")
    assert found.keys() == keys(json_results.DataChecked)
    assert found["check"]["rows"] == len(COLORS)
    (tmp_path / "data.jsonl").write_text('{"image": "gone.png", "question": "What?", "answer": "it"}\n')
    (bad,) = said(tmp_path, "data", "check", "data.jsonl", status=1)
    assert not bad["check"]["may_train"]


def test_what_libraries_print_goes_to_standard_error(place: Path) -> None:
    script = (
        "import os, sys; sys.argv = ['sightweave', 'caption', 'run', 'photos/0.png', '--json']\n"
        "from sightweave import api, cli\n"
        "load = api.load\n"
        "def loud(*given, **options):\n"
        "    print('printed'); os.write(1, b'written by C\\n')\n"
        "    return load(*given, **options)\n"
        "api.load = loud\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=place,
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert json.loads(done.stdout)["image"] == "photos/0.png"
    assert {"printed", "written by C"} <= set(done.stderr.splitlines())


def test_an_error_leaves_standard_output_empty_with_json(place: Path) -> None:
    done = sightweave_(place, "generate", "run", "photos/0.png", " ", "--json", status=1)
    assert done.stdout == ""
    assert done.stderr == "error: the question is empty; ask, for example, 'What is this?'.\n"


def test_a_grid_is_json(place: Path, tmp_path: Path) -> None:
    grid = ("compare", "tiny.yaml", "model.fusion=concat,addition", "train.stages.0.steps=1")
    (found,) = said(place, *grid, "--out", tmp_path / "grid")
    assert found.keys() == keys(json_results.Compared)
    assert [row["name"] for row in found["comparison"]["rows"]] == ["concat", "addition"]


def test_a_stop_text_ends_an_answer(place: Path) -> None:
    asked = ("generate", "run", "photos/0.png", "What?", "--temperature", "3", "--max-tokens", "8")
    (whole,) = said(place, *asked)
    stop = whole["answer"][1:3]
    (found,) = said(place, *asked, "--stop", "no such text", "--stop", stop)
    assert stop
    assert found["answer"] == whole["answer"].partition(stop)[0]


def test_answers_to_a_data_set_are_a_table_that_reads_back(place: Path, tmp_path: Path) -> None:
    table = place / "photos-answers.csv"
    sightweave_(place, "generate", "run", "--data", "photos", "--max-tokens", "4", "--out", table)
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["id", "image", "question", "answer", "logprob"]
    assert len(rows) == 2 * len(COLORS)

    # As a file of answers, and as data.
    (found,) = said(place, "evaluate", table, "--data", "photos", "--out", tmp_path / "scored")
    assert found["splits"][0]["count"] == 2 * sum(number % 3 == 2 for number in range(len(COLORS)))
    source = f"{{path: {table}, image_root: photos}}"
    (checked,) = said(place, "data", "check", source, "--out", tmp_path / "checked")
    assert checked["check"]["good_rows"] == sum(bool(row["answer"].strip()) for row in rows)
    assert checked["check"]["rows"] == len(rows)
    again = sightweave_(place, "generate", "run", "--data", "photos", "--max-tokens", "4", "--out", table)
    assert "12 answers in" in again.stderr


def test_an_evaluation_and_a_check_of_data_leave_tables(place: Path, tmp_path: Path) -> None:
    answers, findings = tmp_path / "answers.csv", tmp_path / "findings.csv"
    sightweave_(place, "evaluate", "run", "--out", answers)
    with answers.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[-2:] == ["right", "expected"]
    assert {json.loads(row["expected"])[0] for row in rows} == {"blue", "bluee", "yellow", "yellowe"}
    (found,) = said(place, "evaluate", answers, "--data", "photos", "--out", tmp_path / "again")
    assert found["splits"][0]["count"] == len(rows)

    sightweave_(tmp_path, "data", "check", place / "photos", "--out", findings)
    with findings.open(newline="", encoding="utf-8") as stream:
        assert {"severity", "code", "file", "line", "message"} <= set(next(csv.reader(stream)))
    findings.write_text("of the user's own")
    assert (
        ": this file was not written by Sightweave and would be"
        in sightweave_(tmp_path, "data", "check", place / "photos", "--out", findings, status=1).stderr
    )


LINES = "".join(
    json.dumps({"image": f"photos/{n}.png", "question": "What color is it?", "answer": color}) + "\n"
    for n, color in enumerate(COLORS)
)


def test_rows_come_from_standard_input(place: Path, tmp_path: Path) -> None:
    asked = said(place, "generate", "run", "--data", "-", "--max-tokens", "2", stdin=LINES)
    assert [row["image"] for row in asked] == [f"photos/{number}.png" for number in range(len(COLORS))]
    (scored,) = said(place, "evaluate", "run", "--data", "-", "--out", tmp_path / "scored", stdin=LINES)
    assert sum(one["count"] for one in scored["splits"]) > 0
    (checked,) = said(place, "data", "check", "-", "--out", tmp_path / "checked", stdin=LINES)
    assert checked["check"]["good_rows"] == len(COLORS)
    (trained,) = said(
        place, "train", "tiny.yaml", "--data", "-", "--out", tmp_path / "run", "--no-evaluate", stdin=LINES
    )
    assert trained["run"] == str(tmp_path / "run")
    broken = sightweave_(place, "generate", "run", "--data", "-", stdin="{}\nno row\n", status=1)
    assert "error: standard input: line 2 is not valid JSON" in broken.stderr
    mixed = sightweave_(place, "generate", "run", "--data", "-", "--data", "photos", stdin=LINES, status=1)
    assert "cannot be combined with other sources" in mixed.stderr


def test_data_take_the_same_forms_on_the_command_line_and_in_python(place: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(more / "0.png")
    row = {"image": "0.png", "question": "What color is it?", "answer": "gray"}
    (more / "data.jsonl").write_text(json.dumps(row) + "\n")
    count = 2 * len(COLORS)
    several = said(place, "generate", "run", "--data", "photos", "--data", more, "--max-tokens", "2")
    listed = said(place, "generate", "run", "--data", f"[photos, {more}]", "--max-tokens", "2")
    assert several == listed
    assert len(several) == count + 1

    sightweave_(place, "check", "tiny.yaml", "--data", more, "train.device=cpu")
    run = sightweave.load(place / "run")
    photos = str(place / "photos")
    for data in (photos, Path(photos), {"kind": "own", "path": photos}, [photos, str(more)]):
        rows = list(sightweave.answer_all(run, data, max_tokens=2))
        assert len(rows) == count + isinstance(data, list)
    trained = sightweave.train(place / "tiny.yaml", data=photos, out=tmp_path / "trained", evaluate=False)
    assert [one.path for one in trained.recipe.data] == [photos]


def test_two_runs_are_put_side_by_side_on_other_data(place: Path, tmp_path: Path) -> None:
    sightweave_(place, "train", "tiny.yaml", "seed=1", "--out", tmp_path / "second", "--no-evaluate")
    page = tmp_path / "beside.html"
    (found,) = said(place, "beside", "run", tmp_path / "second", "--data", "-", "--out", page, stdin=LINES)
    assert found["page"] == str(page)
    assert found["beside"]["count"] > 0
    assert (place / "run" / "evaluations" / "records" / "evaluation.json").is_file()
    assert not (tmp_path / "second" / "evaluation.json").exists()
    path, text = sightweave.beside(place / "run", tmp_path / "second", data=str(place / "photos"))
    assert path == place / "run" / "evaluations" / "photos" / "beside-second.html"
    assert "images were asked in both." in text


def test_settings_of_an_export_are_those_of_its_format(place: Path) -> None:
    done = sightweave_(place, "export", "run", "--to", "onnx", "layout=llava", status=1)
    assert "error: export to onnx: 1 mistake(s)" in done.stderr
    assert "layout: Input should be 'sightweave' or 'transformers.js' (got 'llava')" in done.stderr
    done = sightweave_(place, "export", "run", "numbers=f16", "--to", "custom_code", status=1)
    assert "numbers: unknown key" in done.stderr


def test_words_of_other_libraries_name_the_setting_or_the_option(place: Path) -> None:
    for words, hint in (
        (("train", "own", "--epochs", "3"), "train.stages.0.epochs=3"),
        (("train", "own", "--batch-size=8"), "train.stages.0.batch_size=8"),
        (("train", "own", "--lr", "1e-4"), "train.stages.0.optimizer.lr=1e-4"),
        (("train", "own", "--gpu", "0"), "train.device"),
        (("train", "own", "--output_dir", "x"), "The option is called --out"),
        (("train", "own", "--report-to", "wandb"), "TensorBoard"),
        (
            ("generate", "run", "photos/0.png", "What?", "--max_new_tokens", "3"),
            "The option is called --max-tokens",
        ),
        (("generate", "run", "photos/0.png", "What?", "--fp16"), "this command has no such option"),
        (("export", "run", "--format", "gguf"), "The option is called --to"),
    ):
        done = sightweave_(place, *words, status=2)
        assert hint in " ".join(done.stderr.replace("│", " ").split()), done.stderr
        assert "No such option" in done.stderr


def test_a_language_that_was_never_learnt_is_an_error(place: Path) -> None:
    done = sightweave_(place, "translate", "run", "photos/0.png", "red", "--to", "ja", status=1)
    assert done.stderr == (
        "error: translate: this run was not trained to translate into 'ja'. It was trained on: de.\n"
    )
    sightweave_(place, "translate", "run", "photos/0.png", "red", "--to", "German", "--max-tokens", "2")


def test_a_run_knows_the_languages_of_the_run_that_it_began_with(place: Path, tmp_path: Path) -> None:
    rows = [{"image": f"photos/{n}.png", "question": "What?", "answer": one} for n, one in enumerate(COLORS)]
    given = "".join(json.dumps(row) + "\n" for row in rows)
    more = ("train", "tiny.yaml", "init_from=run", "train.stages.0.steps=1", "--no-evaluate", "--data", "-")
    sightweave_(place, *more, "--out", tmp_path / "more", stdin=given)
    words = ("photos/0.png", "red", "--max-tokens", "2")
    sightweave_(place, "translate", tmp_path / "more", *words, "--to", "de")
    done = sightweave_(place, "translate", tmp_path / "more", *words, "--to", "ja", status=1)
    assert "It was trained on: de." in done.stderr


def test_a_run_that_was_never_trained_says_so_once(place: Path, tmp_path: Path) -> None:
    run = sightweave.build(place / "tiny.yaml", data=str(place / "photos"))
    run.save(tmp_path / "new")
    done = sightweave_(
        place, "generate", tmp_path / "new", "photos/0.png", "What?", "Who?", "--max-tokens", "2"
    )
    assert done.stderr.count("the model is untrained, so its answers are meaningless;") == 1
    trained = sightweave_(place, "generate", "run", "photos/0.png", "What?", "--max-tokens", "2")
    assert trained.stderr == ""
