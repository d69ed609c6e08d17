"""Large JSON read piece by piece: exactly what json gives, or an error that says where."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LAYOUT = {"ensure_ascii": st.booleans(), "indent": st.none() | st.integers(0, 3)}


def put(data: str | bytes, name: str = "a.json") -> Path:
    path = Path(tempfile.mkdtemp(prefix="sightweave-test-")) / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def one(data: str | bytes, name: str = "a.json") -> Path:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return one


def cleared(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


@settings(deadline=None, max_examples=60)
@given(values=st.lists(VALUES, max_size=6), layout=st.fixed_dictionaries(LAYOUT), chunk=st.integers(1, 9))
def test_elements_are_those_that_json_gives(values: list[Any], layout: dict[str, Any], chunk: int) -> None:
    path = put(json.dumps(values, **layout))
    assert list(json_stream.elements(path, chunk=chunk)) == values
    cleared(path)


@settings(deadline=None, max_examples=60)
@given(
    values=st.dictionaries(st.text(), VALUES, max_size=6),
    layout=st.fixed_dictionaries(LAYOUT),
    chunk=st.integers(1, 9),
)
def test_members_are_those_that_json_gives(
    values: dict[str, Any], layout: dict[str, Any], chunk: int
) -> None:
    path = put(json.dumps(values, **layout))
    assert dict(json_stream.members(path, chunk=chunk)) == values
    cleared(path)


@settings(deadline=None, max_examples=40)
@given(before=VALUES, values=st.lists(VALUES, max_size=4), after=VALUES, chunk=st.integers(1, 9))
def test_elements_under_a_key(before: Any, values: list[Any], after: Any, chunk: int) -> None:
    path = put(json.dumps({"info": before, "annotations": values, "license": after}))
    assert list(json_stream.elements(path, "annotations", chunk=chunk)) == values
    cleared(path)


@pytest.mark.parametrize(
    "number", ["1e+5", "-0.5", "1.25E-3", "0.0", "-12", "123456789012345678901234567890", "1.5e10"]
)
@pytest.mark.parametrize("chunk", range(1, 8))
def test_a_number_cut_by_the_window_is_one_number(write: Any, number: str, chunk: int) -> None:
    path = write(f"[{number},{number} ,[{number}]]")
    assert list(json_stream.elements(path, chunk=chunk)) == [
        json.loads(number),
        json.loads(number),
        [json.loads(number)],
    ]


SMALL = '{"a": [1, -2.5e3, "x\\u00e9\\n", null, {"b": [true]}], "k": [[], {}, "\u72d7"], "z": 7}'


@pytest.mark.parametrize("chunk", [3, 1000])
def test_truncated_anywhere_it_is_an_error_or_all_of_it(write: Any, chunk: int) -> None:
    data = SMALL.encode()
    whole = json.loads(SMALL)
    for end in range(len(data)):
        path = write(data[:end])
        with pytest.raises(DataError, match=r"a\.json: character \d+: "):
            list(json_stream.members(path, chunk=chunk))
        # Nothing after the array is needed, so it may be missing.
        if end >= data.index(b"]}]") + 3:
            assert list(json_stream.elements(path, "a", chunk=chunk)) == whole["a"]
        else:
            with pytest.raises(DataError, match=r"a\.json: character \d+: "):
                list(json_stream.elements(path, "a", chunk=chunk))


@pytest.mark.parametrize("chunk", [3, 1000])
def test_a_gzip_file_truncated_anywhere_is_an_error_or_all_of_it(write: Any, chunk: int) -> None:
    data = gzip.compress(SMALL.encode(), mtime=0)
    whole = json.loads(SMALL)
    for end in range(2, len(data)):
        path = write(data[:end], "a.json.gz")
        found, problem = None, ""
        try:
            found = dict(json_stream.members(path, chunk=chunk))
        except DataError as error:
            problem = str(error)
        assert found == whole or "a.json.gz: character " in problem


def test_a_damaged_gzip_file_is_an_error_or_all_of_it(write: Any) -> None:
    text = json.dumps([{"id": i, "text": f"row {i * i}"} for i in range(300)])
    data = gzip.compress(text.encode(), mtime=0)
    num_wrong = 0
    for place in range(10, len(data), 7):
        path = write(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :], "a.json")
        try:
            list(json_stream.elements(path))
        except DataError as error:
            num_wrong += "a.json" in str(error)
    assert num_wrong > 0  # and nothing but a DataError came


def test_gzip_is_told_by_its_bytes_and_leaves_nothing_open(write: Any) -> None:
    for name in ("a.json", "a.json.gz", "a.txt"):
        path = write(gzip.compress(b'[{"a": 1}]'), name)
        assert list(json_stream.elements(path, chunk=3)) == [{"a": 1}]
        assert next(json_stream.elements(path, chunk=3)) == {"a": 1}  # stopped in the middle
    assert list(json_stream.elements(write(b"[2]", "plain.json.gz"))) == [2]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_a_byte_order_mark_is_no_text(write: Any, chunk: int) -> None:
    assert list(json_stream.elements(write(b"\xef\xbb\xbf [1]"), chunk=chunk)) == [1]
    assert dict(json_stream.members(write(b'\xef\xbb\xbf{"a":1}'), chunk=chunk)) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("[1, 2,]", 6, "Expecting value"),
        ('[{"a": 1,}]', None, ""),  # what Python says of it differs with its version
        ("[1 2]", 3, "expected ','"),
        ("[1; 2]", 2, "expected ','"),
        ('[0, {"a": 1, "a": 2}]', 4, "a: given twice"),
        ('[{"b": {"a": 1, "a": 2}}]', 1, "given twice"),
        ("[01]", 2, "expected ','"),
        ("['a']", 1, "Expecting value"),
        ('["a\nb"]', 3, "Invalid control character"),
        ("[\"\\q\"]", 2, "Invalid"),
        ("{}", 0, "expected '['"),
        ("", 0, "unexpected end of file"),
        ("   ", 3, "unexpected end of file"),
        ("[", 1, "ends inside this value"),
        ("null", 0, "expected '['"),
        (f"[{'[' * 200_000}", 1, "nested too deep"),
        (f"[{'9' * 5000}]", 1, "Exceeds the limit"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [3, 1 << 20])
def test_what_is_no_json_is_said_with_its_place(
    write: Any, text: str, place: int | None, problem: str, chunk: int
) -> None:
    if len(text) > 10_000 and chunk == 3:
        chunk = 4096
    with pytest.raises(DataError) as caught:
        list(json_stream.elements(write(text), chunk=chunk))
    assert f"a.json: character {place if place is not None else ''}" in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1,}', "a key in double quotes"),
        ("{a: 1}", "a key in double quotes"),
        ('{"a" 1}', "expected ':'"),
        ('{"a": 1 "b": 2}', "expected ','"),
        ("[1]", "expected '{'"),
    ],
)
def test_members_of_what_is_no_object(write: Any, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=r"a\.json: character \d+: ") as caught:
        list(json_stream.members(write(text), chunk=3))
    assert problem in str(caught.value)


def test_a_key_that_is_not_there_or_holds_no_array(write: Any) -> None:
    with pytest.raises(DataError, match=r"a\.json: no key 'images' in the top-level object"):
        list(json_stream.elements(write('{"a": [1]}'), "images"))
    with pytest.raises(DataError, match=r"a\.json: character 6: expected '\['"):
        list(json_stream.elements(write('{"a": 1}'), "a"))


@pytest.mark.parametrize(
    "data", [b'["caf\xe9"]', b'["a", "\xff"]', b"\xff\xfe[\x001\x00]\x00", b'["\xed\xa0\x80"]', b'["\xe7\x8b']
)
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_what_is_no_utf_8(write: Any, data: bytes, chunk: int) -> None:
    with pytest.raises(DataError, match=r"a\.json: character \d+: not UTF-8"):
        list(json_stream.elements(write(data), chunk=chunk))


def test_a_value_that_never_ends_is_not_held(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 100_000)
    bomb = gzip.compress(b'[{"a": "' + b"x" * 5_000_000)
    assert len(bomb) < 10_000
    window = json_stream._Text(write(bomb), json_stream.opened(write(bomb)), 4096)
    with window.file, pytest.raises(DataError, match="a value of more than 100000 characters"):
        list(json_stream._array(window))
    assert len(window.text) < 4 * json_stream.MAX_VALUE
    for text in ("[" + "1" * 400_000, "[0." + "1" * 400_000, '["' + "x" * 400_000, "[" + "[1," * 150_000):
        with pytest.raises(DataError, match=r"more than 100000 characters|Exceeds the limit|nested too deep"):
            list(json_stream.elements(write(text), chunk=4096))


def test_an_early_error_does_not_read_the_file_to_its_end(write: Any) -> None:
    path = write("[{]" + " " * 1_000_000)
    window = json_stream._Text(path, json_stream.opened(path), 4096)
    with window.file, pytest.raises(DataError, match="character 2"):
        list(json_stream._array(window))
    assert len(window.text) <= 4096


def test_memory_is_that_of_one_element(write: Any) -> None:
    path = write(json.dumps([{"n": i} for i in range(20_000)]))
    window = json_stream._Text(path, json_stream.opened(path), 1000)
    with window.file:
        widest = max(len(window.text) for _ in json_stream._array(window))
    assert widest < 4000


def test_an_array_before_the_wanted_one_may_be_larger_than_a_value(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "MAX_VALUE", 10_000)
    path = write(json.dumps({"annotations": [{"n": i} for i in range(20_000)], "categories": [1, 2]}))
    assert list(json_stream.elements(path, "categories", chunk=1000)) == [1, 2]


def test_a_glance_sees_both_ends_and_nothing_else(write: Any, tmp_path: Path) -> None:
    rows = [{"middle" if 40_000 < i < 41_000 else "image_id": i} for i in range(80_000)]
    text = json.dumps({"info": {"year": 2017}, "images": rows, "last": "v\u00e9"})
    kind, keys = json_stream.glance(write(text))
    assert kind == "object"
    assert {"info", "year", "images", "image_id", "last"} == keys
    assert json_stream.glance(write(gzip.compress(text.encode())))[1] == {
        "info",
        "year",
        "images",
        "image_id",
    }
    assert json_stream.glance(write(b'\xef\xbb\xbf [{"a": 1}]')) == ("array", {"a"})
    for data in (b"", b"plain text", b"\x1f\x8b", b"\x89PNG\r\n"):
        assert json_stream.glance(write(data)) == ("", frozenset())
    assert json_stream.glance(tmp_path / "none.json") == ("", frozenset())


def test_the_text_under_a_key(write: Any, tmp_path: Path) -> None:
    path = write(
        json.dumps({"data_type": "mscoco", "n": [1] * 200_000, "data_subtype": "train2014", "year": 7})
    )
    assert json_stream.text_of(path, "data_type") == "mscoco"
    assert json_stream.text_of(path, "data_subtype") == "train2014"
    assert json_stream.text_of(path, "year") == json_stream.text_of(path, "none") == ""
    assert json_stream.text_of(tmp_path / "none.json", "a") == ""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be opened \(No such file"):
        list(json_stream.elements(tmp_path / "none.json"))


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
def test_nan_and_infinity_are_no_values(write: Any, chunk: int) -> None:
    path = write('[{"a": NaN, "b": [1, -Infinity]}, Infinity]')
    assert list(json_stream.elements(path, chunk=chunk)) == [{"a": None, "b": [1, None]}, None]
