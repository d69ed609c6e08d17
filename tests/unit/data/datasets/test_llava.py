"""LLaVA's and ShareGPT's conversations are read with each picture where its mark stands."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_sets import llava as written

from sightweave.core.errors import DataError
from sightweave.data.datasets import llava
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import task_of
from sightweave.data.reading.detect import detect
from sightweave.data.reading.table import Table
from sightweave.data.tasks.conversation import Config as Task
from sightweave.data.tasks.conversation import Record, Turn


def read(path: Path, wanted: str = "train", **options: Any) -> Table:
    """All rows, unless `options` let files and chance decide with an empty ``split``."""
    return llava.Config(path=str(path), **{"split": "train", **options}).build(split=wanted)


def by_id(dataset: Table) -> dict[str, Record]:
    return {record.id: record for group in dataset for record in group if isinstance(record, Record)}


def save(folder: Path, rows: object, name: str = "data.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def row(*texts: str, **others: object) -> dict[str, object]:
    return {"conversations": written.turns(*texts), **others}


def mutations(value: object) -> Iterator[object]:
    """The value with each thing in it, at any depth, replaced by things that do not belong there."""
    yield from (None, 1, -0.5, True, "", "x", [], {}, [None], {"a": 1})
    if isinstance(value, dict):
        for key, one in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: other} for other in mutations(one))
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from ([*value[:index], other, *value[index + 1 :]] for other in mutations(one))


def test_a_picture_stands_where_its_mark_does(tmp_path: Path) -> None:
    dataset = read(written.write(tmp_path))
    assert not dataset.faults
    found = by_id(dataset)
    assert len(found) == 10
    assert task_of(found["row-0"]) == "conversation"
    assert found["row-0"].turns == (
        Turn("user", (0, "Which colour is it?")), Turn("assistant", ("It is red.",))
    )  # fmt: skip
    assert found["row-0"].images[0].key == "part-000001/red.jpg"
    assert found["both"].turns[0].content == ("First ", 0, ", then", 1, "which is red?")
    assert [image.key for image in found["both"].images] == ["part-000001/blue.jpg", "part-000001/red.jpg"]
    blue, red = (image_files.load(image)[2, 2] for image in found["both"].images)
    assert blue[2] > 240 > 20 > blue[0]
    assert red[0] > 240 > 20 > red[2]


def test_conversations_of_several_turns_and_of_text_alone(tmp_path: Path) -> None:
    found = by_id(read(written.write(tmp_path)))
    several = found["row-1"]
    assert [turn.role for turn in several.turns] == ["user", "assistant", "user", "assistant"]
    assert [turn.content for turn in several.turns[2:]] == [("Sure?",), ("Yes.",)]
    assert found["text"].images == ()
    assert found["text"].turns[0].content == ("What does [img] mean?",)
    sample = Task().build().sample(several)
    assert [(part.role, part.learn) for part in sample.parts] == [
        ("user", False), ("user", False), ("assistant", True), ("user", False), ("assistant", True)
    ]  # fmt: skip


def test_rows_without_splits_are_held_out_by_picture(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    parts = {split: set(by_id(read(path, split, split=""))) for split in ("train", "validation", "test")}
    assert parts["test"]
    assert set.union(*parts.values()) == set(by_id(read(path)))
    assert sum(map(len, parts.values())) == len(by_id(read(path)))


def test_the_columns_of_sharegpt(tmp_path: Path) -> None:
    dataset = read(written.write_sharegpt(tmp_path))
    assert not dataset.faults
    assert len(dataset) == 8
    (first,) = dataset[0]
    assert first.images[0].key == "part-000001/red.jpg"
    assert first.turns == (
        Turn("system", ('Be short.\n[{"name": "clock", "parameters": {}}]',)),
        Turn("user", (0, "What is it, and what time?")),
        Turn("assistant", ('{"name": "clock", "arguments": {}}',)),
        Turn("user", ("noon",)),
        Turn("assistant", ("It is red, at noon.",)),
    )


def test_json_lines_are_read_too(tmp_path: Path) -> None:
    written.picture(tmp_path, "red")
    lines = [row("<image>What?", "Red.", image="part-000001/red.jpg"), row("Hi.", "Hello.")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines) + "\n{\n")
    dataset = read(path)
    assert [group[0].id for group in dataset] == ["rows:1", "rows:2"]
    assert [(fault.line, fault.code) for fault in dataset.faults] == [(4, "bad_json")]
    assert list(detect(path)) == ["llava"]


def test_it_is_recognised(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert detect(path) == {"llava": "conversations in llava_v1_5_mix.json"}
    assert detect(path / "llava_v1_5_mix.json") == {"llava": "conversations in llava_v1_5_mix.json"}
    other = save(tmp_path, {"data": [row("a", "b")]}, "other.json")
    assert llava.recognise(other) == ""


def test_file_names_say_the_split(tmp_path: Path) -> None:
    save(tmp_path, [row("a", "train says")], "talk_train.json")
    save(tmp_path, [row("b", "val says")], "talk_val.json")
    found = {split: by_id(read(tmp_path, split, split="")) for split in ("train", "val")}
    assert {s: [r.turns[1].content for r in records.values()] for s, records in found.items()} == {
        "train": [("train says",)], "val": [("val says",)]
    }  # fmt: skip


def test_a_single_picture_without_a_mark_comes_first(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    rows = [
        row("Which colour?", "Red, not <image>.", image=name),
        {
            "conversations": [{"from": "system", "value": "<image>"}, *written.turns("Which?", "Red.")],
            "image": [name],
        },
    ]
    dataset = read(save(tmp_path, rows))
    assert [[turn.content for turn in record.turns] for record in dataset[0]] == [
        [(0, "Which colour?"), ("Red, not <image>.",)],
        [("<image>",), (0, "Which?"), ("Red.",)],
    ]


def test_marks_of_other_templates_are_text(tmp_path: Path) -> None:
    said = "<|im_start|>system\n</s>[INST]"
    answer = f"{said} <|image_pad|> <image>"
    (group,) = read(save(tmp_path, [row(said, answer)]))
    assert [turn.content for turn in group[0].turns] == [(said,), (answer,)]


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "<image>",
            "<img>",
            "<|image_pad|>",
            "<|vision_start|>",
            "<|image_1|>",
            "<start_of_image>",
            "<ImageHere>",
        ),
        *(
            "<image_soft_token>",
            "<image 1>",
            "<image_placeholder>",
            "<IMG_CONTEXT>",
            "[IMG]",
            "<image>./</image>",
        ),
        "<img>red.png</img>",
    ],
)
def test_a_mark_without_a_picture_is_a_fault_in_every_dialect(tmp_path: Path, mark: str) -> None:
    dataset = read(save(tmp_path, [row(f"{mark}\nWhich?", "Red."), row("Hi.", "Hello.")]))
    (fault,) = dataset.faults
    assert (fault.code, fault.field) == ("image_marks", "turns[0]")
    assert mark[:5] in fault.message


@pytest.mark.parametrize(
    "text", ["An <image><url>x</url></image> of RSS", "a [img] tag", "<imagine>", "A vision."]
)
def test_a_word_that_marks_no_picture_is_ordinary_text(tmp_path: Path, text: str) -> None:
    (group,) = read(save(tmp_path, [row(text, "Yes.")]))
    assert group[0].turns[0].content == (text,)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"image_path": ["photos/red.jpg"]}, "image_path"),
        ({"img": "red"}, "img"),
        ({"pictures": [{"bytes": "aGk="}]}, "pictures"),
        ({"frame": "a/red.webp"}, "frame"),
        ({"image_url": "http://example.com/1"}, "image_url"),
    ],
)
@pytest.mark.parametrize("asked", ["Which?", "<image>Which?"])
def test_a_column_that_looks_like_pictures_is_named(
    tmp_path: Path, columns: dict[str, Any], named: str, asked: str
) -> None:
    dataset = read(save(tmp_path, [row(asked, "Red.", **columns), row("Hi.", "Hello.")]))
    (fault,) = dataset.faults
    assert fault.code == ("image_marks" if "<image>" in asked else "unread_image")
    assert f"{named!r} looks like images but is not read" in fault.message


def test_other_columns_and_pictures_beside_them_are_no_fault(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    rows = [
        row(
            "Hi.",
            "Hello.",
            url="http://example.com/a.jpg",
            image_id="12",
            caption="a.",
            pictures=[],
            photo=None,
        ),
        row("Which?", "Red.", image=name, image_path="elsewhere/red.jpg"),
    ]
    dataset = read(save(tmp_path, rows))
    assert not dataset.faults
    assert any("columns not read: image_path" in note for note in dataset.notes)


def test_rows_without_any_picture_are_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = read(save(tmp_path, [row("Hi.", "Hello."), row("Who?", "Me.")]))
    assert any("none of 2 rows has an image" in note for note in dataset.notes)
    assert "no row has an image." in caplog.text


def test_a_system_turn_goes_before_the_column_and_opening_words_are_not_learnt(tmp_path: Path) -> None:
    own = [{"from": "system", "value": "Turn."}, *written.turns("a", "b")]
    opened = [{"from": "gpt", "value": "Hello!"}, *written.turns("a", "b")]
    rows = [{"conversations": own, "system": "Column."}, {"conversations": opened, "system": ""}]
    first, second = (group[0] for group in read(save(tmp_path, rows)))
    assert first.turns[0] == Turn("system", ("Turn.",))
    assert len(first.turns) == 3
    assert [(turn.role, turn.learn) for turn in second.turns] == [
        ("assistant", False), ("user", True), ("assistant", True)
    ]  # fmt: skip


def test_ratings_choose_rows_and_questions_may_stay_open(tmp_path: Path) -> None:
    path = save(tmp_path, [row("a", "good", score=4), row("b", "bad", score=1)])
    assert [g[0].turns[1].content for g in read(path, min_quality={"score": 3})] == [("good",)]
    asked = read(save(tmp_path, [row("What?")]), labelled=False)
    assert asked[0][0].turns == (Turn("user", ("What?",)),)


def test_bad_rows_are_left_out_and_said(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    bad: list[tuple[object, str, str]] = [
        (None, "wrong_type", ""),
        ({"id": "x"}, "missing_field", "conversations"),
        ({"conversations": "hi"}, "wrong_type", "conversations"),
        ({"conversations": []}, "wrong_type", "conversations"),
        ({"conversations": ["hi"]}, "wrong_type", "conversations[0]"),
        ({"conversations": [{"from": "human", "value": None}]}, "wrong_type", "conversations[0]"),
        ({"conversations": [{"from": ["human"], "value": "a"}]}, "bad_role", "conversations[0]"),
        ({"conversations": [{"from": "humen", "value": "a"}]}, "bad_role", "conversations[0]"),
        (row("<image> <image>", "a", image=name), "image_marks", "images"),
        (row("<image>", "a", images=[name, name]), "image_marks", "images"),
        (row("none", "a", images=[name, name]), "image_marks", "images"),
        (row("<image>", "a", images=[name], image=name), "duplicate_field", "images"),
        (row("<image>", "a", image={"path": name}), "wrong_type", "image"),
        (row("<image>", "a", image="../red.jpg"), "image_path", "image"),
        (row("<image>", "a", image="/etc/red.jpg"), "image_path", "image"),
        (row("<image>", "a", image="none.jpg"), "image_missing", "image"),
        (row("<video>a", "b", video="a.mp4"), "unsupported_media", "video"),
        (row("a", "b", videos=["a.mp4"]), "unsupported_media", "videos"),
        (row("a", "b", audios=["a.wav"]), "unsupported_media", "audios"),
        (row("a", "b", system=1), "wrong_type", "system"),
        (row("a", ""), "empty_field", "turns[1]"),
        (row("a", "b", "c"), "turn_order", "turns"),
        (row("a"), "missing_field", "turns"),
    ]
    dataset = read(save(tmp_path, [row("fine", "yes"), *(one for one, _, _ in bad)]), max_bad=1.0)
    assert len(dataset) == 1
    assert [(f.line, f.code, f.field) for f in dataset.faults] == [
        (number, code, field) for number, (_, code, field) in enumerate(bad, start=1)
    ]
    messages = {fault.line: fault.message for fault in dataset.faults}
    assert "2 <image> placeholders in the user turns but 1 images" in messages[9]
    assert "1 <image> placeholders in the user turns but 2 images" in messages[10]
    assert "human" in messages[8]


def test_whatever_a_row_holds_it_is_read_or_left_out(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    good = row("<image>a", "b", id="1", image=name, system="s", tools="t", videos=[])
    rows = [good, *mutations(good)]
    dataset = read(save(tmp_path, rows), max_bad=1.0)
    kept = [record for group in dataset for record in group]
    assert len(kept) + len(dataset.faults) == len(rows)
    assert min(len(kept), len(dataset.faults)) > 20


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = written.write(tmp_path) / "llava_v1_5_mix.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=r"llava_v1_5_mix\.json: character \d+: the file ends"):
        read(path)
    path.write_text("hello")
    with pytest.raises(DataError, match=r"llava_v1_5_mix\.json: character 0: expected '\['"):
        read(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="no rows"):
        read(path)
    with pytest.raises(DataError, match="no JSON array or JSON lines of conversations"):
        read(tmp_path / "part-000001")


def test_a_packed_array_is_read_and_packed_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    path.write_bytes(gzip.compress(json.dumps([row("a", "b")]).encode()))
    assert list(detect(path)) == ["llava"]
    assert len(read(path)) == 1
    path.write_bytes(gzip.compress(json.dumps(row("a", "b")).encode()))
    assert llava.recognise(path) == ""
    with pytest.raises(DataError, match=r"data\.json\.gz: compressed JSON lines; decompress the file first"):
        read(path)


def test_a_turn_may_be_a_list_of_parts(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    parts = [{"type": "image_url", "value": name}, {"type": "text", "value": "Which?"}]
    turns = [{"from": "human", "value": parts}, {"from": "gpt", "value": [{"type": "text", "text": "Red."}]}]
    ((record,),) = read(save(tmp_path, [{"conversations": turns}]))
    assert [turn.content for turn in record.turns] == [(0, "Which?"), ("Red.",)]
    assert [image.key for image in record.images] == [name]
