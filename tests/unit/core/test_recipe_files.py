"""Recipes by their paths and by the names of those that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightweave.core import recipe_files
from sightweave.core.errors import RecipeError


def test_a_file_goes_before_a_recipe_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own", "own.yaml", "recipes/own.yaml"):
        assert recipe_files.find(name) == recipe_files.shipped()["own"]
    Path("own.yaml").write_text("title: mine")
    assert recipe_files.find("own.yaml") == Path("own.yaml")
    with pytest.raises(RecipeError, match=r"onw: recipe file not found.* Did you mean 'own'\?"):
        recipe_files.find("onw")
    with pytest.raises(RecipeError, match="elsewhere/own"):
        recipe_files.find("elsewhere/own")


def test_a_recipe_says_what_it_is_for(tmp_path: Path) -> None:
    assert all(recipe_files.summary(path) for path in recipe_files.shipped().values())
    (tmp_path / "a.yaml").write_text("# For pictures.\ntitle: a\n")
    (tmp_path / "b.yaml").write_text("title: b\n")
    assert [recipe_files.summary(tmp_path / name) for name in ("a.yaml", "b.yaml")] == ["For pictures.", ""]
