"""What a modality gets for nothing: reading several media, digests and contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from contracts.series import modality

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs.media._base import digest

LOADER = modality.Config().build()
NAME = modality.__name__


def series(count: int, key: str = "") -> Medium:
    return Medium(np.arange(count, dtype=np.float32), key or f"s{count}", modality=NAME)


def test_media_of_one_size_are_one_tensor_and_others_are_not() -> None:
    same = LOADER.load([series(5), series(5, "again")]).values
    assert isinstance(same, torch.Tensor)
    assert same.shape == (2, 1, 5)
    mixed = LOADER.load([series(5), series(7)]).values
    assert isinstance(mixed, tuple)
    assert [tuple(one.shape) for one in mixed] == [(1, 5), (1, 7)]


def test_equal_media_are_read_once_for_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    value = LOADER.value
    monkeypatch.setattr(LOADER, "value", lambda medium, seed=None: read.append(seed) or value(medium, seed))
    LOADER.load([series(5), series(5), series(5)])
    assert read == [None]
    LOADER.load([series(5), series(5), series(5)], seeds=[1, 2, 1])
    assert read == [None, 1, 2]


def test_a_digest_is_that_of_the_file_or_of_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(3))
    assert digest(Medium(path, "a")) == digest(Medium(path.read_bytes(), "b"))
    assert digest(Medium(np.arange(3), "a")) == digest(Medium(lambda: np.arange(3), "b"))
    others = [np.arange(4), np.arange(3, dtype=np.int32), np.arange(3)[:, None]]
    assert digest(Medium(np.arange(3), "a")) not in {digest(Medium(one, "a")) for one in others}


@pytest.mark.parametrize(("source", "code"), [(Path("gone.npy"), "medium_unreadable"), (7, "medium_source")])
def test_what_cannot_be_read_is_named(source: object, code: str) -> None:
    with pytest.raises(MediaError) as raised:
        digest(Medium(source, "it", modality=NAME))  # type: ignore[arg-type]  # wrong on purpose
    assert raised.value.code == code
    names = type(LOADER).contents([Medium(source, "it", modality=NAME)])  # type: ignore[arg-type]  # the same
    assert list(names.values()) == ["unreadable it"]


def test_a_missing_file_fails_the_look_at_its_header() -> None:
    with pytest.raises(MediaError, match=r"gone\.npy: file not found"):
        type(LOADER).check(Medium(Path("gone.npy"), "it", modality=NAME))
