"""CoMMuTE is read with the translation that fits the picture and the one that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_sets import commute as written

from sightweave.core.errors import DataError
from sightweave.data.datasets import commute
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import Record, task_of
from sightweave.data.reading.detect import detect


def read(path: Path, split: str = "test", **options: object) -> list[Record]:
    dataset = commute.Config(path=str(path), **options).build(split=split)
    assert not dataset.faults
    return [record for group in dataset for record in group]


def test_each_picture_asks_for_its_own_translation(tmp_path: Path) -> None:
    found = {record.id: record for record in read(written.write(tmp_path))}
    assert set(found) == {"en-de/1", "en-de/2", "en-fr/1", "en-fr/2", "en-fr/3", "en-fr/4"}
    bank, rive = found["en-fr/1"], found["en-fr/2"]
    assert task_of(bank) == "translation"
    assert bank.source == rive.source == "He made it to the bank."
    assert bank.targets == ("Il va \u00e0 la banque.",)
    assert bank.tags == {"type": "ambiguous", "contrast": "Il va \u00e0 la rive."}
    assert rive.targets == (bank.tags["contrast"],)
    assert rive.tags["contrast"] == bank.targets[0]
    assert (bank.source_language, bank.target_language) == ("en", "fr")
    assert (bank.images[0].key, rive.images[0].key) == ("images/gray.jpeg", "images/green.jpeg")
    assert image_files.load(rive.images[0])[2, 2, 1] > 100


def test_the_dev_folder_is_for_validation_and_nothing_is_for_training(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    dev = read(path, "val")
    assert [record.id for record in dev] == ["en-fr_dev/1", "en-fr_dev/2"]
    assert {record.target_language for record in dev} == {"fr"}
    with pytest.raises(DataError, match=r"no rows|no records in split 'train'"):
        read(path, "train")


def test_pairs_may_be_chosen_by_language_folder_or_file(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert {record.id for record in read(path, languages=("en-de",))} == {"en-de/1", "en-de/2"}
    for inner in ("en-de", "en-de/img.order", "en-de/correct.de"):
        assert {record.id for record in read(path / inner)} == {"en-de/1", "en-de/2"}, inner


def test_it_is_recognised(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert detect(path)["commute"] == "right and wrong translations in en-de, en-fr, en-fr_dev"
    assert detect(path / "en-de") == {"commute": "right and wrong translations in en-de"}
    assert list(detect(path / "en-fr/src.en")) == ["commute"]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "en-de/incorrect.de").write_text("Das ist eine Fledermaus.\n")
    with pytest.raises(DataError, match=r"incorrect\.de: 1 lines, but 2 in .*src\.en"):
        read(path)
    (path / "en-de/src.en").unlink()
    with pytest.raises(DataError, match=r"src\.en: cannot be opened"):
        read(path)
    with pytest.raises(DataError, match=r"no folder such as en-fr with src\.en"):
        read(path / "images")


def test_bad_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "en-fr/incorrect.fr").write_text("a\n\nc\nd\n")
    (path / "en-fr/img.order").write_text("gray.jpeg\ngreen.jpeg\n../../gray.jpeg\nnone.jpeg\n")
    dataset = commute.Config(path=str(path / "en-fr"), max_bad=1.0).build(split="test")
    assert [record.id for group in dataset for record in group] == ["en-fr/1"]
    assert [(Path(f.file).name, f.line, f.code, f.field) for f in dataset.faults] == [
        ("correct.fr", 2, "empty_field", "tags.contrast"),
        ("correct.fr", 3, "image_path", "image"),
        ("correct.fr", 4, "image_missing", "image"),
    ]
