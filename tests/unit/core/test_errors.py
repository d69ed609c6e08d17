"""The tree of errors, and the nearest right word."""

from __future__ import annotations

import pytest

from sightweave.core import errors


def test_all_errors_are_of_one_tree_and_are_value_errors() -> None:
    for name in ("RecipeError", "DataError", "MediaError", "CheckpointError", "FolderError", "BackendError"):
        kind = getattr(errors, name)
        assert issubclass(kind, errors.SightweaveError)
        assert issubclass(kind, ValueError)
    assert issubclass(errors.MediaError, errors.DataError)


def test_a_media_error_has_a_code_and_a_message() -> None:
    error = errors.MediaError("image_truncated", "the file ends early")
    assert error.code == "image_truncated"
    assert str(error) == "the file ends early"


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("concatt", ["addition", "concat"], "Did you mean 'concat'? Known: addition, concat."),
        ("zzz", ["b", "a"], "Known: a, b."),
        ("x", [], "Known: none."),
    ],
)
def test_the_nearest_word_is_named(word: str, known: list[str], said: str) -> None:
    assert errors.did_you_mean(word, known) == said
