"""Plain pictures of eight colours, which the data sets of tables and archives are made of."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 60),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "black": (15, 15, 15),
    "white": (245, 245, 245),
    "purple": (130, 40, 160),
    "orange": (250, 140, 20),
}


def picture(colour: str, form: str = "JPEG", **options: Any) -> bytes:
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (24, 16), COLOURS[colour]).save(file, form, **options)
    return file.getvalue()
