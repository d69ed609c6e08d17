"""What names of files say about splits, and which files are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightweave.data.reading.file_names import among, files, json_files, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_train2017.json", "train"),
        ("captions_val2014.json", "validation"),
        ("v2_OpenEnded_mscoco_test-dev2015_questions.json", "test"),
        ("testdev_balanced_questions.json", "test"),
        ("hindi-visual-genome-dev.txt", "validation"),
        ("validation-00000-of-00003.parquet", "validation"),
        ("CLEVR_train_questions.json", "train"),
        ("instances_minival.json", "validation"),
        ("contest.json", ""),
        ("training_free.json", ""),
        ("devices.json", ""),
        ("data.json", ""),
    ],
)
def test_split_of_a_name(name: str, split: str) -> None:
    assert split_of(Path(name)) == split


def test_files_below_a_folder_but_not_too_deep_hidden_or_linked(tmp_path: Path) -> None:
    for name in (
        "a.json",
        "b.JSON.GZ",
        ".hidden.json",
        "x/c.json",
        "x/y/z/d.json",
        "x/y/z/w/e.json",
        "p.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    found = [path.relative_to(tmp_path).as_posix() for path in json_files(tmp_path)]
    assert found == ["a.json", "b.JSON.GZ", "x/c.json", "x/y/z/d.json"]
    assert json_files(tmp_path / "a.json") == [tmp_path / "a.json"]
    assert files(tmp_path / "p.png", ".json") == []
    assert files(tmp_path / "gone", ".json") == []


def test_a_few_names() -> None:
    assert among(["a", "b"]) == "a, b"
    assert among(list("abcde")) == "a, b, c and 2 more"
