"""Mutated files of answers: each is read or refused with a `DataError`; what is read holds every answer that it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightweave.core.errors import DataError
from sightweave.core.types import Part, Sample
from sightweave.programs.predictors import answers

ROWS = [
    {"id": "q-1", "answer": "red", "logprob": -0.5},
    {"question_id": 2, "answer": "a cat"},
    {"questionId": "3", "prediction": "yes"},
    {"image": "4.jpg", "caption": "A dog, and \u4e2d."},
]
NAMES = ("q-1", "2", "3", "4")
SAMPLES = [Sample(id=name, task="vqa", parts=(Part("user", "what?"),)) for name in NAMES]
FORMS = {
    "lines.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode(),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "table.csv": 'id,answer,logprob\nq-1,red,-0.5\n2,a cat,\n3,yes,\n4,"A dog, and \u4e2d.",\n'.encode(),
}
SPLICES = [
    b"",
    b"\0",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"null",
    b"NaN",
    b"1e999",
    b"\xff",
    b"\xef\xbb\xbf",
]
SLOW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(path: Path, data: bytes, missing: str) -> list[str] | None:
    """The answers, or None where the file was refused in one clear line that names it."""
    path.write_bytes(data)
    refused = ""
    try:
        found = answers.Config(path=str(path), missing=missing).build()
        given = found.predict(SAMPLES)
    except DataError as error:
        refused = str(error)
    if refused:
        assert str(path) in refused
        assert "\n" not in refused
        assert len(refused) < 1000
        return None
    lost = sum(not one.text.strip() for one in given)
    assert not lost or any(
        "no answer" in note or "are empty" in note for note in found.notes
    )  # never silently
    assert all(one.logprob is None or one.logprob <= 0 for one in given)
    for one in given:
        one.text.encode("utf-8")
    return [one.text for one in given]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("missing", ["error", "wrong"])
def test_whole_files_are_read(name: str, missing: str, tmp_path: Path) -> None:
    assert outcome(tmp_path / name, FORMS[name], missing) == ["red", "a cat", "yes", "A dog, and \u4e2d."]


@pytest.mark.parametrize("name", FORMS)
@SLOW
@given(st.data())
def test_spliced_files_are_read_or_refused(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content = FORMS[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 30)))
        content = (
            content[:start] + data.draw(st.sampled_from(SPLICES) | st.binary(max_size=6)) + content[end:]
        )
    outcome(tmp_path / name, content, data.draw(st.sampled_from(["error", "wrong"])))


@pytest.mark.parametrize("name", FORMS)
def test_cut_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    whole = FORMS[name]
    texts = ["red", "a cat", "yes", "A dog, and \u4e2d."]
    for end in range(len(whole)):
        found = outcome(tmp_path / name, whole[:end], "error")
        # All samples have an answer only where the cut took no more than the last one's tail.
        assert found is None or found[:3] == texts[:3]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from([*answers._IDS, "image", "prompt", *answers._ANSWERS, "logprob", "finish", "split"])


@pytest.mark.parametrize("name", ["lines.jsonl", "array.json"])
@SLOW
@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=6), max_size=4), st.booleans())
def test_rows_of_any_values_are_read_or_refused(
    name: str, tmp_path: Path, rows: list[dict[str, object]], is_among_good: bool
) -> None:
    every = [*ROWS, *rows] if is_among_good else rows
    text = json.dumps(every) if name == "array.json" else "\n".join(map(json.dumps, every))
    found = outcome(tmp_path / name, text.encode(), "wrong")
    if is_among_good and found is not None:
        assert found[:3] == ["red", "a cat", "yes"]
