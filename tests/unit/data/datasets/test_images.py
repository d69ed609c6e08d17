"""Folders with pictures alone."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from data_sets import images as written
from data_sets._colours import COLOURS
from PIL import Image

from sightweave import api
from sightweave.core.errors import DataError
from sightweave.data.datasets import images
from sightweave.data.reading.detect import detect


def build(path: Path, **options: Any) -> Any:
    return images.Config(path=str(path), **options).build(split="train")


def test_every_picture_is_a_record_to_ask_about(tmp_path: Path) -> None:
    written.write(tmp_path)
    dataset = build(tmp_path, labelled=False)
    assert [Path(record.id).stem for (record,) in dataset] == [
        *sorted(list(COLOURS)[:6]),
        *sorted(list(COLOURS)[6:]),
    ]
    for (record,) in dataset:
        assert record.captions == ()
        assert record.images[0].key == record.id
        assert record.images[0].source == tmp_path.resolve() / record.id


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {"images": "images only, such as black.jpg"}
    assert detect(tmp_path / "red.jpg") == {}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a.json",
            "b.jsonl",
            "c.csv",
            "d.tsv",
            "e.parquet",
            "f.arrow",
            "g.tar",
            "h.txt",
            "more/i.json.gz",
            "src.en",
        )
    ],
)
def test_beside_anything_written_it_is_not(tmp_path: Path, name: str) -> None:
    written.write(tmp_path)
    (tmp_path / name).write_bytes(b"{}")
    assert "images" not in detect(tmp_path)


def test_nothing_can_be_learnt_from_it(tmp_path: Path) -> None:
    written.write(tmp_path)
    with pytest.raises(DataError, match=r"no captions, questions or answers.*data.jsonl.*labelled: false"):
        build(tmp_path)


def test_hidden_files_and_bad_pictures_are_left_out(tmp_path: Path) -> None:
    written.write(tmp_path)
    (tmp_path / "._red.jpg").write_bytes(b"x")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "red.jpg").write_bytes(b"x")
    (tmp_path / "bad.png").write_bytes(b"x")
    dataset = build(tmp_path, labelled=False)
    assert len(dataset) == 8
    assert [(fault.line, fault.value) for fault in dataset.faults] == [(0, "'bad.png'")]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    written.write(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    dataset = build(tmp_path, labelled=False)
    assert len(dataset) == 8


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder not found"):
        build(tmp_path / "none" / "of", labelled=False)
    with pytest.raises(DataError, match="none"):
        build(tmp_path / "none", labelled=False)


def test_other_formats_and_a_readme_say_nothing(tmp_path: Path) -> None:
    written.write(tmp_path)
    for name in ("README.md", "LICENSE", "clip.mp4", "photo.heic", ".DS_Store", "more/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    assert list(detect(tmp_path)) == ["images"]
    dataset = build(tmp_path, labelled=False)
    assert len(dataset) == 8
    assert [fault.message for fault in dataset.faults] == [
        "photo.heic: .heic files are not supported. Convert it to JPEG, PNG, WEBP or GIF."
    ]


def test_odd_neighbours_do_not_hide_that_these_are_pictures(tmp_path: Path) -> None:
    written.write(tmp_path)
    (tmp_path / "red.jpg").rename(tmp_path / "red.jfif")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(
        buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    (tmp_path / "two.mpo").write_bytes(buffer.getvalue())
    for name in ("favicon.ico", "copying.txt", "a.dds", "b.unknown", "README"):
        (tmp_path / name).write_bytes(b"\0\1")
    os.mkfifo(tmp_path / "pipe")
    assert list(detect(tmp_path)) == ["images"]
    dataset = build(tmp_path, labelled=False)
    assert {group[0].id for group in dataset} >= {"red.jfif", "two.mpo"}
    assert {fault.value for fault in dataset.faults} == {"'favicon.ico'", "'a.dds'"}


def test_why_folders_are_no_classes_is_said(tmp_path: Path) -> None:
    written.write(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "red.jpg").rename(tmp_path / "other" / "red.jpg")
    assert list(detect(tmp_path)) == ["images"]
    with pytest.raises(DataError, match="5 of them are not in a subfolder"):
        build(tmp_path)


def test_a_bare_folder_is_checked(tmp_path: Path) -> None:
    written.write(tmp_path / "data")
    (tmp_path / "data" / "bad.png").write_bytes(b"x")
    report = api.check_data(tmp_path / "data", out=tmp_path / "check", workers=1)
    assert (report.rows, report.pictures, report.good_rows) == (9, 9, 8)
    assert not report.may_train
    assert report.is_sound
    assert report.verdict() == "Nothing to train on; a model can be asked about 8 of 9 rows."
