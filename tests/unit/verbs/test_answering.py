"""A model that answers with regions translates the words in an image, in Python and on the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from typer.testing import CliRunner

from sightweave import api, cli
from sightweave.core.errors import DataError, FolderError
from sightweave.core.text_regions import TextRegion
from sightweave.run import Run

SIGN = np.full((60, 160, 3), (240, 230, 60), np.uint8)
SIGN[20:40, 40:120] = (10, 20, 120)
ANSWER = "[100 200 900 800] Exit => Tor"
MODEL = tiny.MODEL | {"language_model": {"kind": "decoder_only", "dim": 48, "depth": 1, "num_heads": 2}}
RECIPE = tiny.RECIPE | {
    "model": MODEL,
    "inputs": {"vocab_size": 320},
    "train": {"stages": [{"steps": 120, "batch_size": 2, "optimizer": {"lr": 0.01}}]},
}
WORDS = {"image": SIGN, "source": "red", "target": "rot", "source_language": "en", "target_language": "de"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt one answer by heart, and the image of its question."""
    place = tmp_path_factory.mktemp("translating")
    question = {"image": SIGN, "question": "Translate the sign into German.", "answer": ANSWER}
    rows = [row | {"split": "train"} for row in (question, WORDS)]
    api.train(RECIPE, data=rows, out=place / "run", evaluate=False)
    Image.fromarray(SIGN).save(place / "sign.png")
    return place


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return api.load(folder / "run")


def test_the_words_in_an_image_are_translated(run: Run, folder: Path) -> None:
    answer = run.translate(SIGN, to="de")
    assert answer.text == ANSWER
    assert answer.regions == (TextRegion("Tor", (0.1, 0.2, 0.9, 0.8), source="Exit"),)
    expected = api.render(SIGN, answer.regions)
    assert answer.picture is not None
    assert answer.picture.tobytes() == expected.tobytes()

    written = api.translate(run, folder / "sign.png", to="de", out=folder / "python.png", font="DejaVu Serif")
    with Image.open(folder / "python.png") as picture:
        assert picture.tobytes() == api.render(SIGN, answer.regions, font="DejaVu Serif").tobytes()
    assert written.text == ANSWER
    assert run.translate(SIGN, to="de", writer="text").picture is None


def test_the_command_writes_the_image(folder: Path) -> None:
    words = ["translate", str(folder / "run"), str(folder / "sign.png"), "--to", "de"]
    done = CliRunner().invoke(cli.app, [*words, "--out", str(folder / "out.png")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{ANSWER}\n"
    with Image.open(folder / "out.png") as picture:
        assert picture.tobytes() == api.render(SIGN, "[100 200 900 800] Tor").tobytes()
    done = CliRunner().invoke(cli.app, [*words, "--out", str(folder / "out.png"), "--json"])
    assert json.loads(done.stdout)["picture"] == str(folder / "out.png")
    assert json.loads(done.stdout)["faults"] == []


def test_what_cannot_be_drawn_is_an_error(run: Run, folder: Path) -> None:
    out = folder / "none.png"
    with pytest.raises(
        DataError, match=r"no image was written, because the text 'Tor' does not fit.*of 90 pixels"
    ):
        api.translate(run, SIGN, to="de", out=out, min_size=90)
    with pytest.raises(DataError, match=r"the answer names no words in the image: '"):
        api.translate(run, SIGN, to="de", out=out, stop="[")
    with pytest.raises(DataError, match="leave out the text to translate"):
        api.translate(run, SIGN, "red", to="de", out=out)
    with pytest.raises(DataError, match="give a text, an image with words in it, or both"):
        run.translate(None, to="de")
    with pytest.raises(FolderError, match="was not written by Sightweave"):
        api.translate(run, SIGN, to="de", out=folder / "sign.png")
    with pytest.raises(DataError, match="was not trained to translate into 'fr'"):
        run.translate(SIGN, to="fr")
    assert not out.exists()


def test_the_answers_to_a_dataset_have_image_files(run: Run, folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"image": SIGN, "question": "Translate the sign into German."},
        {"image": SIGN, "question": "Translate into German: red"},
    ]
    options: dict[str, Any] = {"writer": "rendered", "pictures": folder / "pictures"}
    first, second = api.answer_all(run, rows, **options)
    assert first["answer"] == ANSWER
    assert first["faults"] == []
    with Image.open(first["picture"]) as picture:
        assert picture.tobytes() == api.render(SIGN, "[100 200 900 800] Tor").tobytes()
    assert second["picture"] is None or Path(second["picture"]).is_file()
    plain, _ = api.answer_all(run, rows)
    assert plain == {name: first[name] for name in plain}

    data = folder / "rows.jsonl"
    data.write_text(
        json.dumps({"image": "sign.png", "question": rows[0]["question"]}) + "\n", encoding="utf-8"
    )
    words = ["generate", str(folder / "run"), "--data", str(data), "--writer", "rendered"]
    done = CliRunner().invoke(cli.app, [*words, "--out", str(folder / "answers.jsonl")])
    assert done.exit_code == 0, done.output
    row = json.loads((folder / "answers.jsonl").read_text(encoding="utf-8"))
    assert row["picture"] == str(folder / "answers-pictures" / "000000.png")
    assert Path(row["picture"]).is_file()


def test_a_text_is_translated_as_before(run: Run) -> None:
    asked = dataclasses.replace(run, languages=None).translate(SIGN, "red", to="de")
    assert asked.text == "rot"
    assert api.translate(run, SIGN, "red", to="de").text == "rot"


def test_an_answer_is_explained_in_python_and_on_the_command_line(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = "Translate the sign into German."
    found = run.explain(SIGN, question, method="relevancy", word="Tor")
    assert found.answer == ANSWER
    (image,) = found.media
    assert (image.name, image.values.shape) == ("image-0", (4, 4))
    same = api.explain(
        folder / "run", folder / "sign.png", question, method={"kind": "relevancy"}, word="Tor"
    )
    np.testing.assert_array_equal(same.media[0].values, image.values)

    words = ["explain", str(folder / "run"), str(folder / "sign.png"), question, "--word", "Tor"]
    monkeypatch.setattr("sys.argv", ["sightweave", *words, "--method", "{kind: relevancy}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert f"{ANSWER}  (relevancy, word 'Tor')" in shown
    row, column = (index + 1 for index in image.best)
    assert f"at row {row}, column {column}" in shown

    monkeypatch.setattr("sys.argv", ["sightweave", *words, "--method", "grad_camera"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Did you mean 'grad_cam'?" in capsys.readouterr().err


def test_an_empty_question_is_not_explained(run: Run) -> None:
    with pytest.raises(DataError, match="the question is empty"):
        run.explain(SIGN, " ")
