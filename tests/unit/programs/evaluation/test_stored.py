"""What an evaluation left is read back whole, and what is damaged is named with its place."""

import json

import answered
import pytest

from sightweave.core.errors import DataError
from sightweave.programs.evaluation.stored import read_document, read_evaluations


@pytest.fixture
def folder(tmp_path):
    asked = answered.samples(6)
    found = [answered.evaluated(asked, lambda n: n > 1, split=split) for split in ("scenes", "other")]
    return answered.write(tmp_path, found, seed=3)


def test_it_comes_back_equal(folder):
    assert read_document(folder)["seed"] == 3
    found = read_evaluations(folder)
    assert [one.split for one in found] == ["scenes", "other"]
    asked = answered.samples(6)
    assert found == [answered.evaluated(asked, lambda n: n > 1, split=split) for split in ("scenes", "other")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "format_version None, but this version reads 2"),  # the older format was a list
        ('{"format_version": 1, "splits": []}', "format_version 1, but"),
        ('{"format_version": 2}', "but this version reads 2"),
        ('{"format_version": 2,', "damaged: "),
    ],
)
def test_another_format_is_said_with_what_to_do(folder, text, words):
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words) as error:
        read_document(folder)
    assert f"sightweave evaluate {folder}" in str(error.value)


def test_a_missing_file_is_said(folder):
    (folder / "predictions.jsonl").unlink()
    with pytest.raises(DataError, match=r"predictions\.jsonl: cannot be read"):
        read_evaluations(folder)
    (folder / "evaluation.json").unlink()
    with pytest.raises(DataError, match=r"evaluation\.json: cannot be read"):
        read_document(folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"split": "scenes", "id"', "line 2 is damaged"),
        ("[1]", "line 2 is list, not an object"),
        ("{}", "5 answers of split 'scenes', but evaluation.json counts 6"),
        ('{"split": "scenes"}', "not what an evaluation writes: 'id'"),
        (b"\xff\xfe", "line 2 is damaged"),
    ],
)
def test_a_damaged_row_is_named_with_its_file(folder, line, words):
    path = folder / "predictions.jsonl"
    lines = path.read_bytes().splitlines()
    lines[1] = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=words) as error:
        read_evaluations(folder)
    assert str(folder) in str(error.value)


def test_scores_that_are_no_scores_are_said(folder):
    document = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    document["splits"][0]["count"] = "many"
    (folder / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match="not what an evaluation writes"):
        read_evaluations(folder)
    document["splits"] = [3]
    (folder / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=f"{folder}"):
        read_evaluations(folder)
