"""Messages are read however they bring their pictures: by marks, by parts, by path, by bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_sets import messages as written

from sightweave.core.errors import DataError
from sightweave.data.datasets import messages
from sightweave.data.inputs import image_files
from sightweave.data.reading.detect import detect
from sightweave.data.reading.table import Table
from sightweave.data.tasks.conversation import Record, Turn


def read(path: Path, wanted: str = "train", **options: Any) -> Table:
    return messages.Config(path=str(path), **options).build(split=wanted)


def only(folder: Path, row: object) -> Record:
    dataset = read(written.write_lines(folder / "data.jsonl", [row]), split="train")
    assert not dataset.faults
    ((record,),) = dataset
    assert isinstance(record, Record)
    return record


def said(role: str, content: object, **others: object) -> dict[str, object]:
    return {"role": role, "content": content, **others}


def talk(content: object, answer: object = "Yes.", **others: object) -> dict[str, object]:
    return {"messages": [said("user", content), said("assistant", answer)], **others}


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


def test_typed_parts_and_marks_give_the_same_turns(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    train, val = read(path), read(path, "val")
    assert not train.faults
    assert not val.faults
    assert [group[0].id for group in train] == [f"train-{index}" for index in range(6)]
    assert train[0][0].turns == (
        Turn("system", ("Be short.",)), Turn("user", (0, "Which colour?")), Turn("assistant", ("It is red.",))
    )  # fmt: skip
    assert val[0][0].turns == (Turn("user", (0, "Which colour?")), Turn("assistant", ("It is yellow.",)))
    assert [group[0].images[0].key for group in val] == ["pictures/yellow.png", "pictures/purple.png"]
    assert image_files.load(train[2][0].images[0])[4, 4].tolist() == [0, 0, 255]


def test_it_is_recognised_in_all_its_forms(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert detect(path) == {"messages": "messages in train.jsonl, val.json"}
    assert list(detect(path / "val.json")) == ["messages"]
    for row in ({"prompt": "a", "completion": "b"}, {"query": "a", "response": "b", "images": []}):
        assert list(detect(written.write_lines(tmp_path / "one.jsonl", [row]))) == ["messages"]
    named = written.write_lines(tmp_path / "metadata.jsonl", [talk("a", file_name="1.jpg")])
    assert messages.recognise(named) == ""
    (tmp_path / "request.json").write_text(json.dumps({"model": "m", **talk("a")}, indent=1))
    assert messages.recognise(tmp_path / "request.json") == ""


def test_several_pictures_keep_the_order_in_which_they_stand(tmp_path: Path) -> None:
    red, blue = written.picture(tmp_path, "red"), written.picture(tmp_path, "blue")
    row = {
        "messages": [
            said("user", "Is <image>\nor <image> red?"),
            said("assistant", "The first, not <image>."),
            said(
                "user", [{"type": "text", "text": "And "}, {"type": "image"}, {"type": "text", "text": "?"}]
            ),
            said("assistant", "No."),
        ],
        "images": [red, {"path": blue}, blue],
    }
    record = only(tmp_path, row)
    assert [turn.content for turn in record.turns] == [
        ("Is ", 0, "or ", 1, " red?"), ("The first, not <image>.",), ("And ", 2, "?"), ("No.",)
    ]  # fmt: skip
    assert [image.key for image in record.images] == [red, blue, blue]


def test_pictures_come_as_bytes_in_four_ways(tmp_path: Path) -> None:
    text = base64.b64encode(written.encoded("green")).decode()
    ways: list[dict[str, object]] = [
        talk(
            [
                {"type": "image_url", "image_url": {"url": written.data_url("green")}},
                {"type": "text", "text": "?"},
            ]
        ),
        talk([{"type": "image", "image": written.data_url("green")}, {"type": "text", "text": "?"}]),
        talk("<image>?", images=[{"bytes": text, "path": None}]),
        talk("?", image=written.data_url("green")),
    ]
    dataset = read(written.write_lines(tmp_path / "data.jsonl", ways))
    assert not dataset.faults
    (group,) = dataset  # equal pictures are one
    assert [record.turns[0].content for record in group] == [(0, "?")] * 4
    assert {record.images[0].key for record in group} == {group[0].images[0].key}
    for record in group:
        assert image_files.load(record.images[0])[3, 3].tolist() == [0, 128, 0]


def test_a_part_may_bring_its_path(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    record = only(
        tmp_path, talk([{"type": "text", "text": "This:", "image": None}, {"type": "image", "image": name}])
    )
    assert record.turns[0].content == ("This:", 0)
    assert record.images[0].key == name
    untyped = only(tmp_path, talk([{"image": name}, {"text": "What?"}, "Well?"]))
    assert untyped.turns[0].content == (0, "What?", "Well?")


def test_prompts_with_completions(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    texts = only(tmp_path, {"prompt": "<image>What?", "completion": "Red.", "images": [name]})
    assert texts.turns == (Turn("user", (0, "What?")), Turn("assistant", ("Red.",)))
    parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    row = {"prompt": [said("user", parts)], "completion": [said("assistant", "Red.")], "images": [name]}
    assert only(tmp_path, row).turns == texts.turns


def test_queries_with_history(tmp_path: Path) -> None:
    row = {
        "system": "Be short.",
        "history": [["<image>Which?", "Red."], ["Sure?", "Yes."]],
        "query": "And <image>?",
        "response": "Blue.",
        "images": [written.picture(tmp_path, "red"), written.picture(tmp_path, "blue")],
    }
    assert [(turn.role, turn.content) for turn in only(tmp_path, row).turns] == [
        ("system", ("Be short.",)),
        ("user", (0, "Which?")),
        ("assistant", ("Red.",)),
        ("user", ("Sure?",)),
        ("assistant", ("Yes.",)),
        ("user", ("And ", 1, "?")),
        ("assistant", ("Blue.",)),
    ]


def test_roles_losses_and_other_templates_marks(tmp_path: Path) -> None:
    row = {
        "messages": [
            said("developer", "Be <|im_end|> short."),
            said("user", "Hi </s> [INST]"),
            said("assistant", "Draft.", loss=False),
            said("user", "Again"),
            said("assistant", "Final.", loss=True),
        ],
        "images": [],
    }
    assert only(tmp_path, row).turns == (
        Turn("system", ("Be <|im_end|> short.",)),
        Turn("user", ("Hi </s> [INST]",)),
        Turn("assistant", ("Draft.",), learn=False),
        Turn("user", ("Again",)),
        Turn("assistant", ("Final.",)),
    )


@pytest.mark.parametrize(
    "objects",
    [
        {"ref": ["a dog"], "bbox": [[10, 5, 30, 20]]},
        {"ref": ["a dog"], "bbox": [[10, 5, 30, 20]], "bbox_type": "real", "image_id": [0]},
        {"ref": ["a dog"], "bbox": [[0.25, 0.25, 0.75, 1.0]], "bbox_type": "norm1"},
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_objects_become_regions_and_words(tmp_path: Path, objects: dict[str, Any], inside: bool) -> None:
    image = written.data_url("red") if inside else written.picture(tmp_path, "red")  # 40 x 20 pixels
    record = only(tmp_path, talk("<image>Find <ref-object>.", "<bbox>", images=[image], objects=objects))
    assert record.turns == (Turn("user", (0, "Find a dog.")), Turn("assistant", ("[(250,250),(750,1000)]",)))
    (region,) = record.regions
    assert region.box == (0.25, 0.25, 0.75, 1.0)
    assert region.words == ("a dog",)


def test_objects_of_several_pictures_and_names(tmp_path: Path) -> None:
    images = [written.picture(tmp_path, colour) for colour in ("red", "blue")]
    objects = {"ref": ["cat", "dog"], "bbox": [[0, 0, 20, 20], [20, 10]], "image_id": [0, 1]}
    two = only(tmp_path, talk("<image><image>Where?", "<ref-object> <bbox>, <ref-object> <bbox>", images=images, objects=objects))  # fmt: skip  # noqa: E501
    assert two.turns[1].content == ("cat [(0,0),(500,1000)], dog [(500,500)]",)
    assert two.regions == ()  # a region does not say of which picture it is
    one_name = {"ref": ["cat"], "bbox": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]], "bbox_type": "norm1"}
    found = only(tmp_path, talk("?", images=images[:1], objects=one_name))
    assert [(region.box, region.words) for region in found.regions] == [
        ((0, 0, 0.5, 1), ("cat",)), ((0.5, 0, 1, 1), ("cat",))
    ]  # fmt: skip
    plain = only(tmp_path, talk("What is <bbox>?", "A mark.", images=images[:1]))
    assert plain.turns[0].content == (0, "What is <bbox>?")


def bad_rows(name: str) -> list[tuple[object, str, str]]:
    url = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA*A"}}
    box = {"ref": ["a"], "bbox": [[0, 0, 1, 1]]}
    return [
        ([], "wrong_type", ""),
        ({"text": "a"}, "missing_field", "messages"),
        ({"messages": "a"}, "wrong_type", "messages"),
        ({"messages": []}, "wrong_type", "messages"),
        ({"messages": [1]}, "wrong_type", "messages[0]"),
        ({"messages": [{"role": "user"}]}, "wrong_type", "messages[0]"),
        (talk(None), "wrong_type", "messages[0]"),
        (talk([1]), "wrong_type", "messages[0].content[0]"),
        (talk([{"type": "text"}]), "wrong_type", "messages[0].content[0]"),
        (talk([{"type": "picture"}]), "bad_part", "messages[0].content[0]"),
        (talk([{"type": "video", "video": "a.mp4"}]), "unsupported_media", "messages[0].content[0]"),
        (talk("a", [{"type": "image"}], images=[name]), "unsupported_media", "messages[1].content[0]"),
        (talk([{"type": "image"}]), "image_marks", "images"),
        (talk("<image>", images=[name, name]), "image_marks", "images"),
        (talk([url]), "image_url", "messages[0].content[0]"),
        (talk("<image>", images=["http://example.com/a.png"]), "image_url", "images"),
        (talk([broken]), "invalid_base64", "messages[0].content[0]"),
        (talk([{"type": "image_url", "image_url": None}]), "wrong_type", "messages[0].content[0]"),
        (talk("<image>", images=["data:image/png;base64,A"]), "invalid_base64", "images"),
        (talk("<image>", images=["data:image/png,abc"]), "invalid_base64", "images"),
        (talk("<image>", images=["data:image/png;base64,"]), "invalid_base64", "images"),
        (talk("<image>", images=[{"bytes": "\u00e9\u00e9\u00e9\u00e9"}]), "invalid_base64", "images"),
        (talk("<image>", images=[{"bytes": [1, 2]}]), "wrong_type", "images"),
        (talk("<image>", images=[{"bytes": None, "path": None}]), "wrong_type", "images"),
        (
            talk("<image>", images=["data:image/png;base64,aGVsbG8gaGVsbG8gaGVsbG8g"]),
            "image_unsupported_format",
            "image",
        ),
        (talk("<image>", images=["/etc/a.png"]), "image_path", "image"),
        ({"messages": [said("tool", "a")]}, "bad_role", "messages[0]"),
        (
            {"messages": [said("user", "a"), said("assistant", "", tool_calls=[{}])]},
            "bad_role",
            "messages[1]",
        ),
        ({"messages": [said("usr", "a")]}, "bad_role", "messages[0]"),
        ({"query": "a", "response": "b", "history": [["a"]]}, "wrong_type", "history"),
        ({"query": "a", "response": 5}, "wrong_type", "response"),
        ({"query": "a"}, "missing_field", "turns"),
        (talk("<video>a", videos=["a.mp4"]), "unsupported_media", "videos"),
        (talk("a", objects=[]), "wrong_type", "objects"),
        (talk("a", objects={"bbox": [[1, 2, 3]]}), "wrong_type", "objects.image_id"),
        (talk("a", images=[name], objects={"bbox": [[1, 2, 3]]}), "wrong_type", "objects.bbox"),
        (talk("a", images=[name], objects={"bbox": [[1, 2, 3, "4"]]}), "wrong_type", "objects.bbox"),
        (
            talk("a", images=[name], objects={**box, "bbox_type": "norm1000"}),
            "wrong_type",
            "objects.bbox_type",
        ),
        (talk("a", images=[name], objects={**box, "image_id": [1]}), "wrong_type", "objects.image_id"),
        (talk("<bbox><bbox>", images=[name], objects=box), "object_marks", "objects"),
        (talk("a", images=["none.png"], objects=box), "image_missing", "images"),
    ]


def test_bad_rows_are_left_out_and_said(tmp_path: Path) -> None:
    bad = bad_rows(written.picture(tmp_path, "red"))
    rows = [talk("fine"), *(one for one, _, _ in bad)]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    dataset = read(tmp_path / "data.json", split="train", max_bad=1.0)
    assert len(dataset) == 1
    assert [(f.line, f.code, f.field) for f in dataset.faults] == [
        (number, code, field) for number, (_, code, field) in enumerate(bad, start=1)
    ]
    assert all(Path(fault.file).name == "data.json" for fault in dataset.faults)
    by_code = {fault.code: fault.message for fault in dataset.faults}
    assert "is a URL, and URLs are not fetched" in next(
        f.message for f in dataset.faults if f.code == "image_url"
    )
    assert "at least 2 <bbox> placeholders in the turns but 1" in by_code["object_marks"]


def test_whatever_a_row_holds_it_is_read_or_left_out(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    parts = [{"type": "image"}, {"type": "text", "text": "a"}]
    objects = {"ref": ["a"], "bbox": [[0, 0, 1, 1]], "bbox_type": "real", "image_id": [0]}
    good = {"id": "1", **talk(parts, images=[{"bytes": None, "path": name}], objects=objects)}
    url = talk([{"type": "image_url", "image_url": {"url": written.data_url("red")}}])
    asked = {"system": "s", "history": [["a", "b"]], "query": "<image>", "response": "b", "image": name}
    pairs = {"prompt": [said("user", "a")], "completion": [said("assistant", "b", loss=True)]}
    rows = [one for row in (good, url, asked, pairs) for one in (row, *mutations(row))]
    dataset = read(written.write_lines(tmp_path / "data.jsonl", rows), split="train", max_bad=1.0)
    kept = [record for group in dataset for record in group]
    assert len(kept) + len(dataset.faults) == len(rows)
    assert min(len(kept), len(dataset.faults)) > 50


def test_an_array_that_is_cut_is_named(tmp_path: Path) -> None:
    path = written.write(tmp_path) / "val.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"val\.json: character \d+: the file ends"):
        read(path, "val")


def test_parts_with_a_value_are_read(tmp_path: Path) -> None:
    name = written.picture(tmp_path, "red")
    for kind in ("image", "image_url"):
        parts = [{"type": kind, "value": name}, {"type": "text", "value": "Which?"}]
        record = only(tmp_path, talk(parts))
        assert record.turns[0].content == (0, "Which?")
        assert [image.key for image in record.images] == [name]


def test_a_query_may_name_its_pictures_where_they_stand(tmp_path: Path) -> None:
    red, blue = written.picture(tmp_path, "red"), written.picture(tmp_path, "blue")
    row = {"query": f"Picture 1: <img>{red}</img>\nPicture 2:<img>{blue}</img>\nAlike?", "response": "No."}
    record = only(tmp_path, row)
    assert record.turns[0].content == (0, 1, "Alike?")
    assert [image.key for image in record.images] == [red, blue]

    history = [[f"<img>{red}</img>Which?", "Red, not <img>x</img>."]]
    record = only(tmp_path, {"query": "Sure?", "response": "Yes.", "history": history})
    assert [turn.content for turn in record.turns] == [
        (0, "Which?"), ("Red, not <img>x</img>.",), ("Sure?",), ("Yes.",)
    ]  # fmt: skip

    rows = [talk(f"<img>{red}</img>Which?"), {"query": "<img>gone.png</img>?", "response": "a"}]
    rows += [talk("Hi."), talk("Hello.")]
    dataset = read(written.write_lines(tmp_path / "data.jsonl", rows), split="train")
    assert [fault.code for fault in dataset.faults] == ["image_marks", "image_missing"]
