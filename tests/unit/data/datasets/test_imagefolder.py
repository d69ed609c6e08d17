"""Folders of pictures with metadata, or with a folder for each class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_sets import imagefolder as written
from data_sets._colours import COLOURS

from sightweave.core.errors import DataError
from sightweave.data.datasets import imagefolder
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return imagefolder.Config(path=str(path), **options).build(split=which)


def metadata(folder: Path, rows: list[Any], name: str = "metadata.jsonl") -> Path:
    written.save(folder, "a.png", "red")
    written.save(folder, "b.png", "blue")
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_names_start_from_the_folder_of_the_metadata(tmp_path: Path) -> None:
    written.write(tmp_path)
    dataset = build(tmp_path)
    for number, (colour, (record,)) in enumerate(zip(list(COLOURS)[:6], dataset, strict=True)):
        assert record.id == f"train/metadata.jsonl#{number + 1}"
        assert record.captions == (f"All of it is {colour}.",)
        assert record.images[0].source == tmp_path.resolve() / "train" / f"000{number}.png"
    held = build(tmp_path, "test")
    assert [r.images[0].key for (r,) in held] == ["test/0000.png", "test/0001.png"]
    assert {r.split for (r,) in held} == {"test"}
    assert len(build(tmp_path, min_quality={"additional_feature": 3})) == 3


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {"imagefolder": "file names in metadata.jsonl, metadata.jsonl"}
    assert list(detect(tmp_path / "train")) == ["imagefolder"]
    assert list(detect(tmp_path / "train" / "metadata.jsonl")) == ["imagefolder"]
    assert len(build(tmp_path / "train" / "metadata.jsonl")) == 5  # and one is held out


def test_metadata_may_be_a_csv_or_parquet(tmp_path: Path) -> None:
    rows = [{"file_name": "a.png", "question": "Which?", "answer": "red"}]
    metadata(tmp_path / "p", [])
    (tmp_path / "p" / "metadata.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p" / "metadata.parquet")
    metadata(tmp_path / "c", [], "metadata.csv")
    (tmp_path / "c" / "metadata.csv").write_text("file_name,question,answer\na.png,Which?,red\n")
    for name in "pc":
        assert list(detect(tmp_path / name)) == ["imagefolder"]
        ((record,),) = build(tmp_path / name, split="train")
        assert (record.question, record.answers, record.images[0].key) == ("Which?", ("red",), "a.png")


def test_a_row_may_name_several_pictures(tmp_path: Path) -> None:
    metadata(tmp_path, [{"file_names": ["a.png", "b.png"], "question": "Alike?", "answer": "no"}])
    assert list(detect(tmp_path)) == ["imagefolder"]
    ((record,),) = build(tmp_path, split="train")
    assert [image.key for image in record.images] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"text": "Red."}, "missing_field", "file_name"),
        ({"file_name": 3, "text": "Red."}, "missing_field", "file_name"),
        ({"file_names": "a.png", "text": "Red."}, "wrong_type", "file_names"),
        ({"file_name": "a.png"}, "missing_field", ""),
        ({"file_name": "../a.png", "text": "Red."}, "image_path", "image"),
        ({"file_name": "/etc/passwd", "text": "Red."}, "image_path", "image"),
        ({"file_name": "c.png", "text": "Red."}, "image_missing", "image"),
        (["a.png"], "wrong_type", ""),
    ],
)
def test_bad_rows_are_faults_with_their_line(tmp_path: Path, row: Any, code: str, field: str) -> None:
    metadata(tmp_path, [{"file_name": "a.png", "text": "Red."}, row])
    (fault,) = build(tmp_path).faults
    assert (fault.file, fault.line, fault.code, fault.field) == (
        str(tmp_path / "metadata.jsonl"), 2, code, field
    )  # fmt: skip


def test_the_users_own_rows_are_not_claimed(tmp_path: Path) -> None:
    metadata(tmp_path, [{"image": "a.png", "caption": "Red.", "file_name": "x"}])
    assert list(detect(tmp_path)) == ["own"]


def test_folders_of_classes_give_captions(tmp_path: Path) -> None:
    written.write_classes(tmp_path)
    found = detect(tmp_path)
    assert found == {"imagefolder": "images in class folders (black, blue, green and 3 more)"}
    dataset = build(tmp_path)
    assert [(r.id, r.captions) for (r,) in dataset] == [
        (f"train/{name}/1.jpg", (name,)) for name in sorted(list(COLOURS)[:6])
    ]
    assert [(r.images[0].key, r.captions) for (r,) in build(tmp_path, "test")] == [
        ("test/green/2.jpg", ("green",)),
        ("test/red/2.jpg", ("red",)),
    ]
    assert len(build(tmp_path / "train", split="train")) == 6


def test_a_picture_outside_the_classes_is_a_fault(tmp_path: Path) -> None:
    written.write_classes(tmp_path)
    written.save(tmp_path, "cover.jpg", "red")
    assert detect(tmp_path) == {
        "imagefolder": "images in class folders (black, blue, green and 3 more), and 1 images outside them"
    }
    (fault,) = build(tmp_path).faults
    assert (fault.code, fault.field, fault.value) == ("missing_field", "caption", "'cover.jpg'")


def test_classes_lie_at_any_depth_and_other_formats_are_named(tmp_path: Path) -> None:
    for name in ("animals/cat.png", "animals/birds/owl.png", "animals/birds/jay.jfif", "plants/oak.jpg"):
        written.save(tmp_path, name.replace(".jfif", ".jpg"), "red")
    (tmp_path / "animals/birds/jay.jpg").rename(tmp_path / "animals/birds/jay.jfif")
    for name in ("animals/dog.bmp", "plants/elm.tiff", "favicon.ico", "animals/odd.xyz"):
        (tmp_path / name).write_bytes(b"\0x")
    assert list(detect(tmp_path)) == ["imagefolder"]
    dataset = build(tmp_path, split="train")
    assert [(r.id, r.captions) for (r,) in dataset] == [
        ("animals/cat.png", ("animals",)),
        ("animals/birds/jay.jfif", ("birds",)),
        ("animals/birds/owl.png", ("birds",)),
        ("plants/oak.jpg", ("plants",)),
    ]
    assert [(fault.code, fault.value) for fault in dataset.faults] == [
        ("image_unsupported_format", "'favicon.ico'"),
        ("image_unsupported_format", "'animals/dog.bmp'"),
        ("image_unsupported_format", "'plants/elm.tiff'"),
    ]


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        build(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        {"image_file_name": "a.png", "text": "Red."},
        {"images_file_names": ["a.png"], "text": "Red."},
        {"picture_file_name": "a.png", "audio_file_name": "a.wav", "text": "Red."},
        {"image_file_name": "a.png", "mask_file_name": "b.png", "text": "Red."},
    ],
)
def test_columns_of_file_names_as_datasets_calls_them(tmp_path: Path, row: dict[str, Any]) -> None:
    metadata(tmp_path, [row])
    assert list(detect(tmp_path)) == ["imagefolder"]
    ((record,),) = build(tmp_path, split="train")
    assert [image.key for image in record.images] == ["a.png"]


def test_several_columns_name_several_pictures(tmp_path: Path) -> None:
    row = {"left_file_name": "a.png", "right_file_name": "b.png", "question": "Alike?", "answer": "no"}
    metadata(tmp_path, [row, {**row, "right_file_name": None}, {**row, "left_file_name": 3}])
    dataset = build(tmp_path, split="train")
    assert [[image.key for image in group[0].images] for group in dataset] == [["a.png", "b.png"], ["a.png"]]
    assert [(fault.code, fault.field) for fault in dataset.faults] == [("missing_field", "left_file_name")]


def test_metadata_above_the_splits_gives_each_row_that_of_its_first_folder(tmp_path: Path) -> None:
    rows = [
        {"image_file_name": written.save(tmp_path, name, "red"), "text": "Red."}
        for name in (
            "train/a.png",
            "val/b.png",
            "testing/c.png",
            "holdout/d.png",
            "e.png",
            "train/more/f.png",
        )
    ]
    rows.append({"image_file_name": "train/a.png", "text": "Test.", "split": "test"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metadata.jsonl").write_text(lines, encoding="utf-8")
    found = {
        name: sorted(r.images[0].key for group in build(tmp_path, name) for r in group)
        for name in ("train", "validation", "test")
    }
    assert found == {
        "train": ["e.png", "train/a.png", "train/more/f.png"],
        "validation": ["val/b.png"],
        "test": ["testing/c.png", "train/a.png"],
    }
    (fault,) = build(tmp_path).faults
    assert (fault.line, fault.code, fault.value) == (4, "bad_split", "'holdout'")
    assert "unlike the folders beside it (testing, train, val)" in fault.message


def test_a_folder_that_is_no_split_beside_some_that_are_is_named(tmp_path: Path) -> None:
    written.write(tmp_path / "a")
    metadata(tmp_path / "a" / "holdout", [{"file_name": "a.png", "text": "Red."}])
    dataset = build(tmp_path / "a")
    assert len(dataset) == 6
    assert [(fault.code, fault.value) for fault in dataset.faults] == [("bad_split", "'holdout'")]

    written.write_classes(tmp_path / "b")
    written.save(tmp_path / "b", "extra/red/1.jpg", "red")
    dataset = build(tmp_path / "b")
    assert len(dataset) == 6
    assert [(fault.code, fault.value) for fault in dataset.faults] == [("bad_split", "'extra'")]

    metadata(
        tmp_path / "c", [{"file_name": written.save(tmp_path / "c", "images/1.png", "red"), "text": "Red."}]
    )
    assert not build(tmp_path / "c", held_out=0, validation=0).faults
