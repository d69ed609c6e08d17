"""Shards: samples, patterns, counts; and shards that are cut or hold what they must not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from data_sets import webdataset as written
from data_sets._colours import COLOURS, picture

from sightweave import api
from sightweave.core.errors import DataError
from sightweave.data.datasets import webdataset
from sightweave.data.reading.detect import detect
from sightweave.data.reading.image_paths import Slice
from sightweave.data.reading.splits import common_split

RED = [("1.jpg", picture("red")), ("1.txt", b"Red.")]
BLUE = [("2.jpg", picture("blue")), ("2.txt", b"Blue.")]


def build(path: Path | str, which: str = "train", **options: Any) -> Any:
    return webdataset.Config(path=str(path), **{"split": "train", **options}).build(split=which)


def test_samples_are_read_in_place(tmp_path: Path) -> None:
    written.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    dataset = build(tmp_path)
    assert len(dataset) == 8
    for number, (colour, (record,)) in enumerate(zip(COLOURS, dataset, strict=True)):
        shard, place = divmod(number, 4)
        assert record.id == f"{shard:05d}.tar#{shard:05d}{place:04d}"
        assert record.captions == (f"All of it is {colour}.",)
        source = record.images[0].source
        assert isinstance(source, Slice)
        assert (source.path, source.key) == (tmp_path / f"{shard:05d}.tar", record.id)
        assert source() == picture(colour)
    assert sorted(tmp_path.rglob("*")) == before


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {"webdataset": "samples in 00000.tar, 00001.tar"}
    assert list(detect(tmp_path / "00001.tar")) == ["webdataset"]
    (tmp_path / "other").mkdir()
    written.pack(tmp_path / "other" / "pictures.tar", [("1.jpg", b"x"), ("2.jpg", b"x")])
    assert detect(tmp_path / "other") == {"webdataset": "images only in pictures.tar"}
    written.pack(tmp_path / "other" / "pictures.tar", [("1.jpg", b"x"), ("2.pt", b"x")])
    assert detect(tmp_path / "other") == {}


def test_patterns_name_shards(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert len(build(tmp_path / "{00000..00001}.tar")) == 8
    assert len(build(f"{tmp_path}/00000.tar::{tmp_path}/00001.tar")) == 8
    assert len(build(f"{tmp_path}/00{{000..001}}.tar")) == 8
    assert build(tmp_path / "{00001..00001}.tar")[0][0].images[0].key == "00001.tar#000010000"
    with pytest.raises(DataError, match=r"00002.tar: shard not found"):
        build(tmp_path / "{00000..00002}.tar")
    with pytest.raises(DataError, match=r"\{5..1\} must count up"):
        build(tmp_path / "{5..1}.tar")


@pytest.mark.parametrize(
    "path", ["pipe:curl -s x", "https://example.com/00000.tar", "s3://bucket/{0..9}.tar"]
)
def test_commands_and_urls_are_refused(path: str) -> None:
    with pytest.raises(DataError, match="commands and URLs are not supported; copy the shards to a"):
        build(path)


def test_compressed_shards_are_refused_with_the_command(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("1.txt"))
    assert list(detect(tmp_path / "a.tar.gz")) == ["webdataset"]
    with pytest.raises(DataError, match=r"decompress it first: gunzip -k a.tar.gz"):
        build(tmp_path / "a.tar.gz")


def test_splits_are_those_of_names_or_folders(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    written.pack(tmp_path / "train-0000.tar", RED)
    written.pack(tmp_path / "val" / "0000.tar", BLUE)
    for split, caption in (("train", "Red."), ("val", "Blue.")):
        ((record,),) = build(tmp_path, split, split="")
        assert (record.captions, record.split) == ((caption,), common_split(split))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_of_tar_give_the_same(tmp_path: Path, form: int) -> None:
    key = "folder/" * 9 + "long" * 20
    written.pack(
        tmp_path / "a.tar", [(f"{key}.seg.png", picture("red", "PNG")), (f"{key}.txt", b"Red.")], form
    )
    ((record,),) = build(tmp_path / "a.tar")
    assert record.id == f"a.tar#{key}"
    assert record.images[0].source() == picture("red", "PNG")


def test_json_may_hold_questions_turns_and_all_captions(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>Which?"}, {"from": "gpt", "value": "Red."}]
    cells = [
        {"question": "Which?", "answers": ["red", "red", "dark"], "id": "q1"},
        {"conversations": turns},
        {"captions": ["A", "B"], "url": "x"},
    ]
    members = []
    for number, one in enumerate(cells):
        members += [(f"{number}.webp", picture("red", "WEBP")), (f"{number}.json", json.dumps(one).encode())]
    (question,), (talk,), (captions,) = build(written.pack(tmp_path / "a.tar", members))
    assert (question.id, question.answers, question.references) == ("q1", ("red",), ("red", "red", "dark"))
    assert [turn.content for turn in talk.turns] == [(0, "Which?"), ("Red.",)]
    assert captions.captions == ("A", "B")


def test_classes_and_several_pictures(tmp_path: Path) -> None:
    members = [("1.a.jpg", picture("red")), ("1.b.jpg", picture("blue")), ("1.cls", b"7")]
    ((record,),) = build(written.pack(tmp_path / "a.tar", members))
    assert record.captions == ("7",)
    assert [image.key for image in record.images] == ["a.tar#1.0", "a.tar#1.1"]
    assert record.images[1].source() == picture("blue")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([*RED, ("1.pkl", b"cos\nsystem\n")], "pickle_member"),
        ([*RED, ("1.pyd", b"x")], "pickle_member"),
        ([*RED, ("1.x.pth", b"x")], "pickle_member"),
        ([*RED, ("1.npy", b"x")], "pickle_member"),
        ([*RED, RED[0]], "duplicate_member"),
        ([RED[1]], "missing_field"),
        ([RED[0]], "missing_field"),
        ([RED[0], ("1.txt", b" \n")], "empty_field"),
        ([RED[0], ("1.txt", b"\xff")], "bad_encoding"),
        ([RED[0], ("1.json", b"{")], "bad_json"),
        ([RED[0], ("1.json", b'{"caption": 1, "caption": 2}')], "duplicate_field"),
        ([RED[0], ("1.json", b"[" * 100_000)], "bad_json"),
        ([RED[0], ("1.json", b"[]")], "wrong_type"),
        ([("../1.jpg", picture("red")), ("../1.txt", b"Red.")], "tar_name"),
        ([("/1.jpg", picture("red")), ("/1.txt", b"Red.")], "tar_name"),
    ],
)
def test_bad_samples_are_faults_with_their_place(tmp_path: Path, members: Any, code: str) -> None:
    path = written.pack(tmp_path / "a.tar", [*BLUE, *members])
    dataset = build(path)
    assert [record.captions for (record,) in dataset] == [("Blue.",)]
    (fault,) = dataset.faults
    assert (fault.file, fault.line, fault.code) == (str(path), 1, code)


def test_members_that_do_not_follow_one_another_are_a_fault(tmp_path: Path) -> None:
    path = written.pack(tmp_path / "a.tar", [*RED, *BLUE, ("1.json", b"{}")])
    (fault,) = build(path).faults
    assert (fault.line, fault.code, fault.value) == (2, "duplicate_sample", "'1'")


def test_links_are_faults(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in BLUE:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("1.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    (fault,) = build(tmp_path / "a.tar").faults
    assert fault.code == "tar_link"


def test_a_shard_that_is_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    path = written.pack(tmp_path / "a.tar", [*RED, *BLUE])
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for size in [*range(0, end + 1024, 512), *range(100, end + 1024, 700), end + 1023]:
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"a.tar: byte \d+"):
            build(path)
    path.write_bytes(data[: end + 1024])
    assert len(build(path)) == 2


def test_counts_beside_the_shards_are_compared(tmp_path: Path) -> None:
    written.write(tmp_path)
    written.pack(tmp_path / "00001.tar", BLUE)  # a whole archive, with fewer samples
    with pytest.raises(DataError, match=r"00001.tar: 1 samples, but 00001_stats.json lists 4"):
        build(tmp_path)
    for file in tmp_path.glob("*_stats.json"):
        file.unlink()
    assert len(build(tmp_path)) == 5
    info = {"energon_version": "7.0.0", "shard_counts": {"00000.tar": 4, "00001.tar": 2}}
    (tmp_path / ".nv-meta").mkdir()
    (tmp_path / ".nv-meta" / ".info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match=r"00001.tar: 1 samples, but .nv-meta/.info.json lists 2"):
        build(tmp_path)


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no shards"):
        build(tmp_path)


def test_dots_in_names_do_not_merge_samples(tmp_path: Path) -> None:
    members = []
    for name in ("a/img.v1.0001", "a/img.v1.0002", "b.c/2.5"):
        members += [(f"{name}.jpg", picture("red")), (f"{name}.txt", name.encode())]
    members += [("7.left.jpg", picture("red")), ("7.right.jpg", picture("blue")), ("7.txt", b"Two.")]
    path = written.pack(tmp_path / "a.tar", members)
    assert list(detect(path)) == ["webdataset"]
    dataset = build(path)
    assert not dataset.faults
    records = [record for group in dataset for record in group]
    assert [(record.id, record.captions, len(record.images)) for record in records] == [
        ("a.tar#a/img.v1.0001", ("a/img.v1.0001",), 1),
        ("a.tar#a/img.v1.0002", ("a/img.v1.0002",), 1),
        ("a.tar#b.c/2.5", ("b.c/2.5",), 1),
        ("a.tar#7", ("Two.",), 2),
    ]


def test_pictures_alone_are_read_to_be_asked_about_and_to_be_checked(tmp_path: Path) -> None:
    names = ("1.jpg", "2.5.jpg", "2.6.JPEG", "._1.jpg", "odd.jfif")
    path = written.pack(tmp_path / "a.tar", [(name, picture("red")) for name in names])
    with pytest.raises(DataError, match=r"a\.tar: contains images, but no captions.*labelled: false"):
        build(path)
    dataset = build(path, labelled=False)
    assert [group[0].id for group in dataset] == ["a.tar#1", "a.tar#2.5", "a.tar#2.6", "a.tar#odd"]
    report = api.check_data(path, out=tmp_path / "check", workers=1)
    assert (report.rows, report.pictures, report.stops) == (4, 4, [])
