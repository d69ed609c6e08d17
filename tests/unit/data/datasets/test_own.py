"""A folder of pictures and rows becomes records, grouped by picture and split as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightweave.core.config import build
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Medium
from sightweave.data.datasets import own
from sightweave.data.reading.dataset import task_of
from sightweave.data.reading.detect import detect
from sightweave.data.tasks import captioning, image_translation, reading


def picture(folder: Path, name: str, shade: int = 0) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (shade % 256, shade // 256, 7)).save(folder / name)
    return name


def write(folder: Path, rows: list[object], name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def train(path: Path, **options: object) -> own.Own:
    return own.Config(path=str(path), **options).build(split="train")


def test_one_row_gives_all_its_records(tmp_path: Path) -> None:
    row = {
        "image": picture(tmp_path, "sub/\u72d7 1.png"),
        "id": 7,
        "caption": "A dog.",
        "captions": ["A dog.", "One dog."],
        "question": "What is it?",
        "answers": ["a dog", "dog"],
        "options": ["a dog", "a cat"],
        "source": "a bat",
        "target": "ein Schl\u00e4ger",
        "source_language": "en",
        "target_language": "de",
        "type": "what",
        "tags": {"level": "easy"},
        "split": "train",
    }
    write(tmp_path, [row])
    (records,) = train(tmp_path)
    caption, question, translated = records
    assert [task_of(record) for record in records] == ["captioning", "vqa", "translation"]
    assert [record.id for record in records] == ["7#captioning", "7#vqa", "7#translation"]
    assert caption.captions == ("A dog.", "One dog.")
    assert (question.question, question.answers, question.options) == (
        "What is it?", ("a dog", "dog"), ("a dog", "a cat")
    )  # fmt: skip
    assert (translated.source, translated.targets) == ("a bat", ("ein Schl\u00e4ger",))
    assert (translated.source_language, translated.target_language) == ("en", "de")
    for record in records:
        assert record.images[0].key == record.group == "sub/\u72d7 1.png"
        assert record.tags == {"level": "easy", "type": "what"}
    assert {"A dog.", "What is it?", "a cat", "a bat", "ein Schl\u00e4ger"} <= set(train(tmp_path).texts())


@pytest.mark.parametrize("steps", [{"rationale": "One and two."}, {"steps": ["One", "and two."]}])
def test_steps_make_it_reasoning(tmp_path: Path, steps: dict[str, object]) -> None:
    write(tmp_path, [{"image": picture(tmp_path, "a.png"), "question": "How many?", "answer": "3", **steps}])
    ((record,),) = train(tmp_path)
    assert task_of(record) == "reasoning"
    assert record.rationale == "One and two."


def test_rows_are_grouped_by_picture_in_order(tmp_path: Path) -> None:
    names = [picture(tmp_path, f"{i}.png", i) for i in (2, 1, 3)]
    rows = [{"image": n, "caption": f"{n} {k}", "split": "train"} for k in range(2) for n in names]
    write(tmp_path, rows)
    dataset = train(tmp_path)
    assert len(dataset) == 3
    assert [[r.captions[0] for r in records] for records in dataset] == [[f"{n} 0", f"{n} 1"] for n in names]
    assert dataset[0][0].images[0].key == "2.png"
    assert dataset[0][0].id == "data:1"


def test_splits_are_respected_and_a_picture_may_be_in_both(tmp_path: Path) -> None:
    a, b = picture(tmp_path, "a.png"), picture(tmp_path, "b.png", 1)
    rows = [
        {"image": a, "caption": "1", "split": "Training"},
        {"image": a, "caption": "2", "split": "test"},
        {"image": b, "caption": "3"},
    ]
    write(tmp_path, rows)
    config = own.Config(path=str(tmp_path))
    assert config.splits == ("train", "validation", "test")
    kept = {
        split: [[r.captions[0] for r in rs] for rs in config.build(split=split)] for split in config.splits
    }
    assert kept == {"train": [["1"], ["3"]], "validation": [], "test": [["2"]]}
    assert any("1 rows without a split are used for training" in note for note in train(tmp_path).notes)


def test_validation_rows_are_a_split_of_their_own(tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    write(tmp_path, [{"image": name, "caption": s, "split": s} for s in ("train", "dev")])
    config = own.Config(path=str(tmp_path))
    assert [r.captions[0] for r in config.build(split="val")[0]] == ["dev"]
    assert [r.split for r in config.build(split="validation")[0]] == ["validation"]
    test = config.build(split="test")
    assert len(test) == 0
    assert "no records in split 'test'; found train (1), validation (1)" in " ".join(test.notes)


def test_all_rows_may_be_taken_for_one_split(tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    write(tmp_path, [{"image": name, "caption": s, "split": s} for s in ("train", "dev", "test")])
    config = own.Config(path=str(tmp_path), split="train")
    assert [r.captions[0] for r in config.build(split="train")[0]] == ["train", "dev", "test"]
    assert len(config.build(split="val")) == len(config.build(split="test")) == 0


def test_rows_with_several_pictures_and_with_none(tmp_path: Path) -> None:
    a, b = picture(tmp_path, "a.png"), picture(tmp_path, "b.png", 1)
    rows = [
        {"images": [a, b], "question": "the same?", "answer": "no", "split": "train"},
        {"images": [], "question": "two and two?", "answer": "four", "split": "train"},
        {"images": [], "caption": "of nothing", "split": "train"},
        {"images": [a], "image": b, "caption": "x", "split": "train"},
    ]
    write(tmp_path, rows)
    dataset = train(tmp_path)
    assert [[image.key for image in group[0].images] for group in dataset] == [["a.png", "b.png"], []]
    assert dataset[0][0].group == "a.png+b.png"
    assert [(fault.line, fault.code) for fault in dataset.faults] == [
        (3, "missing_field"),
        (4, "duplicate_field"),
    ]


def test_regions_and_all_references_are_kept(tmp_path: Path) -> None:
    row = {
        "image": picture(tmp_path, "a.png"),
        "question": "what?",
        "answer": "cat",
        "references": ["cat", "cat", "a cat"],
        "regions": [
            {"box": [0.1, -0.5, 0.5, 1.5], "words": ["cat"]},
            {"box": [0.5, 0.5, 0.5, 0.9], "words": ["no area"]},
        ],
        "split": "train",
    }
    write(tmp_path, [row, {**row, "regions": [{"box": [0, 0, 1], "words": ["x"]}]}])
    dataset = train(tmp_path)
    ((record,),) = dataset
    assert (record.answers, record.references) == (("cat",), ("cat", "cat", "a cat"))
    assert [(region.box, region.words) for region in record.regions] == [((0.1, 0.0, 0.5, 1.0), ("cat",))]
    assert [fault.field for fault in dataset.faults] == ["regions[0]"]


def test_turns_with_pictures_between_the_words(tmp_path: Path) -> None:
    a, b = picture(tmp_path, "a.png"), picture(tmp_path, "b.png", 1)
    turns = [
        {"role": "user", "content": [0, "and", 1, "differ in"]},
        {"role": "assistant", "content": "colour"},
        {"role": "user", "content": "and in?"},
        {"role": "assistant", "content": "nothing"},
    ]
    bad = [
        ("image_marks", {"images": [a], "turns": turns}),
        ("image_marks", {"images": [a, b], "turns": turns[2:]}),
        ("turn_order", {"images": [], "turns": turns[2:3] + turns[3:] + turns[2:3]}),
        ("bad_role", {"images": [], "turns": [{"role": "usr", "content": "x"}]}),
        ("empty_field", {"images": [], "turns": [turns[2], {"role": "assistant", "content": " "}]}),
        ("missing_field", {"images": [], "turns": turns[2:3]}),
        ("wrong_type", {"images": [], "turns": "x"}),
    ]
    rows = [{"images": [a, b], "turns": turns, "split": "train"}, *({"split": "train"} | r for _, r in bad)]
    write(tmp_path, rows)
    dataset = train(tmp_path, max_bad=1.0)
    ((record,),) = dataset
    assert [turn.content for turn in record.turns] == [
        (0, "and", 1, "differ in"), ("colour",), ("and in?",), ("nothing",)
    ]  # fmt: skip
    assert [fault.code for fault in dataset.faults] == [code for code, _ in bad]


def test_filters_by_task_language_and_rating(tmp_path: Path) -> None:
    image = picture(tmp_path, "a.png")
    said = {"source": "a", "target": "b", "source_language": "en"}
    rows = [
        {"image": image, "caption": "1", "score": 0.9},
        {"image": image, "caption": "2", "score": 0.1},
        {"image": image, "caption": "3"},
        {"image": image, "question": "q", "answer": "a", "score": 1},
        {"image": image, **said, "target_language": "de", "score": 1},
        {"image": image, **said, "target_language": "fr", "score": 1},
    ]
    write(tmp_path, [{**row, "split": "train"} for row in rows])

    def kinds(**options: object) -> list[str]:
        return [task_of(record) for record in train(tmp_path, **options)[0]]

    assert kinds(tasks=("vqa",)) == ["vqa"]
    assert kinds(tasks=("translation",), languages=("en-fr",)) == ["translation"]
    assert kinds(languages=("en", "de")) == ["captioning"] * 3 + ["vqa", "translation"]
    assert kinds(min_quality={"score": 0.5}) == ["captioning", "vqa", "translation", "translation"]
    assert "3 of 6 rows were filtered out" not in train(tmp_path).notes
    assert any(
        "2 of 6 rows were filtered out" in n for n in train(tmp_path, min_quality={"score": 0.5}).notes
    )
    with pytest.raises(DataError, match="min_quality refers to 'scor', but no row has this column"):
        train(tmp_path, min_quality={"scor": 0.5})


def test_a_limit_is_drawn_over_the_whole_split(tmp_path: Path) -> None:
    names = [picture(tmp_path, f"{i}.png", i) for i in range(60)]
    rows = [{"image": name, "caption": f"{name} {turn}", "split": "train"} for turn in "ab" for name in names]
    write(tmp_path, rows)
    few, more = (train(tmp_path, limit=limit) for limit in (20, 30))
    kept = [group[0].images[0].key for group in few]
    assert [[record.captions[0] for record in group] for group in few] == [[f"{x} a", f"{x} b"] for x in kept]
    assert len(kept) == 20
    assert sum(names.index(name) >= 30 for name in kept) >= 5  # not the first ones
    assert set(kept) < {group[0].images[0].key for group in more}
    assert any("20 of 60 images of split 'train' (limit), sampled" in note for note in few.notes)

    write(tmp_path, rows[::-1])  # the order of the rows has no part in it
    assert {group[0].images[0].key for group in train(tmp_path, limit=20)} == set(kept)
    assert len(train(tmp_path, limit=60)) == len(train(tmp_path, limit=1000)) == 60


def test_without_splits_the_same_share_is_held_out_for_validation(tmp_path: Path) -> None:
    write(tmp_path, [{"image": picture(tmp_path, f"{i}.png", i), "caption": str(i)} for i in range(200)])

    def parts(**options: Any) -> dict[str, set[str]]:
        config = own.Config(path=str(tmp_path), **options)
        return {split: {g[0].images[0].key for g in config.build(split=split)} for split in config.splits}

    default, more, none = parts(), parts(validation=0.3), parts(validation=0.0)
    for found in (default, more, none):
        assert sum(map(len, found.values())) == 200
        assert found["test"] == default["test"]  # the share of one leaves the other alone
    assert 8 <= len(default["validation"]) <= 35
    assert default["validation"] < more["validation"]
    assert 40 <= len(more["validation"]) <= 80
    assert not none["validation"]
    assert not parts(held_out=0.0)["validation"]
    assert parts(held_out=0.0, validation=0.3)["validation"]
    counted = f"({len(default['test'])} for test and {len(default['validation'])} for validation)"
    assert any(counted in note for note in train(tmp_path).notes)


def test_where_splits_are_named_validation_is_cut_out_of_training_only_if_asked(tmp_path: Path) -> None:
    names = [picture(tmp_path, f"{i}.png", i) for i in range(100)]
    rows = [{"image": name, "caption": "x", "split": "train"} for name in names[:80]]
    rows += [{"image": name, "caption": "x", "split": "test"} for name in names[80:]]
    write(tmp_path, rows)

    def sizes(**options: Any) -> list[int]:
        config = own.Config(path=str(tmp_path), **options)
        return [len(config.build(split=split)) for split in ("train", "val", "test")]

    assert sizes() == [80, 0, 20]
    left, cut, test = sizes(validation=0.25)
    assert (left + cut, test) == (80, 20)
    assert 8 <= cut <= 32
    rows[0]["split"] = "valid"
    write(tmp_path, rows)
    assert sizes(validation=0.25) == [79, 1, 20]  # there is one by now
    with pytest.raises(RecipeError, match=r"held_out 0.5 and validation 0.5 leave nothing to train on"):
        build(own.Config, {"path": str(tmp_path), "held_out": 0.5, "validation": 0.5})


def test_without_splits_a_tenth_is_held_out_by_the_pictures_bytes(tmp_path: Path) -> None:
    rows = [{"image": picture(tmp_path, f"{i}.png", i), "caption": str(i)} for i in range(200)]
    write(tmp_path, rows)
    config = own.Config(path=str(tmp_path))
    kept = {split: {rs[0].images[0].key for rs in config.build(split=split)} for split in config.splits}
    assert len(set.union(*kept.values())) == sum(map(len, kept.values())) == 200
    assert 8 <= len(kept["test"]) <= 35
    held_out = len(kept["test"]) + len(kept["validation"])
    note = f"no row has a split, so {held_out} of 200 images are held out"
    assert any(note in said for said in train(tmp_path).notes)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for i in range(200):  # other names, other order, the same bytes
        (tmp_path / f"{i}.png").rename(renamed / f"x{i}.png")
    write(renamed, [{"image": f"x{i}.png", "caption": str(i)} for i in reversed(range(200))])
    again = {rs[0].images[0].key for rs in own.Config(path=str(renamed)).build(split="test")}
    assert again == {f"x{name}" for name in kept["test"]}
    assert len(train(renamed, held_out=0.0)) == 200


def test_of_a_few_pictures_one_is_held_out(tmp_path: Path) -> None:
    write(tmp_path, [{"image": picture(tmp_path, f"{i}.png", i), "caption": "x"} for i in range(3)])
    assert len(own.Config(path=str(tmp_path)).build(split="test")) == 1
    assert len(train(tmp_path)) == 2


def test_a_single_row_trains(tmp_path: Path) -> None:
    write(tmp_path, [{"image": picture(tmp_path, "a.png"), "caption": "x"}])
    assert len(train(tmp_path)) == 1
    test = own.Config(path=str(tmp_path)).build(split="test")
    assert len(test) == 0
    assert "no records in split 'test'; found train (1)" in " ".join(test.notes)


def test_csv(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    text = (
        'image,caption,answers,question\r\na.png,"one, \nand two",,\r\n\r\na.png,,"[""x"", ""y""]",which?\r\n'
    )
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (caption, question), *_ = train(tmp_path)
    assert caption.captions == ("one, \nand two",)
    assert question.answers == ("x", "y")
    assert question.id == "rows:5"


def test_the_file_itself_and_another_image_root(tmp_path: Path) -> None:
    picture(tmp_path / "pictures", "a.png")
    path = write(tmp_path, [{"image": "a.png", "caption": "x"}], "rows.jsonl")
    assert len(train(path, image_root=str(tmp_path / "pictures"))) == 1
    with pytest.raises(DataError, match=r"image_root '.*none': folder not found"):
        train(path, image_root=str(tmp_path / "none"))


def test_questions_without_answers_where_asked_for(tmp_path: Path) -> None:
    name = picture(tmp_path, "a.png")
    write(
        tmp_path, [{"image": name, "question": "what?"}, {"image": name}, {"image": name, "prompt": "Say."}]
    )
    (records,) = train(tmp_path, labelled=False)
    assert [task_of(r) for r in records] == ["vqa", "captioning", "captioning"]
    assert records[0].answers == ()
    assert records[2].prompt == "Say."
    with pytest.raises(DataError, match="all 3 rows are bad"):
        train(tmp_path)


def test_columns_that_are_not_read_are_said(tmp_path: Path) -> None:
    write(
        tmp_path, [{"image": picture(tmp_path, "a.png"), "caption": "x", "question_id": 3, "licence": "CC0"}]
    )
    assert "columns not read: question_id, licence" in " ".join(train(tmp_path).notes)


def test_decomposed_file_names_are_found(tmp_path: Path) -> None:
    picture(tmp_path, "e\u0301t\u00e9.png")
    picture(tmp_path, "u\u0308ber.png", 1)
    write(tmp_path, [{"image": "\u00fcber.png", "caption": "x", "split": "train"}])
    assert len(train(tmp_path)) == 1


def test_python_records() -> None:
    array = np.zeros((8, 9, 3), np.uint8)
    rows = [
        {"image": array, "caption": "black"},
        {"image": array.copy(), "question": "colour?", "answer": "black"},
        {"image": Image.new("RGB", (5, 5), "red"), "caption": "red"},
    ]
    dataset = own.from_records(rows, held_out=0.0)
    assert [len(records) for records in dataset] == [2, 1]
    assert dataset[0][0].images[0].key == dataset[0][1].images[0].key
    assert len(own.from_records(rows, split="test")) == 1


def test_python_records_by_path_and_as_task_records(tmp_path: Path) -> None:
    path = tmp_path / picture(tmp_path, "a.png")
    medium = Medium(source=path, key="mine")
    record = captioning.Record(id="1", images=(medium,), captions=("x",), split="test")
    dataset = own.from_records([{"image": str(path), "caption": "y", "split": "train"}, record])
    assert len(dataset) == 1
    assert own.from_records([{"image": path, "caption": "y"}, record], split="test")[0] == (record,)


def test_python_records_that_are_wrong() -> None:
    with pytest.raises(DataError, match=r"expected a list of dicts or records \(got dict\)"):
        own.from_records({"image": "a.png"})
    with pytest.raises(DataError, match=r"records:1: a record must be a dict or a task's Record \(got 3\)"):
        own.from_records([{"image": np.zeros((4, 4, 3), np.uint8), "caption": "x"}, 3], strict=True)
    with pytest.raises(
        DataError, match="must be a path, a data URL, base64, bytes, an array or a Pillow image"
    ):
        own.from_records([{"image": {"a": 1}, "caption": "x"}], strict=True)
    with pytest.raises(DataError, match="floats must be in 0 to 1; scale them, or pass uint8"):
        own.from_records([{"image": np.full((4, 4, 3), 9.0), "caption": "x"}], strict=True)


def test_config_is_checked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="held_outt"):
        build(own.Config, {"path": str(tmp_path), "held_outt": 0.2})
    write(tmp_path, [{"image": picture(tmp_path, "a.png"), "caption": "x"}])
    with pytest.raises(RecipeError, match=r"held_out: .* less than 1 \(got 1.5\)"):
        build(own.Config, {"path": str(tmp_path), "held_out": 1.5})


def test_json_lines_may_be_named_json(tmp_path: Path) -> None:
    rows = [{"image": picture(tmp_path, f"{n}.png"), "caption": f"Number {n}."} for n in range(3)]
    (tmp_path / "rows.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert list(detect(tmp_path)) == list(detect(tmp_path / "rows.json")) == ["own"]
    assert len(train(tmp_path, held_out=0, validation=0)) == 3


def test_a_column_that_looks_like_pictures_is_named(tmp_path: Path) -> None:
    picture(tmp_path, "a.png")
    rows: list[object] = [
        {"image": "a.png", "caption": "Good."},
        {"img": "a.png", "caption": "Named img."},
        {"images": [], "question": "Which?", "answer": "Red.", "photo": "a.png"},
        {"images": [], "question": "<image>Which?", "answer": "Red."},
        {"image": "a.png", "caption": "Good too."},
        {"image": "a.png", "caption": "And this."},
    ]
    write(tmp_path, rows)
    faults = train(tmp_path, held_out=0, validation=0).faults
    assert [fault.code for fault in faults] == ["missing_field", "unread_image", "image_marks"]
    assert faults[0].message.endswith(
        "The row has: img, caption. 'img' looks like images but is not read: put image paths in 'images' (or 'image')."
    )
    assert "'photo' looks like images" in faults[1].message


def test_a_table_of_a_spreadsheet_that_writes_semicolons(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    text = '\ufeffimage;question;answer\r\na.png;"How much; roughly?";1,5\r\n'
    (tmp_path / "data.csv").write_bytes(text.encode())
    ((record,),) = own.from_folder(tmp_path, held_out=0.0)
    assert (record.question, record.answers) == ("How much; roughly?", ("1,5",))


def test_pairs_of_pictures_with_words_in_two_languages(tmp_path: Path) -> None:
    row = {
        "image": picture(tmp_path, "en.png", 10),
        "target_image": picture(tmp_path, "de.png", 20),
        "task": "image_translation",
        "signs": ["[100 100 500 300] bat => Schl\u00e4ger"],
        "source_language": "en",
        "target_language": "de",
    }
    path = write(tmp_path, [row])
    assert list(detect(path)) == ["own"]
    ((record,),) = train(path)
    assert isinstance(record, image_translation.Record)
    assert [Path(str(one.source)).name for one in record.images] == ["en.png"]
    assert record.target_image is not None
    assert Path(str(record.target_image.source)).name == "de.png"
    assert image_translation.Config().build().sample(record).target == row["signs"][0]


def test_signs_can_be_read_without_a_target_picture(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    rows = [{"image": image, "task": "reading", "signs": ["[0 0 500 500] Exit"], "with_places": True}]
    ((record,),) = own.from_records(rows, strict=True)
    assert isinstance(record, reading.Record)
    assert (record.signs, record.with_places) == (("[0 0 500 500] Exit",), True)


def test_a_target_picture_that_is_missing_is_reported(tmp_path: Path) -> None:
    row = {
        "image": picture(tmp_path, "en.png"),
        "target_image": "gone.png",
        "task": "image_translation",
        "signs": ["[0 0 500 500] Exit => Ausgang"],
        "target_language": "de",
    }
    with pytest.raises(DataError, match=r"gone\.png"):
        train(write(tmp_path, [row]), strict=True)


def test_a_target_picture_does_not_change_the_other_tasks(tmp_path: Path) -> None:
    rows = [
        {"image": picture(tmp_path, "a.png"), "target_image": picture(tmp_path, "b.png"), "caption": "one"}
    ]
    ((record,),) = train(write(tmp_path, rows))
    assert isinstance(record, captioning.Record)
    assert len(record.images) == 1
