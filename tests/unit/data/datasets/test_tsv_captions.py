"""Tables of ``filepath`` and ``title``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_sets import tsv_captions as written
from data_sets._colours import COLOURS, picture

from sightweave.core.errors import DataError
from sightweave.data.datasets import tsv_captions
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return tsv_captions.Config(path=str(path), **options).build(split=which)


def table(folder: Path, text: str, name: str = "a.tsv") -> Path:
    (folder / "a.jpg").write_bytes(picture("red"))
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_captions_by_split(tmp_path: Path) -> None:
    written.write(tmp_path)
    names = list(COLOURS)
    for split, colours in (("train", names[:6]), ("val", names[6:])):
        records = [record for (record,) in build(tmp_path, split)]
        assert [record.captions for record in records] == [(f"All of it is {name}.",) for name in colours]
        assert [record.images[0].key for record in records] == [f"pictures/{name}.jpg" for name in colours]
        assert [record.id for record in records] == [f"{split}:{line + 2}" for line in range(len(colours))]


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {"tsv_captions": "filepath and title in train.tsv, val.tsv"}
    assert list(detect(tmp_path / "train.tsv")) == ["tsv_captions"]
    assert list(detect(table(tmp_path, "title,filepath\nRed.,a.jpg\n", "b.csv"))) == ["tsv_captions"]


def test_commas_further_columns_and_several_captions_of_a_picture(tmp_path: Path) -> None:
    text = 'id,title,filepath\n1,"Red, all of it.",a.jpg\n2,One red.,a.jpg\n'
    ((first, second),) = build(table(tmp_path, text, "a.csv"), split="train")
    assert (first.captions, second.captions) == (("Red, all of it.",), ("One red.",))


def test_absolute_paths_are_taken_below_the_root_alone(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    dataset = build(table(root, f"filepath\ttitle\n{root}/a.jpg\tRed.\n/etc/passwd\tNo.\n"), split="train")
    assert [record.images[0].key for (record,) in dataset] == ["a.jpg"]
    assert [(fault.line, fault.code) for fault in dataset.faults] == [(3, "image_path")]


def test_bad_rows_are_faults_with_their_line(tmp_path: Path) -> None:
    lines = ["filepath\ttitle", "a.jpg\tRed.", "a.jpg\t", "\tRed.", "a.jpg", "b.jpg\tBlue."]
    faults = build(table(tmp_path, "\n".join(lines) + "\n"), max_bad=1.0).faults
    assert [(fault.line, fault.code, fault.field) for fault in faults] == [
        (3, "missing_field", ""),
        (4, "missing_field", "image"),
        (5, "bad_csv", ""),
        (6, "image_missing", "image"),
    ]


def test_another_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r": no \.tsv or \.csv found with the columns filepath and title"):
        build(table(tmp_path, "path\tcaption\na.jpg\tRed.\n"))
