"""Readers of the words in drawn images: the template reader of our own face, and Tesseract.

A reader gets the place of each text and returns what is written there. Neither of them is the model that is scored. The
template reader knows only our own bitmap face. Tesseract (Smith 2007, doi:10.1109/ICDAR.2007.4376991) is another program
that reads most fonts, though not without errors, so its score on the reference images is the ceiling of other scores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from sightweave.answers.scoring.sign_reader import read_sign
from sightweave.core.errors import BackendError
from sightweave.core.text_regions import TextRegion

ReaderKind = Literal["template", "ocr"]
_LANGUAGES = {
    "de": "deu",
    "en": "eng",
    "es": "spa",
    "fr": "fra",
    "it": "ita",
    "pt": "por",
    "zh": "chi_sim",
}
"""Tesseract's names of languages, by their two-letter code."""
_HEIGHT = 104
"""Height in pixels to which lower boxes are enlarged, since Tesseract reads small letters badly."""
_FRAME = 1.0
"""Width of the edge of a box that is cut off, in pixels of the image: a frame is read as letters."""
_MARGIN = 16
"""Width of the empty margin around a text, in pixels of the enlarged box."""
_SEPARATOR = "\f"
_INSTALL = (
    "install it (apt-get install tesseract-ocr tesseract-ocr-deu tesseract-ocr-fra), or use reader: template."
)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place in an image at which a text is expected."""

    pixels: NDArray[np.uint8]
    """The image, H W 3."""
    region: TextRegion
    """The place; only its box, angle and corners are used."""
    language: str = ""
    """Two-letter code of the language, if it is known."""


class Reader(Protocol):
    """Reads the texts at given places."""

    def read(self, metric: str, places: Sequence[Place]) -> list[str]:
        """The text at each place in one line, which is empty if there is none.

        Args:
            metric: Name of the metric for messages.
            places: The places.

        Raises:
            BackendError: The reader needs a program or a language that is not installed.
        """
        ...


def reader(kind: ReaderKind, *, program: str = "tesseract") -> Reader:
    """Creates a reader.

    Args:
        kind: ``template`` or ``ocr``.
        program: Name or path of the Tesseract executable, for ``ocr``.
    """
    return TemplateReader() if kind == "template" else Tesseract(program=program)


class TemplateReader:
    """Reads our own bitmap face, in any colour."""

    def read(self, metric: str, places: Sequence[Place]) -> list[str]:
        """The text at each place, as for `Reader`."""
        found = []
        for place in places:
            sign = place.region
            # The reader knows the place only: what is legible counts, in any colour.
            bare = TextRegion("?", sign.box, angle=sign.angle) if sign.corners is None else sign
            found.append(read_sign(place.pixels, bare).text.replace("\n", " "))
        return found


class Tesseract:
    """Reads texts with the program Tesseract, which runs once for all texts of a language.

    Args:
        program: Name or path of the executable.
    """

    def __init__(self, *, program: str = "tesseract") -> None:
        self.program = program

    def read(self, metric: str, places: Sequence[Place]) -> list[str]:
        """The text at each place, as for `Reader`. A place without a language is read as English."""
        by_language: dict[str, list[int]] = {}
        for number, place in enumerate(places):
            by_language.setdefault(place.language or "en", []).append(number)

        program = self._found(metric)
        known = self._languages(metric, program) if places else set()
        found = [""] * len(places)
        for code, numbers in by_language.items():
            language = _LANGUAGES.get(code, code)
            if language not in known:
                raise BackendError(
                    f"{metric}: not computed: {program} cannot read the language {code!r} ({language}), only "
                    f"{', '.join(sorted(known)) or 'none'}; install its data (apt-get install tesseract-ocr-{language})."
                )
            texts = self._read(metric, program, language, [straightened(places[n]) for n in numbers])
            for number, text in zip(numbers, texts, strict=True):
                found[number] = text
        return found

    def _found(self, metric: str) -> str:
        found = shutil.which(self.program)
        if found is None:
            raise BackendError(
                f"{metric}: not computed: reader ocr needs Tesseract, but the program {self.program!r} was not found; "
                f"{_INSTALL}"
            )
        return found

    def _languages(self, metric: str, program: str) -> set[str]:
        return set(_run(metric, [program, "--list-langs"]).split("\n")[1:]) - {"", "osd"}

    def _read(
        self, metric: str, program: str, language: str, pictures: Sequence[PIL.Image.Image]
    ) -> list[str]:
        """The texts in grey images with dark letters."""
        with tempfile.TemporaryDirectory() as folder:
            names = [str(Path(folder) / f"{number}.png") for number in range(len(pictures))]
            for name, picture in zip(names, pictures, strict=True):
                picture.save(name, dpi=(300, 300))
            listing = Path(folder) / "pictures.txt"
            listing.write_text("\n".join(names) + "\n", encoding="utf-8")

            # Mode 6 is one block of text, which signs of one or two lines are.
            command = [program, str(listing), "-", "-l", language, "--psm", "6"]
            pages = _run(metric, [*command, "-c", "page_separator=\f"]).split(_SEPARATOR)

        # Tesseract 4 ends each page with the separator, and Tesseract 5 puts it between pages.
        if len(pages) > len(pictures) and not pages[-1].strip():
            pages.pop()
        if len(pages) != len(pictures):
            raise BackendError(
                f"{metric}: not computed: {program} returned {len(pages)} text(s) for {len(pictures)} image(s)."
            )
        return [_words(page) for page in pages]


def _words(page: str) -> str:
    """The words of a page, without marks alone: remains of a frame are read as such."""
    return " ".join(word for word in page.split() if any(map(str.isalnum, word)))


def _run(metric: str, command: Sequence[str]) -> str:
    # Several threads slow down the reading of small images.
    limited: Mapping[str, str] = os.environ | {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, capture_output=True, check=False, env=limited)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise BackendError(
            f"{metric}: not computed: {command[0]} exited with status {done.returncode}: {said}"
        )
    return done.stdout.decode(errors="replace")


def straightened(place: Place) -> PIL.Image.Image:
    """The box of a text, upright and enlarged, in grey with dark letters on white."""
    height, width = place.pixels.shape[:2]
    corners = _corners(place.region, width, height)
    across = np.hypot(*(corners[1] - corners[0]))
    down = np.hypot(*(corners[3] - corners[0]))
    scale = max(1.0, _HEIGHT / max(down, 1.0))
    size = (max(1, round(across * scale)), max(1, round(down * scale)))

    # Pillow wants the corners counterclockwise: top left, bottom left, bottom right, top right.
    quad = tuple(float(value) for value in corners[[0, 3, 2, 1]].reshape(-1))
    picture = PIL.Image.fromarray(place.pixels)
    turned = picture.transform(size, PIL.Image.Transform.QUAD, quad, PIL.Image.Resampling.BICUBIC)

    edge = min(round(_FRAME * scale), (min(size) - 1) // 2)
    inner = np.asarray(turned)[edge : size[1] - edge, edge : size[0] - edge]
    return PIL.ImageOps.expand(_in_grey(inner), border=_MARGIN, fill=255)


def _corners(region: TextRegion, width: int, height: int) -> NDArray[np.float64]:
    """Corners in pixels, 4 2, from the top left of the text clockwise."""
    if region.corners is not None:
        return np.array(region.corners) * (width, height)
    left, top, right, bottom = np.array(region.box) * (width, height, width, height)
    angle = np.radians(-region.angle)  # clockwise
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    upright = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    turned: NDArray[np.float64] = (upright - middle) @ turn + middle
    return turned


def _in_grey(pixels: NDArray[np.uint8]) -> PIL.Image.Image:
    """The share of ground in each pixel, from 0 (ink) to 255; the ink is the colour furthest from the most common one."""
    colors = pixels.reshape(-1, 3).astype(np.float64)
    ground = np.median(colors, axis=0)
    distances = ((colors - ground) ** 2).sum(-1)
    direction = colors[distances >= np.quantile(distances, 0.95)].mean(0) - ground
    length = float((direction**2).sum())
    if length < 1:
        return PIL.Image.new("L", (pixels.shape[1], pixels.shape[0]), 255)

    shares = 1 - np.clip((colors - ground) @ direction / length, 0, 1)
    return PIL.Image.fromarray(np.round(255 * shares).astype(np.uint8).reshape(pixels.shape[:2]))
