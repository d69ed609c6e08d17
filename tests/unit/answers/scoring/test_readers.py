"""Readers: a box is straightened before Tesseract reads it, and what is not installed is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sightweave.answers.metrics import read_back, read_back_chrf
from sightweave.answers.scoring.readers import Place, Tesseract, straightened
from sightweave.core.errors import BackendError
from sightweave.core.text_regions import TextRegion
from sightweave.data.datasets import scenes
from sightweave.data.inputs.image_files import load
from sightweave.data.tasks import image_translation

needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="Tesseract is not installed (apt-get install tesseract-ocr)"
)


def program(folder: Path, body: str) -> str:
    """An executable that answers like Tesseract with English data."""
    path = folder / "tesseract"
    path.write_text(f'#!/bin/sh\nif [ "$1" = --list-langs ]; then echo "List:"; echo eng; exit; fi\n{body}\n')
    path.chmod(0o755)
    return str(path)


def samples(count: int) -> list:
    dataset = scenes.Config(signs=1, tasks=("image_translation",)).build(split="scenes")
    records = [record for index in range(count) for record in dataset[index]]
    english = [record for record in records if record.target_language == "en"]
    return [image_translation.Config().build().sample(record) for record in english]


def written(text: str, angle: float = 0.0) -> tuple[np.ndarray, TextRegion]:
    """A text in DejaVu Sans on a panel, turned counterclockwise, and its place."""
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    image = Image.new("RGB", (320, 240), (40, 60, 90))
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 90, 260, 150), fill=(240, 230, 200))
    draw.text((75, 100), text, fill=(120, 10, 10), font=ImageFont.truetype(font, 32))
    turned = image.rotate(angle, Image.Resampling.BICUBIC)
    place = TextRegion.of_pixels("?", (60, 90, 260, 150), (320, 240), angle=angle)
    return np.asarray(turned), place


@pytest.mark.parametrize("angle", [0.0, 20.0, -35.0])
def test_a_turned_box_is_straightened(angle: float) -> None:
    upright, place = written("Ausgang")
    turned, turned_place = written("Ausgang", angle)
    expected = np.asarray(straightened(Place(upright, place)), float)
    found = np.asarray(straightened(Place(turned, turned_place)), float)
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
    assert found[0].min() == 255  # an empty margin
    assert found.min() < 40  # dark letters


def test_an_empty_panel_is_white() -> None:
    pixels = np.full((40, 60, 3), 90, np.uint8)
    found = np.asarray(straightened(Place(pixels, TextRegion("?", (0, 0, 1, 1)))))
    assert (found == 255).all()


@pytest.mark.parametrize("metric", [read_back, read_back_chrf])
def test_a_missing_program_is_named(metric: object) -> None:
    some = samples(4)[:1]
    made = metric.Config(reader="ocr", program="no-such-tesseract").build()  # type: ignore[attr-defined]
    with pytest.raises(
        BackendError, match=r"'no-such-tesseract' was not found; install it .* or use reader: template"
    ):
        made.rows([load(some[0].target_image)], some)


def test_a_missing_language_is_named(tmp_path: Path) -> None:
    reader = Tesseract(program=program(tmp_path, "exit 0"))
    pixels, place = written("Ausgang")
    with pytest.raises(
        BackendError, match=r"cannot read the language 'de' \(deu\), only eng; install its data"
    ):
        reader.read("read_back", [Place(pixels, place, "de")])


@pytest.mark.parametrize("end", ["", r"\f"])
def test_texts_are_returned_in_the_order_of_their_places(tmp_path: Path, end: str) -> None:
    reader = Tesseract(program=program(tmp_path, rf"printf 'one\nline\f| two _{end}'"))
    pixels, place = written("Ausgang")
    assert reader.read("read_back", [Place(pixels, place, "en")] * 2) == ["one line", "two"]


def test_a_program_that_fails_is_an_error(tmp_path: Path) -> None:
    pixels, place = written("Ausgang")
    with pytest.raises(BackendError, match=r"exited with status 3: no memory"):
        Tesseract(program=program(tmp_path, "echo no memory >&2; exit 3")).read("m", [Place(pixels, place)])
    with pytest.raises(BackendError, match=r"returned 1 text\(s\) for 2 image"):
        Tesseract(program=program(tmp_path, "echo one")).read("m", [Place(pixels, place)] * 2)


@needs_tesseract
def test_tesseract_reads_other_faces() -> None:
    pixels, place = written("Way out")
    turned, turned_place = written("Way out", 12.0)
    found = Tesseract().read("read_back", [Place(pixels, place), Place(turned, turned_place)])
    assert found == ["Way out", "Way out"]


@needs_tesseract
def test_the_ceiling_of_tesseract_is_far_above_a_copy_of_the_source() -> None:
    some = samples(30)[:12]
    metric = read_back_chrf.Config(reader="ocr").build()
    targets = [load(sample.target_image) for sample in some]
    ceiling = float(metric.total(metric.rows(targets, some).sum(0)))
    copied = float(metric.total(metric.rows([load(sample.media[0]) for sample in some], some).sum(0)))
    assert ceiling > 0.8
    assert copied < ceiling - 0.3
