"""A path is enough: one format is named, several are told, none is the user's own."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from data_sets import clevr, coco, images, llava

from sightweave import api
from sightweave.core.errors import DataError, RecipeError
from sightweave.data.reading.detect import detect, kind_of_path


def test_one_format_is_named(tmp_path: Path) -> None:
    path = coco.write(tmp_path / "data")
    (reason,) = detect(path).values()
    assert "captions_" in reason
    assert kind_of_path(path) == "coco"
    assert (
        api.source(str(path))
        == api.source({"path": str(path)})
        == api.source({"kind": "coco", "path": str(path)})
    )


def test_several_formats_are_told_with_what_to_write(tmp_path: Path) -> None:
    coco.write(tmp_path / "a")
    clevr.write(tmp_path / "b")
    with pytest.raises(
        DataError, match=r"several formats found: clevr \(.*\); coco \(.*\)\. Choose one, such as"
    ):
        kind_of_path(tmp_path)
    with pytest.raises(RecipeError, match="several formats found"):
        api.source(str(tmp_path))
    assert type(api.source({"kind": "coco", "path": str(tmp_path)})).__module__.endswith("coco")


def test_pictures_alone_are_named_only_where_nothing_else_is(tmp_path: Path) -> None:
    path = images.write(tmp_path / "data")
    assert list(detect(path)) == ["images"]
    llava.write(path / "more")
    assert list(detect(path)) == ["llava"]


def test_what_is_not_there_or_not_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": file or folder not found\."):
        detect(tmp_path / "gone")
    assert detect(tmp_path) == {}
    assert kind_of_path(tmp_path / "gone") == kind_of_path(tmp_path) == "own"
    assert kind_of_path("shards/{00000..00012}.tar") == kind_of_path("a.tar::b.tar") == "webdataset"


def test_a_folder_may_be_called_like_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    llava.write(Path("coco"))
    found = api.source("coco")
    assert (type(found).__module__.rpartition(".")[2], found.path) == ("llava", "coco")
    assert type(api.source("scenes")).__module__.endswith("scenes")
    with pytest.raises(RecipeError, match=r"data\.0\.path: missing"):
        api.source({"kind": "gqa", "limit": 3})


def test_pictures_without_words_count_only_where_nothing_else_lies(tmp_path: Path) -> None:
    coco.write(tmp_path / "a")
    for split in ("train", "val"):
        (tmp_path / "a" / "annotations" / f"captions_{split}2017.json").unlink()
    assert list(detect(tmp_path)) == ["coco"]
    with tarfile.open(tmp_path / "train2017.tar", "w") as archive:
        archive.add(tmp_path / "a" / "train2017" / "000000001000.jpg", "1.jpg")
    assert sorted(detect(tmp_path)) == ["coco", "webdataset"]
    llava.write(tmp_path / "b")
    assert list(detect(tmp_path)) == ["llava"]
