"""Several sources as one: pictures of different folders are never taken for one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sightweave import recipe as recipes
from sightweave.core import config as configs
from sightweave.core.errors import DataError, RecipeError
from sightweave.data.inputs import image_files
from sightweave.verbs.sources import build_sources, read_data, read_recipe, with_data

COLOURS = {"red": (250, 0, 0), "blue": (0, 0, 250)}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders that each hold a ``1.png`` and a row without a picture."""
    found = []
    for name, colour in COLOURS.items():
        folder = tmp_path / name
        folder.mkdir()
        Image.new("RGB", (8, 8), colour).save(folder / "1.png")
        rows = [
            {"image": "1.png", "question": "Which colour?", "answer": name},
            {"image": "1.png", "caption": f"It is {name}."},
            {"images": [], "question": "And without?", "answer": name},
        ]
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found.append(folder)
    return found


def read(*sources: object) -> list[list[tuple[str, ...]]]:
    """Key of the picture, group and answer of every record of each source."""
    measured = recipes.measured({"data": [*sources]})
    return [
        [
            (*(one.key for one in record.images), record.group, record.id)
            for records in source
            for record in records
        ]
        for source in build_sources(measured, None, "train")
    ]


def test_equal_names_in_two_folders_are_two_pictures(folders: list[Path]) -> None:
    given = [{"path": str(folder), "split": "train"} for folder in folders]
    first, second = read(*given)
    assert first == [("1.png", "1.png", "data:1"), ("1.png", "1.png", "data:2"), ("data:3", "data:3")]
    assert second == [
        ("2:1.png", "2:1.png", "data:1"),
        ("2:1.png", "2:1.png", "data:2"),
        ("2:data:3", "data:3"),
    ]
    sources = build_sources(recipes.measured({"data": given}), None, "train")
    shown = [image_files.load(source[0][0].images[0])[0, 0].tolist() for source in sources]
    assert shown == [list(colour) for colour in COLOURS.values()]


def test_sources_over_the_same_pictures_share_them(folders: list[Path]) -> None:
    (folders[0] / "more.jsonl").write_text('{"image": "1.png", "caption": "A square."}\n')
    given = [{"path": str(folders[0] / name), "split": "train"} for name in ("data.jsonl", "more.jsonl")]
    first, second = read(*given)
    assert first[0][0] == second[0][0] == "1.png"


def test_one_source_keeps_its_names(folders: list[Path]) -> None:
    assert read({"path": str(folders[1]), "split": "train"})[0][0][0] == "1.png"


def test_data_are_sources_or_rows_whatever_their_form(folders: list[Path]) -> None:
    first, second = folders
    for given in (first, str(first), {"path": str(first)}, {"kind": "own", "path": str(first)}, [first]):
        (source,), rows = read_data(given)
        assert rows is None
        assert (configs.kind_of(source), source.path) == ("own", str(first))
    assert read_data(source) == ((source,), None)
    assert [one.path for one in read_data([first, {"path": str(second)}])[0]] == [str(first), str(second)]
    assert configs.kind_of(read_data("scenes")[0][0]) == "scenes"

    row = {"image": "1.png", "question": "Which?", "answer": "red"}
    for given in ([row], (row,), iter([row])):
        assert read_data(given) == ((), [row])
    # A row may have a column of such a name.
    odd = [{"image": "1.png", "caption": "It.", "kind": "photo", "path": "there"}]
    assert read_data(odd) == ((), odd)
    assert read_data([]) == ((), [])


def test_what_is_no_data_is_said(folders: list[Path]) -> None:
    row = {"image": "1.png", "question": "Which?", "answer": "red"}
    for given in (row, 7, b"photos"):
        with pytest.raises(DataError, match="data: expected a path, a source such as"):
            read_data(given)
    with pytest.raises(DataError, match="either sources or rows, not both"):
        read_data([str(folders[0]), row])
    with pytest.raises(RecipeError, match="seeed"):
        read_data({"kind": "scenes", "seeed": 1})


def test_other_data_stand_in_the_place_of_a_recipes_own(folders: list[Path]) -> None:
    first, second = map(str, folders)
    recipe, settings, rows = with_data("own", ["data.0.limit=3", "seed=4"], [first, second])
    read = read_recipe(recipe, settings)
    assert rows is None
    assert [(one.path, one.limit) for one in read.data] == [(first, 3), (second, None)]
    assert read.seed == 4

    again, settings, rows = with_data(read, [], second)
    assert [one.path for one in read_recipe(again, settings).data] == [second]
    assert rows is None
    assert with_data("own", ["seed=1"], None) == ("own", ("seed=1",), None)
    for one in ("own", read, {"data": first}):
        changed, settings, rows = with_data(one, [], [{"image": "1.png", "caption": "It."}])
        assert rows == [{"image": "1.png", "caption": "It."}]
        assert settings == ("data=[]",) or dict(changed)["data"] == []  # type: ignore[arg-type]
