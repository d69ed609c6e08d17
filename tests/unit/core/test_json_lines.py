"""One value per line comes back as it was written, whatever characters its texts hold."""

import json

import pytest

from sightweave.core import json_lines

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n"


def test_texts_with_line_separators_come_back_and_no_reader_can_cut_them(tmp_path):
    rows = [{"text": f"before{separator}after", separator: [separator]} for separator in SEPARATORS]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json_lines.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [json.loads(line) for _, line in json_lines.read(path)] == rows
    # A reader that uses str.splitlines gets them back as well.
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows


def test_lines_of_others_are_cut_at_line_feeds_alone():
    rows = [{"text": f"before{separator}after"} for separator in SEPARATORS]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n  \n{}\n"
    found = list(json_lines.split(data.encode("utf-8")))
    assert [json.loads(line) for _, line in found] == [*rows, {}]
    assert [number for number, _ in found] == [*range(1, len(rows) + 1), len(rows) + 3]


def test_other_characters_stay_readable_and_half_a_pair_can_be_written():
    assert json_lines.dumps({"a": "\u732b \U0001f408 \u00e9"}) == '{"a": "\u732b \U0001f408 \u00e9"}'
    assert json_lines.dumps("\ud83d") == '"\\ud83d"'
    assert json_lines.dumps([1], indent=1) == "[\n 1\n]"
    with pytest.raises(ValueError, match="float"):
        json_lines.dumps(float("nan"), allow_nan=False)
