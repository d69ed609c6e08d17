"""Several sources as one: pictures of different folders are never taken for one another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sightweave import recipe as recipes
from sightweave.data.inputs import media
from sightweave.verbs.sources import build_sources

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
    shown = [media.load(source[0][0].images[0])[0, 0].tolist() for source in sources]
    assert shown == [list(colour) for colour in COLOURS.values()]


def test_sources_over_the_same_pictures_share_them(folders: list[Path]) -> None:
    (folders[0] / "more.jsonl").write_text('{"image": "1.png", "caption": "A square."}\n')
    given = [{"path": str(folders[0] / name), "split": "train"} for name in ("data.jsonl", "more.jsonl")]
    first, second = read(*given)
    assert first[0][0] == second[0][0] == "1.png"


def test_one_source_keeps_its_names(folders: list[Path]) -> None:
    assert read({"path": str(folders[1]), "split": "train"})[0][0][0] == "1.png"
