"""Hindi Visual Genome is read with the box that each text describes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from data_sets import visual_genome as written

from sightweave.core.errors import DataError
from sightweave.data.datasets import visual_genome
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import Record, task_of
from sightweave.data.reading.detect import detect


def read(path: Path, split: str = "train", **options: object) -> list[Record]:
    dataset = visual_genome.Config(path=str(path), **options).build(split=split)
    assert not dataset.faults
    return [record for group in dataset for record in group]


def test_a_line_becomes_a_translation_with_its_region(tmp_path: Path) -> None:
    found = read(written.write(tmp_path))
    assert [record.source for record in found] == [f"A {colour} square" for colour in written.PARTS["train"]]
    second = found[1]
    assert task_of(second) == "translation"
    assert second.id == "hindi-visual-genome-train:2"
    assert second.targets == (written.hindi("green"),)
    assert (second.source_language, second.target_language) == ("en", "hi")
    assert second.images[0].key == "hindi-visual-genome-train.images/2370002.jpg"
    assert image_files.load(second.images[0])[2, 2, 1] > 100
    (region,) = second.regions
    assert region.box == pytest.approx((2 / 40, 5 / 20, 22 / 40, 15 / 20))
    assert region.words == ("A green square", written.hindi("green"))


def test_file_names_say_the_split_and_the_challenge_is_a_test(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert [r.source for r in read(path, "val")] == ["A yellow square", "A purple square"]
    assert {(r.source, r.tags["set"]) for r in read(path, "test")} == {
        ("A orange square", "test"), ("A pink square", "challenge-test-set")
    }  # fmt: skip


def test_packed_files_and_other_languages(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for part in written.PARTS:
        file = path / f"hindi-visual-genome-{part}.txt"
        (path / f"bengali-visual-genome-{part}.txt.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    found = read(path)
    assert len(found) == 6  # the pictures are found by name in the other folder
    assert {record.target_language for record in found} == {"bn"}
    assert found[0].images[0].key == "hindi-visual-genome-train.images/2370001.jpg"


def test_it_is_recognised(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    said = detect(path)
    assert list(said) == ["visual_genome"]
    assert said["visual_genome"].startswith(
        "texts with boxes in hindi-visual-genome-challenge-test-set.txt, "
    )
    one = path / "hindi-visual-genome-dev.txt"
    assert detect(one) == {"visual_genome": "texts with boxes in hindi-visual-genome-dev.txt"}
    assert len(read(one, "val")) == 2


def test_boxes_that_leave_the_picture_are_cut(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "hindi-visual-genome-train.txt").write_text("2370001\t-4\t10\t400\t500\tA\tB\r\n\n")
    (record,) = read(path)
    assert record.regions[0].box == (0.0, 0.5, 1.0, 1.0)
    assert record.targets == ("B",)


def test_a_test_without_translations_may_be_asked(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    file = path / "hindi-visual-genome-test.txt"
    file.write_text("2370009\t1\t1\t9\t9\tAn orange square\t\n")
    assert [r.source for r in read(path, "test")] == ["A pink square"]
    asked = visual_genome.Config(path=str(file), labelled=False).build(split="train")
    assert [(r.source, r.targets) for r in asked[0]] == [("An orange square", ())]


def test_bad_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    lines = [
        "2370001\t1\t1\t9\t9\tA\tB",
        "2370001\t1\t1\t9\t9\tA",
        "../2370001\t1\t1\t9\t9\tA\tB",
        "2370001\tone\t1\t9\t9\tA\tB",
        "2370001\t1\t1\tnan\t9\tA\tB",
        "2370001\t1\t1\t9\t9\tA\t ",
        "99\t1\t1\t9\t9\tA\tB",
    ]
    (path / "hindi-visual-genome-train.txt").write_text("\n".join(lines))
    dataset = visual_genome.Config(path=str(path), max_bad=1.0).build(split="train")
    assert len(dataset) == 1
    assert [(f.line, f.code, f.field) for f in dataset.faults] == [
        (2, "bad_csv", ""),
        (3, "wrong_type", "image_id"),
        (4, "wrong_type", "X"),
        (5, "wrong_type", "Width"),
        (6, "empty_field", "target"),
        (7, "image_missing", "image"),
    ]
    assert "6 values for 7 tab-separated columns" in dataset.faults[0].message
    with pytest.raises(
        DataError, match=r"hindi-visual-genome-train\.txt:2: 6 values for 7 tab-separated columns"
    ):
        read(path, strict=True)


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "hindi-visual-genome-train.txt").write_bytes(b"2370001\t1\t1\t9\t9\tA\t\xff\n")
    with pytest.raises(DataError, match=r"train\.txt:1: not UTF-8: byte 0xff"):
        read(path)
    with pytest.raises(DataError, match=r"no file such as hindi-visual-genome-train\.txt"):
        read(path / "hindi-visual-genome-train.images")
