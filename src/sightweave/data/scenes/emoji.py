"""An alternative drawing style with the system's colour-emoji font, to test models that were trained on pictograms.

Things without an emoji are drawn as pictograms. Unlike the pictograms, emoji differ between systems.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from sightweave.core.errors import BackendError, DataError, did_you_mean

BITMAP_SIZE = 109
"""Size in pixels of the bitmaps in colour-emoji fonts, which contain only this size."""
FONT_PATHS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/usr/local/share/fonts/NotoColorEmoji.ttf",
)

_ADVICE = "Install a colour-emoji font with bitmaps (fonts-noto-color-emoji), or use style: drawn."
_MISSING = "\U0010ffff"
"""A code point that no font contains, so that the font's glyph for missing characters is drawn."""

CHARACTERS = {
    "dog": "\U0001f436",
    "cat": "\U0001f431",
    "horse": "\U0001f434",
    "cow": "\U0001f42e",
    "pig": "\U0001f437",
    "rabbit": "\U0001f430",
    "fish": "\U0001f41f",
    "frog": "\U0001f438",
    "apple": "\U0001f34e",
    "banana": "\U0001f34c",
    "strawberry": "\U0001f353",
    "carrot": "\U0001f955",
    "pizza": "\U0001f355",
    "cake": "\U0001f382",
    "car": "\U0001f697",
    "bus": "\U0001f68c",
    "bicycle": "\U0001f6b2",
    "boat": "\u26f5",
    "house": "\U0001f3e0",
    "tree": "\U0001f333",
    "flower": "\U0001f33c",
    "book": "\U0001f4d6",
    "key": "\U0001f511",
    "clock": "\U0001f570",
    "guitar": "\U0001f3b8",
    "umbrella": "\u2602",
    "moon": "\U0001f319",
    "sun": "\u2600",
    "bat_animal": "\U0001f987",
    "bat_club": "\U0001f3cf",
    "mouse_animal": "\U0001f42d",
    "mouse_computer": "\U0001f5b1",
    "bow_ribbon": "\U0001f380",
    "bow_weapon": "\U0001f3f9",
    "nut_food": "\U0001f330",
    "plant_green": "\U0001fab4",
    "plant_factory": "\U0001f3ed",
    "ear_head": "\U0001f442",
    "ear_corn": "\U0001f33d",
    "diamond_gem": "\U0001f48e",
    "diamond_card": "\u2666",
    "chicken_bird": "\U0001f414",
    "chicken_food": "\U0001f357",
    "football_round": "\u26bd",
    "football_american": "\U0001f3c8",
    "cell_phone": "\U0001f4f1",
    "cell_biology": "\U0001f9a0",
    "organ_keyboard": "\U0001f3b9",
    "organ_heart": "\U0001fac0",
    "bolt_lightning": "\u26a1",
    "bolt_screw": "\U0001f529",
    "glasses_eyewear": "\U0001f453",
    "glasses_drinking": "\U0001f942",
    "letter_mail": "\u2709",
    "letter_a": "\U0001f170",
    "ring_finger": "\U0001f48d",
    "crane_machine": "\U0001f3d7",
    "doctor_man": "\U0001f468\u200d\u2695\ufe0f",
    "doctor_woman": "\U0001f469\u200d\u2695\ufe0f",
    "cook_man": "\U0001f468\u200d\U0001f373",
    "cook_woman": "\U0001f469\u200d\U0001f373",
}
"""Emoji by pictogram, for those that have one; some emoji are sequences of several characters."""


def emoji_bitmap(
    name: str, side: int, font_path: str | Path | None = None
) -> UInt8[np.ndarray, "side side 4"]:
    """Draws a pictogram's emoji: red, green, blue (not multiplied by the coverage) and coverage.

    Args:
        name: A pictogram in `CHARACTERS`.
        side: Side of the bitmap in pixels; the emoji's longer side fills it except for a margin.
        font_path: Path of the font file; by default, the system's usual paths are tried.

    Raises:
        DataError: The pictogram has no emoji.
        BackendError: There is no colour-emoji font, or the font lacks this emoji.
    """
    if name not in CHARACTERS:
        raise DataError(f"no emoji for the pictogram {name!r}. {did_you_mean(name, CHARACTERS)}")

    path = find_font(font_path)
    character = CHARACTERS[name]
    drawn, missing = _drawn(path, character), _drawn(path, _MISSING)
    if drawn is None or (missing is not None and drawn.tobytes() == missing.tobytes()):
        raise BackendError(f"{path}: the font has no glyph for {name!r} ({character!a}). {_ADVICE}")
    if len(character) > 1 and drawn.width > 2 * drawn.height:
        raise BackendError(
            f"{path}: {name!r} ({character!a}) is drawn as several glyphs; Pillow needs its Raqm layout to join "
            f"them. {_ADVICE}"
        )

    # Add a margin, as the pictograms have one.
    longest = side * 15 // 16
    width, height = (max(1, edge * longest // max(drawn.size)) for edge in drawn.size)
    scaled = drawn.resize((width, height), Image.Resampling.BILINEAR)
    square = Image.new("RGBA", (side, side))
    square.paste(scaled, ((side - width) // 2, (side - height) // 2))
    return np.array(square)


def _drawn(path: Path, character: str) -> Image.Image | None:
    """Draws a character and crops the image to its visible part; None if nothing is visible."""
    canvas = Image.new("RGBA", (5 * BITMAP_SIZE, 2 * BITMAP_SIZE))
    try:
        font = ImageFont.truetype(path, BITMAP_SIZE)
        ImageDraw.Draw(canvas).text((4, 4), character, font=font, embedded_color=True)
    except OSError as error:
        raise BackendError(
            f"{path}: cannot draw glyphs {BITMAP_SIZE} pixels high ({error}). {_ADVICE}"
        ) from error

    box = canvas.getbbox()
    return canvas.crop(box) if box else None


def find_font(font_path: str | Path | None = None) -> Path:
    """Path of the colour-emoji font: the given one, or the first of `FONT_PATHS` that exists.

    Raises:
        BackendError: No font file is found.
    """
    paths = list(map(Path, FONT_PATHS if font_path is None else (font_path,)))
    for path in paths:
        if path.is_file():
            return path
    raise BackendError(f"no colour-emoji font at {', '.join(map(str, paths))}. {_ADVICE}")
