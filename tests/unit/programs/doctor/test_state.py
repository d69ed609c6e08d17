"""What is known of pictures survives the process, and not the picture's change."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.core.types import Medium
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.doctor.pictures import inspect
from sightweave.programs.doctor.state import State, stamp_of


def picture(folder: Path, name: str = "a.png", shade: int = 0) -> Medium:
    Image.new("RGB", (20, 16), (shade, 40, 80)).save(folder / name)
    return Medium(folder / name, name)


def test_numbers_count_up_and_are_found_again(tmp_path: Path) -> None:
    state = State(tmp_path / "s.sqlite")
    first, second = Medium(tmp_path / "a", "a"), Medium(tmp_path / "b", "b")
    assert [state.number(one) for one in (first, second, first)] == [(0, True), (1, True), (0, False)]
    assert (len(state), state.key(1)) == (2, "b")
    state.close()


def test_facts_are_known_to_the_next_check_until_the_picture_changes(tmp_path: Path) -> None:
    medium = picture(tmp_path)
    facts = inspect(medium)
    state = State(tmp_path / "s.sqlite")
    state.number(medium)
    state.keep(medium.key, stamp_of(medium), facts)
    state.close()
    again = State(tmp_path / "s.sqlite")
    assert len(again) == 0
    assert again.known(medium.key, stamp_of(medium)) == facts
    assert again.facts(0) is None
    again.number(medium)
    assert again.facts(0) == facts
    assert list(again.digests()) == [(0, facts.digest)]
    old = stamp_of(medium)
    Image.new("RGB", (30, 16)).save(tmp_path / "a.png")
    assert stamp_of(medium) != old
    assert again.known(medium.key, stamp_of(medium)) is None
    again.close()


def test_a_picture_is_found_again_wherever_it_lies(tmp_path: Path) -> None:
    state = State(tmp_path / "s.sqlite")
    data = b"0123456789"
    (tmp_path / "shard.tar").write_bytes(data)
    kept = lambda start, size: data[start : start + size]  # noqa: E731
    places = [
        picture(tmp_path),
        Medium(Slice(tmp_path / "shard.tar", 2, 3, "in"), "in"),
        Medium(partial(kept, 4, 2), "kept"),
        Medium(np.zeros((2, 2, 3), np.uint8), "drawn"),
    ]
    for one in places:
        state.number(one)
    found = [state.medium(one.key, kept) for one in places]
    assert found[0] is not None
    assert found[0].source == tmp_path / "a.png"
    assert [one.source() for one in found[1:3] if one is not None] == [b"234", b"45"]
    assert found[3] is None
    assert state.medium("never met", kept) is None
    state.close()


def test_pictures_without_a_file_have_no_stamp(tmp_path: Path) -> None:
    assert stamp_of(Medium(b"bytes", "x")) == ""
    assert stamp_of(Medium(tmp_path / "gone.png", "x")) == ""
    state = State(tmp_path / "s.sqlite")
    assert state.known("x", "") is None
    state.close()


def test_another_file_is_refused_and_another_version_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(DataError, match=r"s\.sqlite: not a file written by this check .*; remove it"):
        State(tmp_path / "s.sqlite")
    old = sqlite3.connect(tmp_path / "old.sqlite")
    old.executescript("PRAGMA user_version=99; CREATE TABLE facts (other TEXT);")
    old.close()
    medium = picture(tmp_path)
    state = State(tmp_path / "old.sqlite")
    state.keep(medium.key, stamp_of(medium), inspect(medium))
    assert state.known(medium.key, stamp_of(medium)) is not None
    state.close()
