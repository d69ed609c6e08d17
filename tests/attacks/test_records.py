"""Wrong rows and hostile paths: each says file, line, field and value; nothing leaves the folder, nothing is lost."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Region
from sightweave.data.datasets import own
from sightweave.data.reading import row_files
from sightweave.data.tasks import vqa


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "data"
    inside.mkdir()
    for path in (inside / "a.png", tmp_path / "secret.png"):
        Image.new("RGB", (8, 8)).save(path)
    return inside


GOOD = {"image": "a.png", "caption": "x", "split": "train"}


def lines(folder: Path, *rows: object, name: str = "data.jsonl") -> Path:
    parts = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / name).write_bytes(b"\n".join(parts))
    return folder


def read(folder: Path, **options: object) -> own.Own:
    return own.Config(path=str(folder), **options).build(split="train")


WRONG = [
    ({"caption": "x"}, "missing_field", "image: missing"),
    ({"image": None, "caption": "x"}, "missing_field", "image: missing"),
    ({"image": "a.png"}, "missing_field", "nothing to train on"),
    ({"image": "a.png", "caption": None}, "missing_field", "nothing to train on"),
    ({"image": "a.png", "captoin": "x"}, "unknown_field", "captoin: unknown field. Did you mean 'caption'"),
    ({"imge": "a.png", "caption": "x"}, "unknown_field", "Did you mean 'image'"),
    (
        {"image": "a.png", "caption": {"a": 1}},
        "wrong_type",
        "caption: must be text or a list of texts (got {'a': 1})",
    ),
    ({"image": "a.png", "captions": ["x", None]}, "wrong_type", "captions: must be text (got None)"),
    ({"image": ["a.png"], "caption": "x"}, "wrong_type", "image: must be text"),
    ({"image": "a.png", "caption": " "}, "empty_field", "caption: is empty"),
    ({"image": "a.png", "captions": []}, "empty_field", "captions: is an empty list"),
    ({"image": "a.png", "question": "q"}, "missing_field", "answer: missing, although there is a question"),
    ({"image": "a.png", "answer": "q"}, "missing_field", "question: missing, although there is 'answer'"),
    ({"image": "a.png", "question": "q", "answer": ""}, "empty_field", "answer: is empty"),
    ({"image": "a.png", "source": "q", "target": "z"}, "missing_field", "source_language: missing"),
    ({"image": "a.png", "target": "q"}, "missing_field", "source: missing, although there is 'target'"),
    ({**GOOD, "split": "trian"}, "bad_split", "unknown split 'trian'. Did you mean 'train'"),
    ({**GOOD, "split": 3}, "wrong_type", "split: must be text"),
    ({**GOOD, "tags": "x"}, "wrong_type", "tags: must be a mapping"),
    ({**GOOD, "tags": {"a": [1]}}, "wrong_type", "tags.a: must be text"),
    *(
        ({**GOOD, "regions": one}, "wrong_type", "regions: must be a list of")
        for one in (5, True, "x", {"a": 1})
    ),
    *(
        ({**GOOD, "regions": [one]}, "wrong_type", "regions[0]: must have a box")
        for one in (5, None, "x", [1])
    ),
    (
        {**GOOD, "regions": [{"box": [0, 0, "a", 1]}]},
        "wrong_type",
        "regions[0]: a box must be left, top, right",
    ),
    ({**GOOD, "regions": [{"box": [0, 0, 1, 1], "words": [None]}]}, "wrong_type", "regions[0]: must be text"),
    ({"image": "a.png", "question": "q", "answer": "a", "references": {"a": 1}}, "wrong_type", "references"),
    ({"image": "a.png", "question": "q", "answer": "a", "references": [[]]}, "wrong_type", "references"),
    ({"image": "a.png", "question": "q", "answer": {}}, "wrong_type", "answer: must be text or a list"),
    ({**GOOD, "id": [1]}, "wrong_type", "id: must be text or a whole number"),
    ({**GOOD, "image": "none.png"}, "image_missing", "file not found"),
    ({**GOOD, "image": "."}, "image_not_a_file", "a folder"),
    (b'{"image": "a.png", "caption": "\\ud800"}', "bad_text", "unpaired surrogate"),
    (
        b'{"image": "a.png", "caption": "x", "caption": "y"}',
        "duplicate_field",
        "caption: given twice ('x' and 'y')",
    ),
    (b'{"image": "a.png", "caption": NaN}', "missing_field", "nothing to train on"),
    (b'{"image": NaN, "caption": "x"}', "missing_field", "image: missing"),
    (b'{"image": "a.png", "caption": "x",}', "bad_json", "not JSON"),
    (b'{"image": "a.png"', "bad_json", "not JSON"),
    (b"[" * 100_000, "bad_json", "nested too deep"),
    *(
        (
            b'{"image": "a.png", "caption": "x", "y": ' + b"[" * n + b"]" * n + b"}",
            "bad_json",
            "nested too deep",
        )
        for n in (70, 900, 990)
    ),
    (b'{"image": "a.png", "id": ' + b"9" * 5000 + b"}", "bad_json", "too many digits"),
    (b'"text"', "wrong_type", "a row must be a JSON object"),
    (b"3", "wrong_type", "a row must be a JSON object"),
    (
        b'{"image": "a.png", "caption": "caf\xe9"}',
        "bad_encoding",
        "not UTF-8: byte 0xe9 at byte 87 of the file",
    ),
]


@pytest.mark.parametrize(("row", "code", "words"), WRONG)
def test_a_wrong_row_is_written_down_with_its_reason(
    folder: Path, row: object, code: str, words: str
) -> None:
    quarantine = folder.parent / "quarantine.jsonl"
    lines(folder, GOOD, row, GOOD)
    dataset = read(folder, quarantine_path=str(quarantine))
    assert len(dataset[0]) == 2
    assert dataset.quarantined == {code: 1}
    (fault,) = dataset.faults
    assert str(fault).startswith(f"{folder / 'data.jsonl'}:2: ")
    assert words in str(fault)
    (written,) = [json.loads(line) for line in quarantine.read_text(encoding="utf-8").splitlines()]
    assert (written["line"], written["code"], written["field"]) == (2, code, fault.field)
    assert "1 of 3 rows skipped" in " ".join(dataset.notes)
    with pytest.raises(DataError, match=r"data\.jsonl:2: "):
        read(folder, strict=True)


QUESTION = {"image": "a.png", "question": "q", "answer": "a"}


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"answer": 5}, "answers", ("5",)),
        ({"answer": 5.0}, "answers", ("5",)),
        ({"answer": -2.5}, "answers", ("-2.5",)),
        ({"answer": True}, "answers", ("True",)),
        ({"answer": 0}, "answers", ("0",)),
        ({"answer": False}, "answers", ("False",)),
        ({"answer": None, "answers": [3, "three", 3]}, "answers", ("3", "three")),
        ({"references": "red"}, "references", ("red",)),
        ({"references": 5}, "references", ("5",)),
        ({"references": [1, 1, "", "one"]}, "references", ("1", "1", "one")),
        ({"references": []}, "references", ()),
        ({"options": [1, 2, True]}, "options", ("1", "2", "True")),
        ({"type": 3}, "tags", {"type": "3"}),
        ({"tags": {"level": 2}}, "tags", {"level": "2"}),
    ],
)
def test_numbers_and_truth_values_are_the_texts_that_say_them(
    folder: Path, given: dict[str, object], field: str, expected: object
) -> None:
    lines(folder, {**QUESTION, **given})
    assert getattr(read(folder)[0][0], field) == expected


def test_a_box_of_a_huge_number_ends_at_the_edge(folder: Path) -> None:
    lines(folder, {**GOOD, "regions": [{"box": [-(10**400), 0, 10**400, 1], "words": ["a"]}]})
    assert [region.box for region in read(folder)[0][0].regions] == [(0.0, 0.0, 1.0, 1.0)]


@pytest.mark.parametrize(("words", "expected"), [("cat", ("cat",)), (5, ("5",)), (["a", 1], ("a", "1"))])
def test_one_text_for_a_region_is_no_list_of_letters(folder: Path, words: object, expected: object) -> None:
    lines(folder, {**GOOD, "regions": [{"box": [0, 0, 1, 1], "words": words}, {"box": [0, 0, 1, 1]}]})
    assert [region.words for region in read(folder)[0][0].regions] == [expected]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("answers", "red"),
        ("references", "red"),
        ("options", "red"),
        ("answers", (5,)),
        ("question", 5),
        ("question", None),
        ("answers", None),
        ("regions", 5),
        ("regions", (Region((0, 0, 1, 1), "cat"),)),
    ],
)
def test_a_record_made_in_python_is_looked_over_too(field: str, value: object) -> None:
    good = vqa.Record(
        id="1", images=(Medium(np.zeros((8, 8, 3), np.uint8), "a"),), question="q", answers=("a",)
    )
    with pytest.raises(DataError, match=f"{field}.*must be"):
        own.from_records([good, replace(good, id="2", **{field: value})], strict=True)
    assert len(own.from_records([good])) == 1


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../secret.png",
            "x/../../secret.png",
            "..\\secret.png",
            "a/..\\..\\secret.png",
            "/etc/passwd",
            "//host/share/x",
        ),
        *("\\\\host\\share\\x.png", "C:\\x.png", "c:x.png", "~/x.png", "~root/x.png", "file:///etc/passwd"),
        *(
            "FILE:a.png",
            "http://localhost/x.png",
            "https://localhost/x.png",
            "data:image/png;base64,AA",
            "a\0.png",
        ),
        *("s3://bucket/x.png", "\\secret.png"),
    ],
)
def test_paths_that_leave_the_folder(folder: Path, name: str) -> None:
    lines(folder, GOOD, {**GOOD, "image": name})
    (fault,) = read(folder).faults
    assert fault.code == "image_path"
    assert "; image paths are relative to" in fault.message


@pytest.mark.parametrize(
    "form",
    [
        *("{0}/a.png", "file://{0}/a.png", "file://localhost{0}/a.png", "FILE:{0}/a.png", "{0}//a.png"),
        *("{1}/a.png", "file://{1}/%61.png"),
    ],
)
def test_absolute_paths_and_file_urls_that_lead_inside_are_fine(folder: Path, form: str) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    name = form.format(folder, link)
    lines(folder, GOOD, {**GOOD, "image": name})
    for place in (folder, link):
        dataset = read(place)
        assert not dataset.faults
        (group,) = dataset
        assert {image.key for record in group for image in record.images} == {"a.png"}


@pytest.mark.parametrize(
    "form",
    [
        *(
            "{0}/../secret.png",
            "file://{0}/%2e%2e/secret.png",
            "file://host{0}/a.png",
            "file://{0}/%00",
            "file:a.png",
        ),
        *("{0}x/a.png", "file://{0}/out.png", "{0}/out.png", "file://[{0}/a.png"),
    ],
)
def test_absolute_paths_and_file_urls_that_lead_out_are_not(folder: Path, form: str) -> None:
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    lines(folder, GOOD, {**GOOD, "image": form.format(folder)})
    (fault,) = read(folder).faults
    assert fault.code == "image_path"


def test_nan_in_a_field_that_nobody_needs_costs_no_row(folder: Path) -> None:
    lines(
        folder,
        b'{"image": "a.png", "caption": "x", "score": NaN, "question": NaN, "id": NaN, "notes": [-Infinity]}',
    )
    dataset = read(folder)
    assert not dataset.faults
    assert dataset[0][0].captions == ("x",)
    row = {
        **GOOD,
        "question": float("nan"),
        "answer": float("nan"),
        "split": float("nan"),
        "type": float("nan"),
    }
    table = own.from_records([row], image_root=folder, held_out=0, validation=0)
    assert not table.faults


@pytest.mark.parametrize("name", ["%2e%2e/secret.png", "....//secret.png"])
def test_spellings_that_mean_nothing_here_are_just_missing(folder: Path, name: str) -> None:
    lines(folder, GOOD, {**GOOD, "image": name})
    (fault,) = read(folder).faults
    assert fault.code == "image_missing"


def test_links(folder: Path) -> None:
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "outside").symlink_to(folder.parent)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "in.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe.png")
    names = ("out.png", "outside/secret.png", "loop.png", "zero.png", "pipe.png", "in.png")
    lines(folder, GOOD, *({**GOOD, "image": name} for name in names))
    codes = [fault.code for fault in read(folder, max_bad=1.0).faults]
    assert codes == ["image_path"] * 4 + ["image_not_a_file"]


def test_damaged_pictures_are_found_by_their_header(folder: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "BMP")
    contents = {
        "empty.png": b"",
        "one.png": b"\x89",
        "bmp.jpg": file.getvalue(),
        "page.jpg": b"<html>not found</html>",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    lines(folder, GOOD, *({**GOOD, "image": name} for name in contents))
    assert [f.code for f in read(folder, max_bad=1.0).faults] == [
        "image_empty", "image_corrupt", "image_unsupported_format", "image_unsupported_format"
    ]  # fmt: skip


def test_marks_blank_lines_and_line_ends_are_accepted(folder: Path) -> None:
    row = json.dumps(GOOD).encode()
    (folder / "data.jsonl").write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\r\n  \n" + row)
    dataset = read(folder)
    assert len(dataset[0]) == 2
    assert not dataset.faults
    assert dataset[0][1].id == "data:4"


def test_a_json_array_is_refused_as_a_whole(folder: Path) -> None:
    lines(folder, json.dumps([GOOD]).encode())
    with pytest.raises(DataError, match=r"data\.jsonl:1: a JSON array; write one object per line"):
        read(folder)


def test_a_very_long_line_is_skipped(folder: Path) -> None:
    row = json.dumps(GOOD).encode()
    path = folder / "data.jsonl"
    path.write_bytes(row + b"\n" + b"x" * 5000 + b"\n" + row + b"\n" + b"y" * 5000)
    good, long, again, last = row_files.read(path, max_line_bytes=1000)
    assert good.values == again.values == GOOD
    assert (long.line, again.line, last.line) == (2, 3, 4)
    assert "5001 bytes in one line; the maximum is 1000" in str(long.values)
    assert "5000 bytes" in str(last.values)


def test_a_line_over_100_megabytes_costs_no_row_after_it(folder: Path) -> None:
    with (folder / "data.jsonl").open("wb") as file:
        file.truncate(120_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + json.dumps(GOOD).encode())
    dataset = read(folder)
    assert dataset.quarantined == {"line_too_long": 1}
    assert len(dataset) == 1


def test_too_many_bad_rows_stop_everything(folder: Path) -> None:
    lines(folder, *[GOOD] * 1200, *[{"image": "a.png"}] * 12, *[GOOD] * 10)
    assert read(folder).quarantined == {"missing_field": 12}
    lines(folder, *[GOOD] * 1200, *[{"image": "a.png"}] * 13, *[GOOD] * 10)
    with pytest.raises(
        DataError, match=r"13 of 1213 rows are bad, more than max_bad 1\.0%.*\n.*data\.jsonl:1201"
    ):
        read(folder)
    assert len(read(folder, max_bad=0.5).faults) == 13


@pytest.mark.parametrize(
    ("bad", "good", "stops"),
    [
        (1, 1, False),
        (4, 4, False),
        (5, 3, True),
        (7, 1, True),
        (10, 30, False),
        (11, 30, True),
        (900, 50, True),
    ],
)
def test_too_many_bad_rows_of_few_stop_everything(folder: Path, bad: int, good: int, stops: bool) -> None:
    lines(folder, *[{"image": "a.png"}] * bad, *[GOOD] * good)
    may_be = min(10, (bad + good) // 2)
    if stops:
        words = rf"{bad} of {bad + good} rows are bad, more than the {may_be} allowed.*\n.*data\.jsonl:1"
        with pytest.raises(DataError, match=words):
            read(folder)
    else:
        assert len(read(folder).faults) == bad
    assert len(read(folder, max_bad=0.99).faults) == bad


def test_no_good_row_at_all(folder: Path) -> None:
    lines(folder, {"image": "a.png"}, {"image": "b.png"})
    with pytest.raises(DataError, match=r"all 2 rows are bad.*\n.*nothing to train on"):
        read(folder)
    lines(folder, b"")
    with pytest.raises(DataError, match="no rows"):
        read(folder)


def test_duplicate_ids(folder: Path) -> None:
    lines(folder, {**GOOD, "id": "k"}, {**GOOD, "id": "k"})
    assert "1 rows have a duplicate id, such as 'k'" in " ".join(read(folder).notes)
    with pytest.raises(DataError, match="id: duplicate id 'k'"):
        read(folder, strict=True)


def test_only_held_out_rows_cannot_train(folder: Path) -> None:
    lines(folder, {**GOOD, "split": "test"})
    with pytest.raises(DataError, match=r"no records in split 'train'; found test \(1\)"):
        read(folder)


@pytest.mark.parametrize("depth", [70, 990, 100_000])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_cell_of_many_brackets_is_a_text(folder: Path, depth: int, is_whole: bool) -> None:
    cell = "[" * depth + "]" * depth * is_whole
    (folder / "rows.csv").write_text(f"image,caption\na.png,a cat\na.png,{cell}\n", encoding="utf-8")
    assert [record.captions for record in read(folder)[0]] == [("a cat",), (cell,)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"image,caption\na.png,caf\xe9\n", r"rows\.csv:2: not UTF-8: byte 0xe9 at byte 23"),
        (b"image,image\na.png,a.png\n", "column 'image' appears twice"),
        (
            b'image,caption\na.png,"never closed\n',
            r"rows\.csv:2: not CSV: a quote opened in this row is never",
        ),
        (b"image,caption\na.png,x,y\n", "3 values for 2 columns"),
        (b"a.png,x\na.png,y\n", "image: missing"),
        (b"", "no rows"),
    ],
)
def test_wrong_csv(folder: Path, content: bytes, words: str) -> None:
    (folder / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(folder)


def test_folders_without_one_file_of_rows(folder: Path) -> None:
    with pytest.raises(DataError, match=r"no data\.jsonl or data\.csv found\. Write one row per line"):
        read(folder)
    (folder / "data.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.json is JSON, not JSON lines"):
        read(folder)
    lines(folder, GOOD, name="x.jsonl")
    lines(folder, GOOD, name="y.jsonl")
    with pytest.raises(DataError, match=r"2 data files \(x\.jsonl, y\.jsonl\)"):
        read(folder)
    with pytest.raises(DataError, match=r"ends in \.jsonl or \.csv \(got '\.png'\)"):
        read(folder / "a.png")
    with pytest.raises(DataError, match=r": file or folder not found"):
        read(folder / "none")
    os.mkfifo(folder / "pipe.jsonl")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read(folder / "pipe.jsonl")


def test_quarantine_that_cannot_be_written(folder: Path) -> None:
    lines(folder, GOOD)
    with pytest.raises(DataError, match=r"quarantine_path .*No such file"):
        read(folder, quarantine_path=str(folder / "none" / "q.jsonl"))
