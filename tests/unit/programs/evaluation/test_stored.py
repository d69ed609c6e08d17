"""What an evaluation left is read back whole, and what is damaged is named with its place."""

import dataclasses
import json

import answered
import pytest

from sightweave.core.errors import DataError
from sightweave.core.types import Part
from sightweave.programs.evaluation.stored import (
    read_document,
    read_evaluations,
    read_gallery,
    read_predictions,
)


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
        ('{"split": "scenes"}', "not what an evaluation writes: id: Field required"),
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
    with pytest.raises(DataError, match="evaluation: not a valid evaluation file:"):
        read_evaluations(folder)
    document["splits"] = [3]
    (folder / "evaluation.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DataError, match=f"{folder}"):
        read_evaluations(folder)


def test_texts_with_line_separators_come_back_from_any_version(tmp_path):
    asked = [
        dataclasses.replace(sample, parts=(Part("user", "one\u2028two\u2029three\x85four"),))
        for sample in answered.samples(6)
    ]
    found = answered.evaluated(asked, lambda n: n > 1)
    answered.write(tmp_path, [found])
    path = tmp_path / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    assert read_evaluations(tmp_path) == [found]
    # Earlier versions left the separators unescaped.
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert read_evaluations(tmp_path) == [found]
    assert [row["prompt"] for row in read_predictions(tmp_path)] == [asked[0].prompt] * 6


@pytest.fixture
def gallery(tmp_path):
    (tmp_path / "run" / "gallery").mkdir(parents=True)
    (tmp_path / "run" / "gallery" / "0.png").write_bytes(b"mine")
    (tmp_path / "private.png").write_bytes(b"private")
    (tmp_path / "run" / "private.png").write_bytes(b"private")
    return tmp_path / "run" / "gallery"


def test_the_gallery_is_its_own_files(gallery):
    assert read_gallery(gallery.parent) == {}
    (gallery / "index.json").write_text('{"a": "0.png", "b": "gone.png"}')
    assert read_gallery(gallery.parent) == {"a": gallery / "0.png"}


@pytest.mark.parametrize(
    "name",
    [
        "../../private.png",
        "../private.png",
        "/etc/passwd",
        "..",
        "",
        ".",
        "link.png",
        "loop",
        "a\0b",
        5,
        None,
        ["0.png"],
    ],
)
def test_no_picture_from_outside_gets_into_a_page(gallery, name):
    (gallery / "link.png").symlink_to("../private.png")
    (gallery / "loop").symlink_to("loop")
    (gallery / "index.json").write_text(json.dumps({"a": name}))
    with pytest.raises(DataError, match=", which is not a file in"):
        read_gallery(gallery.parent)


def test_a_gallery_that_is_a_link_to_another_folder(gallery, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(b"private")
    (tmp_path / "photos" / "index.json").write_text('{"a": "0.png"}')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "gallery").symlink_to(tmp_path / "photos")
    with pytest.raises(DataError, match=", which is not a file in"):
        read_gallery(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "words"), [("[]", "list, not an object"), ('{"a"', "damaged"), ("[" * 100_000, "damaged")]
)
def test_an_index_of_another_shape(gallery, text, words):
    (gallery / "index.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_gallery(gallery.parent)
