"""COCO captions in all the files they come in, and what is said of broken ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import coco as written
from PIL import Image

from sightweave import api
from sightweave.core.errors import DataError
from sightweave.data.datasets import coco
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return coco.Config(path=str(path), **options).build(split=split)


def edited(path: Path, edit: Any) -> Path:
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def is_colour(path: Path, number: int) -> bool:
    with Image.open(path) as picture:
        found = picture.convert("RGB").getpixel((5, 5))
    wanted = list(written.COLOURS.values())[number]
    return all(abs(a - b) < 8 for a, b in zip(found, wanted, strict=True))


def test_the_2017_release_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert set(detect(path)) == {"coco"}
    assert "captions_train2017.json" in detect(path)["coco"]
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        table = read(path, split)
        assert len(table) == len(numbers)
        assert not table.faults
        for number, (record,) in zip(numbers, table, strict=True):
            assert (record.id, record.split) == (str(1000 + number), common_split(split))
            assert record.group == record.images[0].key == f"{split}2017/{1000 + number:012d}.jpg"
            assert is_colour(record.images[0].source, number)
            assert record.captions == tuple(written.texts(number))
            assert [(r.box, r.words) for r in record.regions] == [
                ((0.0, 0.0, 0.5, 1.0), ("person",)),
                ((0.5, 0.5, 1.0, 1.0), ("car",)),
            ][: 2 - number % 2]
    assert len(read(path, "test")) == 0


def test_one_file_finds_its_boxes_and_pictures(tmp_path: Path) -> None:
    file = written.write(tmp_path) / "annotations/captions_val2017.json"
    assert set(detect(file)) == {"coco"}
    ((first,), (second,)) = read(file, "val")
    assert (first.id, second.id) == ("1006", "1007")
    assert len(first.regions) == 2
    assert len(second.regions) == 1
    assert [
        record.split for (record,) in coco.Config(path=str(file), split="train").build(split="train")
    ] == ["train"] * 2


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    before = [record.captions for (record,) in read(path)]
    for file in sorted((path / "annotations").iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert set(detect(path)) == {"coco"}
    assert [record.captions for (record,) in read(path)] == before


def test_files_as_large_as_official_ones_are_recognised(tmp_path: Path) -> None:
    """Only their beginning and end are looked at, and the key ``annotations`` is in neither."""
    path = written.write(tmp_path)

    def grown(values: Any) -> None:
        images, annotations = values["images"], values["annotations"]
        values["images"] = [{**images[i % 6], "id": i} for i in range(2000)]
        values["annotations"] = [{**annotations[0], "image_id": i, "id": i} for i in range(2000)] * 2

    files = [edited(path / f"annotations/{name}_train2017.json", grown) for name in ("captions", "instances")]
    assert min(file.read_bytes().index(b'"annotations"') for file in files) > 1 << 17
    assert min(file.stat().st_size - file.read_bytes().index(b'"annotations"') for file in files) > 1 << 17
    assert set(detect(files[0])) == {"coco"}
    table = read(path)
    assert not table.faults
    assert [len(group) for group in table] == [334, 334, 333, 333, 333, 333]
    assert {len(record.regions) for record in table[0]} == {2}


def test_the_2014_release_has_no_boxes(tmp_path: Path) -> None:
    path = written.write_2014(tmp_path)
    assert set(detect(path)) == {"coco"}
    (record,) = read(path, "val")[1]
    assert record.images[0].key == "val2014/COCO_val2014_000000001007.jpg"
    assert record.captions == tuple(written.texts(7))
    assert record.regions == ()


def test_pictures_in_another_folder(tmp_path: Path) -> None:
    file = written.write(tmp_path / "set") / "annotations/captions_train2017.json"
    (tmp_path / "set/train2017").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"all 6 rows are bad(.|\n)*captions_train2017\.json:0: image: "):
        read(file)
    table = read(file, image_root=str(tmp_path / "pictures"))
    assert [record.group for (record,) in table] == [f"{1000 + n:012d}.jpg" for n in range(6)]


def test_karpathy_gives_restval_to_training(tmp_path: Path) -> None:
    file = written.write_karpathy(tmp_path)
    assert set(detect(file)) == set(detect(tmp_path)) == {"coco"}
    assert [len(read(file, split)) for split in ("train", "val", "test")] == [5, 1, 2]
    (record,) = read(file)[4]
    assert (record.id, record.split) == ("1004", "train")
    assert record.images[0].key == "val2014/COCO_val2014_000000001004.jpg"
    assert record.captions == tuple(written.texts(4))


def test_karpathy_of_flickr30k(tmp_path: Path) -> None:
    file = written.write_flickr30k(tmp_path)
    assert set(detect(file)) == {"coco"}
    assert [len(read(file, split)) for split in ("train", "val", "test")] == [6, 1, 1]
    ((record,),) = read(file, "test")
    assert (record.id, record.images[0].key) == ("7", "flickr30k-images/1007.jpg")


def test_the_lavis_copy_groups_its_rows_by_picture(tmp_path: Path) -> None:
    path = written.write_lavis(tmp_path)
    assert set(detect(path)) == set(detect(path / "annotations/coco_karpathy_test.json")) == {"coco"}
    table = read(path)
    assert len(table) == 6
    for number, group in enumerate(table):
        assert [record.captions for record in group] == [(text,) for text in written.texts(number)]
        assert {record.group for record in group} == {f"val2014/COCO_val2014_{1000 + number:012d}.jpg"}
    assert [[r.captions for r in group] for group in read(path, "val")] == [[tuple(written.texts(6))]]
    assert [[r.captions for r in group] for group in read(path, "test")] == [[tuple(written.texts(7))]]


def test_two_releases_at_once_are_refused(tmp_path: Path) -> None:
    """The val pictures of one are training pictures of the other: what was learnt would be tested."""
    written.write_2014(written.write(tmp_path))
    with pytest.raises(
        DataError, match=r"contains several caption releases \(captions_train2014\.json, .*Give"
    ):
        read(tmp_path)
    assert len(read(tmp_path / "annotations/captions_train2014.json")) == 6
    (tmp_path / "k").mkdir()
    written.write_karpathy(written.write_2014(tmp_path / "k"))
    with pytest.raises(DataError, match=r": contains several caption releases \(.*dataset_coco\.json"):
        read(tmp_path / "k")


def test_other_files_of_boxes_are_no_regions(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    people = json.loads((path / "annotations/instances_train2017.json").read_text(encoding="utf-8"))
    for one in people["annotations"]:
        one |= {"keypoints": [1, 2, 2], "num_keypoints": 1}
    written.dump(path / "annotations/person_keypoints_train2017.json", people)
    assert [len(record.regions) for (record,) in read(path)] == [2, 1, 2, 1, 2, 1]
    assert set(detect(path)) == {"coco"}


def test_a_picture_without_captions_has_nothing_to_learn(tmp_path: Path) -> None:
    file = written.write_2014(tmp_path) / "annotations/captions_train2014.json"
    edited(
        file,
        lambda v: v["annotations"].__setitem__(
            slice(None), [a for a in v["annotations"] if a["image_id"] > 1000]
        ),
    )
    table = read(file)
    assert len(table) == 5
    assert not table.faults
    assert "1 rows have no answer" in table.notes[0]
    assert len(read(file, labelled=False)) == 6


BROKEN_IMAGES = [
    (7, "wrong_type", ""),
    (None, "wrong_type", ""),
    ({}, "missing_field", "id"),
    ({"id": [1], "file_name": "a.jpg"}, "wrong_type", "id"),
    ({"id": True, "file_name": "a.jpg"}, "wrong_type", "id"),
    ({"id": 1000}, "missing_field", "image"),
    ({"id": 1000, "file_name": 5}, "wrong_type", "image"),
    ({"id": 1000, "file_name": "../../etc/passwd"}, "image_path", "image"),
    ({"id": 1000, "file_name": "none.jpg"}, "image_missing", "image"),
]


@pytest.mark.parametrize(("image", "code", "field"), BROKEN_IMAGES)
def test_a_broken_picture_is_one_fault_with_its_place(
    tmp_path: Path, image: Any, code: str, field: str
) -> None:
    file = edited(
        written.write_2014(tmp_path) / "annotations/captions_train2014.json",
        lambda v: v["images"].__setitem__(0, image),
    )
    table = read(file)
    assert [record.id for (record,) in table] == [str(1000 + n) for n in range(1, 6)]
    fault = table.faults[0]
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert {fault.code for fault in table.faults[1:]} <= {"unknown_image"}  # the captions that nobody has now
    with pytest.raises(DataError, match=r"captions_train2014\.json:0"):
        read(file, strict=True)


BROKEN_CAPTIONS = [
    ("text", "wrong_type", "", 3),
    ({"caption": "A dog."}, "missing_field", "image_id", 3),
    ({"image_id": {}, "caption": "A dog."}, "wrong_type", "image_id", 3),
    ({"image_id": 5, "caption": "A dog."}, "unknown_image", "image_id", 3),
    ({"image_id": 1002, "caption": None}, "wrong_type", "captions", 2),
    ({"image_id": 1002}, "wrong_type", "captions", 2),
    ({"image_id": 1002, "caption": " "}, "empty_field", "captions", 2),
]


@pytest.mark.parametrize(("caption", "code", "field", "line"), BROKEN_CAPTIONS)
def test_a_broken_caption(tmp_path: Path, caption: Any, code: str, field: str, line: int) -> None:
    file = edited(
        written.write_2014(tmp_path) / "annotations/captions_train2014.json",
        lambda v: v["annotations"].__setitem__(3, caption),
    )
    table = read(file)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), line, code, field)
    assert len(table) == (5 if line == 2 else 6)


BROKEN_BOXES = [
    (5, "wrong_type", ""),
    ({"image_id": 1000, "category_id": 1}, "wrong_type", "bbox"),
    ({"image_id": 1000, "category_id": 1, "bbox": [1, 2, 3]}, "wrong_type", "bbox"),
    ({"image_id": 1000, "category_id": 1, "bbox": [1, 2, 3, None]}, "wrong_type", "bbox"),
    ({"image_id": 1000, "category_id": 1, "bbox": "1 2 3 4"}, "wrong_type", "bbox"),
    ({"image_id": 1000, "category_id": 99, "bbox": [1, 2, 3, 4]}, "unknown_category", "category_id"),
    ({"image_id": 1000, "bbox": [1, 2, 3, 4]}, "missing_field", "category_id"),
]


@pytest.mark.parametrize(("box", "code", "field"), BROKEN_BOXES)
def test_a_broken_box_is_said_and_its_picture_stays(tmp_path: Path, box: Any, code: str, field: str) -> None:
    path = written.write(tmp_path)
    file = edited(
        path / "annotations/instances_train2017.json", lambda v: v["annotations"].__setitem__(0, box)
    )
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert len(table) == 6
    assert [region.words for region in table[0][0].regions] == [("car",)]


@pytest.mark.parametrize("size", [None, 0, -3, "64", 10**400])
def test_boxes_need_the_size_of_their_picture(tmp_path: Path, size: Any) -> None:
    path = written.write(tmp_path)
    edited(path / "annotations/captions_train2017.json", lambda v: v["images"][1].update(width=size))
    (fault,) = read(path).faults
    assert (fault.line, fault.code, fault.field) == (1, "wrong_type", "width")
    assert "since the image has boxes" in fault.message


@pytest.mark.parametrize(
    ("edit", "code", "field"),
    [
        (lambda one: one.pop("sentences"), "wrong_type", "sentences"),
        (lambda one: one.update(sentences=[]), "empty_field", "captions"),
        (lambda one: one.update(sentences=["A dog."]), "wrong_type", "sentences"),
        (lambda one: one.update(sentences=[{"tokens": []}]), "wrong_type", "captions"),
        (lambda one: one.update(split="trian"), "bad_split", "split"),
        (lambda one: one.update(split=[1]), "wrong_type", "split"),
        (lambda one: one.pop("filename"), "missing_field", "image"),
    ],
)
def test_broken_rows_of_karpathy(tmp_path: Path, edit: Any, code: str, field: str) -> None:
    file = edited(written.write_karpathy(tmp_path), lambda v: edit(v["images"][2]))
    (fault,) = read(file).faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 2, code, field)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (3, "wrong_type"),
        ({"image": "val2014/none.jpg", "caption": "A dog."}, "image_missing"),
        ({"caption": "A dog."}, "missing_field"),
    ],
)
def test_broken_rows_of_lavis(tmp_path: Path, row: Any, code: str) -> None:
    path = written.write_lavis(tmp_path)
    edited(path / "annotations/coco_karpathy_train.json", lambda v: v.__setitem__(5, row))
    (fault,) = read(path).faults
    assert (fault.line, fault.code) == (5, code)


@pytest.mark.parametrize("keep", [0.999, 0.6, 0.3])
def test_a_file_that_is_cut_is_an_error_with_its_place(tmp_path: Path, keep: float) -> None:
    file = written.write(tmp_path) / "annotations/captions_train2017.json"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"captions_train2017\.json: character \d+: "):
        read(file)


def test_files_without_captions_say_so_and_their_pictures_can_be_asked_about(tmp_path: Path) -> None:
    written.write(tmp_path)
    for split in ("train", "val"):
        (tmp_path / "annotations" / f"captions_{split}2017.json").unlink()
    assert detect(tmp_path) == {
        "coco": "images without captions in instances_train2017.json, instances_val2017.json"
    }
    with pytest.raises(
        DataError, match=r"instances_train2017.json.* no captions or questions.*labelled: false"
    ):
        read(tmp_path)
    dataset = read(tmp_path, labelled=False)
    assert not dataset.faults
    assert len(dataset) == 8
    assert dataset[0][0].captions == ()
    assert dataset[0][0].regions[0].words
    report = api.check_data(tmp_path, out=tmp_path / "check", workers=1)
    assert (report.rows, report.pictures, report.stops) == (8, 8, [])


def test_other_official_files_name_their_pictures_too(tmp_path: Path) -> None:
    written.pictures(tmp_path, {0: "a.jpg"})
    image = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, "coco_url": "http://x/a.jpg"}
    for name, more in (
        ("image_info_test2017.json", {"categories": []}),
        ("keypoints.json", {"annotations": [{"image_id": 1, "category_id": 1, "keypoints": [0, 0, 0]}]}),
    ):
        written.dump(tmp_path / name, {"info": {}, "images": [image], **more})
        assert list(detect(tmp_path / name)) == ["coco"]
        assert [group[0].images[0].key for group in read(tmp_path / name, labelled=False)] == ["a.jpg"]
