"""Multi30k is read in all its languages and parts, and refuses files that do not belong together."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from data_sets import multi30k as written

from sightweave.core.errors import DataError
from sightweave.data.datasets import multi30k
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import Record, task_of
from sightweave.data.reading.detect import detect


def read(path: Path, split: str = "train", **options: object) -> list[Record]:
    dataset = multi30k.Config(path=str(path), **options).build(split=split)
    assert not dataset.faults
    return [record for group in dataset for record in group]


def packed(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def test_a_sentence_becomes_one_translation_for_each_language(tmp_path: Path) -> None:
    found = read(written.write(tmp_path))
    assert len(found) == 6 * 3
    assert {task_of(record) for record in found} == {"translation"}
    first = [record for record in found if record.images[0].key.endswith("1000.jpg")]
    assert [record.id for record in first] == ["train/1/en-cs", "train/1/en-de", "train/1/en-fr"]
    assert {record.source for record in first} == {"A red square ."}
    assert [record.targets for record in first] == [
        ("\u010ctverec red .",), ("Ein Quadrat in red .",), ("Un carr\u00e9 red .",)
    ]  # fmt: skip
    assert {(record.source_language, record.target_language) for record in first} == {
        ("en", "cs"), ("en", "de"), ("en", "fr")
    }  # fmt: skip
    assert first[0].images[0].key == "flickr30k-images/1000.jpg"
    red, green, blue = image_files.load(first[0].images[0])[3, 3].tolist()
    assert red > 240
    assert max(green, blue) < 20


def test_parts_become_splits_and_tests_say_their_name(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert {record.split for record in read(path, "val")} == {"validation"}
    tests = read(path, "test")
    by_set = {name: [r for r in tests if r.tags["set"] == name] for name in written.COLOURS}
    assert {name: len(found) for name, found in by_set.items()} == {
        "train": 0, "val": 0, "test_2016_flickr": 6, "test_2017_mscoco": 2
    }  # fmt: skip
    # The list of COCO's pictures names a caption behind the picture.
    assert by_set["test_2017_mscoco"][0].images[0].key == "flickr30k-images/COCO_train2014_000000117071.jpg"


def test_languages_may_be_chosen_either_way(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    into_english = read(path, source_language="de", target_languages=("en",))
    assert [(r.source, r.targets) for r in into_english[:1]] == [
        ("Ein Quadrat in red .", ("A red square .",))
    ]
    czech = read(path, "test", target_languages=("cs",))
    assert {record.tags["set"] for record in czech} == {"test_2016_flickr"}
    with pytest.raises(DataError, match="target_languages has 'hu'; available are cs, de, en, fr"):
        read(path, target_languages=("hu",))
    with pytest.raises(DataError, match="train is not available in 'it', only in cs, de, en, fr"):
        read(path, source_language="it")


def test_a_test_without_translations_may_be_asked(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for file in (path / "data/task1/raw").glob("test_2017*.[df][er].gz"):
        file.unlink()
    asked = multi30k.Config(path=str(path), target_languages=("de",), labelled=False).build(split="train")
    found = [r for group in asked for r in group if r.tags["set"] == "test_2017_mscoco"]
    assert [(r.source, r.targets) for r in found] == [("A brown square .", ())]


def test_captions_of_task_2_are_kept_together(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    found = read(path, task2=True)
    assert len(found) == 6 * 2
    assert {task_of(record) for record in found} == {"captioning"}
    (german,) = (record for record in found if record.id == "train/2/de")
    assert german.captions == tuple(f"{number}: Ein Quadrat in green ." for number in range(1, 6))
    assert german.tags["language"] == "de"
    assert {r.id for r in read(path, "test", task2=True)} == {
        f"test_2016/{n}/{x}" for n in (1, 2) for x in ("de", "en")
    }
    assert len(read(path, task2=True, languages=("en",))) == 6
    alone = read(path / "data" / "task2", "val")
    assert {record.id for record in alone} == {f"val/{n}/{x}" for n in (1, 2) for x in ("de", "en")}


def test_the_path_may_be_any_folder_or_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written.write(tmp_path / "set")
    for inner in ("data", "data/task1", "data/task1/raw"):
        assert len(read(path / inner)) == 18, inner
    monkeypatch.chdir(path / "data/task1")
    assert len(read(Path("raw"))) == 18
    # A folder that is only called data is not the repository's: what lies beside it is not searched.
    assert multi30k.Config(path=str(path / "data/task1/tok/..")).pictures().root == path
    (tmp_path / "alone/data").mkdir(parents=True)
    shutil.copy(path / "data/task1/raw/train.en.gz", tmp_path / "alone/data")
    assert multi30k.Config(path=str(tmp_path / "alone/data")).pictures().root == tmp_path / "alone/data"
    one = path / "data/task1/raw/test_2016_flickr.de.gz"
    assert {record.tags["set"] for record in read(one, "test")} == {"test_2016_flickr"}
    raw = path / "data/task1/raw"
    for file in list(raw.iterdir()):
        (raw / file.name.removesuffix(".gz")).write_bytes(gzip.decompress(file.read_bytes()))
        if file.name.startswith("val"):
            file.unlink()
    assert len(read(path)) == 18  # packed and unpacked side by side are one
    assert len(read(path, "val")) == 6


def test_it_is_recognised(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    said = detect(path)
    assert list(said) == ["multi30k"]
    assert said["multi30k"].startswith("sentences in cs, de, en, fr of ")
    assert list(detect(path / "data/task1/raw/train.en.gz")) == ["multi30k"]
    assert "en, de" in detect(path / "data/task2").get("multi30k", "").replace("de, en", "en, de")
    shutil.rmtree(path / "data/task1/image_splits")
    assert multi30k.recognise(path / "data/task1") == ""


def test_files_that_differ_in_lines_are_refused_with_both_numbers(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    file = path / "data/task1/raw/train.de.gz"
    file.write_bytes(gzip.compress("\n".join(packed(file)[:-1]).encode()))
    with pytest.raises(DataError, match=r"train\.de\.gz: 5 lines, but 6 in .*train\.en\.gz"):
        read(path)
    names = path / "data/task1/image_splits/val.txt"
    names.write_text(names.read_text() + "9.jpg\n")
    with pytest.raises(DataError, match=r"val\.txt: 3 lines, but 2 in .*val\.en\.gz"):
        read(path, "val")


def test_a_line_holds_what_unicode_calls_an_end(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    file = path / "data/task1/raw/val.de.gz"
    file.write_bytes(gzip.compress("Ein\u2028Quadrat\x85 .\r\nEins .\r\n".encode()))
    found = read(path, "val", target_languages=("de",))
    assert [record.targets for record in found] == [("Ein\u2028Quadrat\x85 .",), ("Eins .",)]


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    raw = path / "data/task1/raw"
    whole = (raw / "train.fr.gz").read_bytes()
    (raw / "train.fr.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train\.fr\.gz: cannot be read"):
        read(path)
    (raw / "train.fr.gz").write_bytes(gzip.compress(b"un\nd\xe9ux\n"))
    with pytest.raises(DataError, match=r"train\.fr\.gz:2: not UTF-8: byte 0xe9 at byte 1"):
        read(path)
    (path / "data/task1/image_splits/train.txt").unlink()
    with pytest.raises(DataError, match="no image list for train; expected"):
        read(path)
    with pytest.raises(DataError, match=r"no files such as train\.en\.gz"):
        read(path / "flickr30k-images")


def test_bad_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    raw = path / "data/task1/raw"
    lines = packed(raw / "train.de.gz")
    lines[1] = ""
    (raw / "train.de.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (path / "flickr30k-images" / written.picture_name("train", 3)).unlink()
    dataset = multi30k.Config(path=str(path), target_languages=("de",)).build(split="train")
    assert len(dataset) == 4
    assert [(Path(f.file).name, f.line, f.code, f.field) for f in dataset.faults] == [
        ("train.de.gz", 2, "empty_field", "target"), ("train.de.gz", 4, "image_missing", "image")
    ]  # fmt: skip


def test_two_copies_of_one_part_are_refused(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    shutil.copytree(path / "data/task1", path / "data/copy")
    with pytest.raises(DataError, match=r"is in both .*copy/raw and .*task1/raw; give"):
        read(path)
