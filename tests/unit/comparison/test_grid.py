"""A grid of settings: which runs it means."""

from __future__ import annotations

import pytest

from sightweave.comparison.grid import grid, split_values
from sightweave.core.errors import RecipeError


def test_commas_inside_brackets_divide_nothing() -> None:
    path, values = split_values("model.encoder={kind: cnn, channels: [8, 16]},{kind: vit, dim: 64}, vit")
    assert path == "model.encoder"
    assert values == ["{kind: cnn, channels: [8, 16]}", "{kind: vit, dim: 64}", "vit"]
    assert split_values("title=a=b") == ("title", ["a=b"])


@pytest.mark.parametrize("setting", ["seed", "=1", "seed=", "seed=1,,2", "seed=1,"])
def test_a_setting_without_a_path_or_a_value_is_refused(setting: str) -> None:
    with pytest.raises(RecipeError, match="setting '"):
        split_values(setting)


def test_every_combination_is_one_cell_with_a_name_of_its_own() -> None:
    cells = grid(["train.num_threads=1", "model.encoder={kind: cnn, image_size: 32},vit", "seed=0,1"])
    assert [cell.name for cell in cells] == ["cnn-seed0", "cnn-seed1", "vit-seed0", "vit-seed1"]
    assert cells[1].settings == ("train.num_threads=1", "model.encoder={kind: cnn, image_size: 32}", "seed=1")
    assert cells[1].labels == {"model.encoder": "cnn"}
    assert cells[1].composition == "cnn"
    assert [cell.name for cell in grid(["seed=3"])] == ["run"]
    with pytest.raises(RecipeError, match="two runs would have the same name 'cnn'"):
        grid(["model.encoder={kind: cnn, image_size: 32},{kind: cnn, image_size: 64}"])
