"""A run that somebody else sent: nothing in its folder names a module to import, a place to open or a program to start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutants
import pytest
import tiny
import yaml
from PIL import Image

import sightweave
from sightweave import cli
from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core.errors import CheckpointError, DataError, RecipeError, SightweaveError

ROWS = [
    {
        "image": f"{n}.png",
        "question": "What is it?",
        "answer": "dark",
        "split": "test" if n > 1 else "train",
    }
    for n in range(4)
]
RECIPE: dict[str, Any] = {
    "data": "data",
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 300},
    "evaluate": {"controls": ["no_image"], "max_tokens": 2},
    "train": {
        "stages": [{"steps": 1, "batch_size": 1}],
        "num_threads": 1,
        "precision": "fp32",
        "device": "cpu",
        "check": False,
    },
}
MUTANTS = 25
"""Changed copies of each file."""
CODE = "import pathlib; pathlib.Path('was-run').touch(); Config = None"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and a run of it in ``downloads/theirs``."""
    place = tmp_path_factory.mktemp("trained")
    (place / "data").mkdir()
    for row in ROWS:
        Image.new("RGB", (8, 8)).save(place / "data" / str(row["image"]))
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (place / "data" / "data.jsonl").write_text(text, encoding="utf-8")
    before = Path.cwd()
    os.chdir(place)
    try:
        sightweave.train(RECIPE, out="downloads/theirs")
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to change, in the working folder, which is on Python's path as in a notebook."""
    shutil.copytree(trained, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.syspath_prepend(str(tmp_path / "place"))
    theirs = Path("downloads", "theirs")
    (theirs / "payload.py").write_text(CODE, encoding="utf-8")
    return theirs


def change(run: Path, how: Change) -> None:
    """Changes the checkpoint's recipe and makes its hashes right again, as somebody would who means harm."""
    file = run / "checkpoint" / "recipe.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    how(values)
    file.write_text(json.dumps(values), encoding="utf-8")
    seal(run, "recipe.json")


def seal(run: Path, name: str) -> None:
    manifest = run / "checkpoint" / "manifest.json"
    said = json.loads(manifest.read_text(encoding="utf-8"))
    data = (run / "checkpoint" / name).read_bytes()
    said["files"][name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(said), encoding="utf-8")


MODULE = "downloads.theirs.payload"
NAMES_A_MODULE: dict[str, Change] = {
    "data": lambda v: v.update(data=[{"kind": MODULE}]),
    "data, in short": lambda v: v.update(data=[MODULE]),
    "fusion": lambda v: v["model"].update(fusion={"kind": MODULE}),
    "fusion, in short": lambda v: v["model"].update(fusion=MODULE),
    "encoder": lambda v: v["model"].update(encoder={"kind": MODULE}),
    "a task": lambda v: v.update(tasks={MODULE: {}}),
    "a metric": lambda v: v.update(tasks={"vqa": {"metrics": [{"kind": MODULE}]}}),
    "a metric, in short": lambda v: v.update(tasks={"vqa": {"metrics": [MODULE]}}),
}


@pytest.mark.parametrize("name", NAMES_A_MODULE)
def test_a_module_that_the_recipe_names_is_not_imported(run: Path, name: str) -> None:
    change(run, NAMES_A_MODULE[name])
    with pytest.raises(RecipeError, match=r"Python module.*--trust-run"):
        sightweave.load(run)
    assert not Path("was-run").exists()
    assert MODULE not in sys.modules


def test_with_the_users_word_it_is(run: Path) -> None:
    change(run, NAMES_A_MODULE["data"])
    (run / "payload.py").write_text(
        "import pathlib; pathlib.Path('was-run').touch()\n"
        "from sightweave.data.datasets.scenes import Config as Scenes\n"
        "from sightweave.core.config import config\n"
        "@config\nclass Config(Scenes):\n    'Mine.'\n",
        encoding="utf-8",
    )
    assert sightweave.load(run, trust_run=True).recipe.data
    assert Path("was-run").exists()


def test_the_command_line_has_the_word_too(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, lambda v: v.update(data=[{"kind": "no.such.module"}]))
    said = []
    for word in ([], ["--trust-run"]):
        asked = ["sightweave", "generate", str(run), "data/0.png", "What is it?", *word]
        monkeypatch.setattr(sys, "argv", asked)
        with pytest.raises(SystemExit):
            cli.main()
        said.append(capsys.readouterr().err)
    assert "--trust-run" in said[0]
    assert "cannot be imported" in said[1]  # it was tried


def test_report_and_beside_import_nothing(run: Path) -> None:
    saved = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    saved["model"]["fusion"] = {"kind": MODULE}
    (run / "recipe.yaml").write_text(yaml.safe_dump(saved), encoding="utf-8")
    assert MODULE in sightweave.report(run).read_text(encoding="utf-8")  # shown, and no more

    shutil.copytree(run, "other")
    document = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    document["measured"]["tasks"] = {"vqa": {"metrics": [{"kind": MODULE}]}}
    (run / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"--trust-run"):
        sightweave.beside(run, "other")

    document["measured"]["tasks"] = {}
    document["splits"][0]["tasks"][0]["metric"] = MODULE
    (run / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    sightweave.beside(run, "other")
    assert not Path("was-run").exists()


def test_no_file_is_overwritten_by_an_evaluation(run: Path) -> None:
    Path("victim.txt").write_text("precious", encoding="utf-8")
    change(run, lambda v: v["data"][0].update(quarantine_path="victim.txt"))
    for trust_run in (False, True):
        sightweave.evaluate(run, data="data", trust_run=trust_run, controls=[], out="scored")
    sightweave.evaluate(run, controls=[])
    assert Path("victim.txt").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("place", ["/etc", "../elsewhere", "~/photos", "//server/share", "https://a.b/c"])
def test_data_elsewhere_is_for_the_caller_to_name(run: Path, place: str) -> None:
    change(run, lambda v: v["data"][0].update(path=place))
    with pytest.raises(RecipeError, match=r"its recipe uses data at.*--data.*--trust-run"):
        sightweave.evaluate(run)
    with pytest.raises(RecipeError, match="its recipe uses data at"):
        sightweave.export(run, out="exported")
    assert sightweave.evaluate(run, data="data", controls=[], out="scored")  # the caller's own


def test_pictures_elsewhere_too(run: Path) -> None:
    change(run, lambda v: v["data"][0].update(image_root="/"))
    with pytest.raises(RecipeError, match="uses data at '/'"):
        sightweave.evaluate(run)


@pytest.mark.parametrize(
    "metric",
    [
        {"kind": "spice", "java": "./evil"},
        {"kind": "meteor", "folder": "evil"},
        {"kind": "comet", "python": "./evil"},
        {"kind": "comet", "model": "someorg/model"},
        {"kind": "cider_d", "df_path": "/etc/passwd"},
        {"kind": "gqa_validity", "choices": "/etc/passwd"},
    ],
)
def test_no_program_and_no_file_of_a_metric(run: Path, metric: dict[str, str]) -> None:
    change(run, lambda v: v.update(tasks={"vqa": {"metrics": [metric]}}))
    with pytest.raises(RecipeError, match=r"names a path.*--trust-run"):
        sightweave.load(run)
    given = {"data": [], "tasks": {"vqa": {"metrics": [metric]}}}
    assert recipes.measured(given).task("vqa").metrics  # of the user's own recipe it is


@pytest.mark.parametrize("part", ["encoder", "language_model"])
@pytest.mark.parametrize("given", ["someorg/some-model", {"kind": "from_transformers", "folder": "/etc"}])
def test_parts_are_kinds_and_not_folders_or_names_on_the_hub(run: Path, part: str, given: Any) -> None:
    change(run, lambda v: v["model"].update({part: given}))
    with pytest.raises(RecipeError):
        sightweave.load(run)


def test_the_folders_that_parts_began_with_are_not_opened(run: Path) -> None:
    change(run, lambda v: v["model"].update(pretrained={"encoder": "someorg/some-model"}))
    # Offline, to look the name up would end in an error.
    assert not any("someorg" in one.finding.measured for one in sightweave.check(run))
    trusted = sightweave.check(run, trust_run=True)
    assert any("someorg/some-model" in one.finding.measured for one in trusted)


def test_a_recipe_of_the_users_own_needs_no_word() -> None:
    with pytest.raises(RecipeError, match="cannot be imported"):  # so it was tried
        recipes.read(RECIPE | {"data": [{"kind": "no.such.module"}]})


def test_a_run_to_start_from_may_name_what_the_users_recipe_names(run: Path) -> None:
    Path("mine.py").write_text(
        "from sightweave.models.fusions.concat import Config as Concat\n"
        "from sightweave.core.config import config\n"
        "@config\nclass Config(Concat):\n    'Mine.'\n",
        encoding="utf-8",
    )
    change(run, lambda v: v["model"]["fusion"].update(kind="mine"))
    change(run, lambda v: v["model"]["fusion"].update(kind="downloads.mine"))
    shutil.copy("mine.py", "downloads/mine.py")
    recipe = RECIPE | {"init_from": str(run)}
    with pytest.raises(RecipeError, match=r"downloads\.mine.*--trust-run"):
        sightweave.build(recipe)
    named = recipe | {"model": tiny.MODEL | {"fusion": "downloads.mine"}}
    assert sightweave.build(named).model


def test_modules_that_a_recipe_names_are_known() -> None:
    recipe = recipes.read(RECIPE | {"tasks": {"vqa": {"metrics": ["bleu"]}}})
    assert recipes.modules_of(recipe) == frozenset()
    given = {"data": [], "tasks": {"vqa": {"metrics": ["my.metric", {"kind": "my.other"}]}, "my.task": {}}}
    assert recipes.modules_of(recipes.measured(given)) == {"my.metric", "my.other", "my.task"}


def test_settings_of_a_library_that_fetch_or_run_are_refused(run: Path) -> None:
    from_transformers = pytest.importorskip("sightweave.models.nn.from_transformers")
    pytest.importorskip("transformers")
    for bad in ({"auto_map": {"AutoModel": "x.Y"}}, {"use_pretrained_backbone": True}):
        with pytest.raises(
            CheckpointError, match="would run code or download weights from elsewhere; this is"
        ):
            from_transformers.parsed({"model_type": "convnext", **bad})
    with pytest.raises(CheckpointError, match="num_labels is 1000000000, which is not plausible"):
        from_transformers.parsed({"model_type": "convnext", "num_labels": 10**9})
    kept = from_transformers.parsed({"model_type": "convnext", "_attn_implementation": "someorg/kernel"})
    assert kept._attn_implementation != "someorg/kernel"


@pytest.mark.parametrize("name", ["answers.jsonl", "predictions.jsonl", "report.html"])
def test_nothing_is_written_through_a_link(run: Path, name: str) -> None:
    Path("victim.txt").write_text("precious\nlines", encoding="utf-8")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(Path("victim.txt").resolve())
    with pytest.raises(DataError, match=r"symbolic link.*--out"):
        sightweave.evaluate(run, controls=[])
    assert Path("victim.txt").read_text(encoding="utf-8") == "precious\nlines"


def test_the_mark_of_a_downloaded_value_reaches_every_level() -> None:
    given = {"data": [], "tasks": {"captioning": {"metrics": [{"kind": "a.b"}]}}}
    with pytest.raises(RecipeError, match="--trust-run"):
        recipes.measured(given, source=configs.Downloaded())
    with pytest.raises(RecipeError, match="cannot be imported"):
        recipes.measured(given, source=configs.Downloaded(frozenset({"a.b"})))


def _written(name: str, value: Any) -> str:
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in value)
    return json.dumps(value)


@pytest.mark.parametrize(
    "name", ["run.json", "evaluation.json", "predictions.jsonl", "metrics.jsonl", "gallery/index.json"]
)
def test_a_changed_value_is_an_error_or_a_page(run: Path, name: str) -> None:
    text = (run / name).read_text(encoding="utf-8")
    is_lines = name.endswith(".jsonl")
    value = [json.loads(line) for line in text.splitlines()] if is_lines else json.loads(text)
    for what, changed in mutants.mutants(value, MUTANTS, seed=1):
        (run / name).write_text(_written(name, changed), encoding="utf-8")
        (run / "report.html").unlink(missing_ok=True)
        try:
            assert sightweave.report(run).stat().st_size > 1000
        except SightweaveError:
            assert not (run / "report.html").exists()
        except Exception as error:
            raise AssertionError(f"{name}: {what} ends in {type(error).__name__}: {error}") from error


@pytest.mark.parametrize(
    "name", ["run.json", "evaluation.json", "predictions.jsonl", "metrics.jsonl", "recipe.yaml"]
)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"a": ' * 70 + b"1" + b"}" * 70])
def test_a_file_that_is_another_one_is_an_error_or_a_page(run: Path, name: str, data: bytes) -> None:
    (run / name).write_bytes(data)
    try:
        sightweave.report(run)
    except SightweaveError as error:
        assert name in str(error)  # noqa: PT017  # a page is right too


def test_a_curve_whose_points_do_not_go_together_is_refused(run: Path) -> None:
    document = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    curve = document["splits"][0]["tasks"][0]["calibration"]["curve"]
    curve["risk"].append(0.5)
    (run / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=r"each threshold needs one coverage and one risk \(got"):
        sightweave.report(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "evaluation.json",
        "predictions.jsonl",
        "metrics.jsonl",
        "recipe.yaml",
        "gallery/index.json",
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(SightweaveError, match="a named pipe"):
        sightweave.report(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_kept_answers_that_are_a_pipe_are_not_waited_for(run: Path) -> None:
    (run / "answers.jsonl").unlink()
    os.mkfifo(run / "answers.jsonl")
    with pytest.raises(DataError, match="a named pipe"):
        sightweave.evaluate(run, controls=[])


def test_a_gallery_shows_no_pictures_from_elsewhere(run: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save("secret.png")
    index = run / "gallery" / "index.json"
    names = json.loads(index.read_text(encoding="utf-8"))
    key = next(iter(names))
    for elsewhere in ("../../../secret.png", str(Path("secret.png").resolve()), "link.png"):
        link = run / "gallery" / "link.png"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("secret.png").resolve())
        index.write_text(json.dumps({key: elsewhere}), encoding="utf-8")
        with pytest.raises(SightweaveError, match="images from elsewhere are not shown"):
            sightweave.report(run)
    index.write_text(json.dumps(names), encoding="utf-8")
    assert "data:image/" in sightweave.report(run).read_text(encoding="utf-8")


def test_a_run_in_the_cache_of_a_hub_is_read_though_its_files_are_links(run: Path) -> None:
    blobs, snapshot = Path("models--a--b/blobs"), Path("models--a--b/snapshots/0123")
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(run.rglob("*"))):
        if file.is_file():
            shutil.copy(file, blobs / str(number))
            link = snapshot / file.relative_to(run)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((blobs / str(number)).resolve())
    assert sightweave.load(snapshot).model
    (snapshot / "report.html").unlink()
    assert "data:image/" in sightweave.report(snapshot).read_text(encoding="utf-8")
