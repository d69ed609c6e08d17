"""Pictures of rows: how they are named, found and remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sightweave.data.inputs import image_files
from sightweave.data.reading.image_paths import Folder, Inside
from sightweave.data.reading.row_files import RowError
from sightweave.data.reading.row_images import ImageFinder, RowImages, given_images
from sightweave.data.reading.row_store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PIL.Image.fromarray(np.full((4, 5, 3), 7, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "missing_field"),
        ({"image": "a", "images": []}, "duplicate_field"),
        ({"images": "a.png"}, "wrong_type"),
    ],
)
def test_a_row_names_its_pictures_in_one_way(values: dict[str, object], code: str) -> None:
    with pytest.raises(RowError) as caught:
        given_images(values)
    assert caught.value.code == code


def test_text_alone_has_an_empty_list() -> None:
    assert given_images({"images": []}) == []
    assert given_images({"image": "a.png"}) == ["a.png"]


def test_a_picture_inside_a_row_is_kept_and_read_back(folder: Path) -> None:
    images = RowImages(Folder(folder, search=False), Store())
    finder = ImageFinder(images, root=None, probe=True)
    reference = finder.reference(Inside((folder / "a.png").read_bytes(), "row 1"))
    assert image_files.load(images.medium(reference)).shape == (4, 5, 3)
    assert images.medium(finder.reference("a.png")).source == folder.resolve() / "a.png"


def test_each_header_is_read_once_and_a_bad_one_fails_every_row(folder: Path) -> None:
    images = RowImages(Folder(folder, search=False), Store())
    finder = ImageFinder(images, root=None, probe=True)
    medium = images.medium(finder.reference("broken.png"))
    for _ in range(2):
        with pytest.raises(RowError, match="broken"):
            finder.look(medium)
        (folder / "broken.png").unlink(missing_ok=True)  # the second time, nothing is opened
    ImageFinder(images, root=None, probe=False).look(medium)
