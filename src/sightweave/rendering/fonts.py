"""Finds a font that has every character of a text.

A missing character is an error: fonts would draw it as an empty box. Whether a font has a character is read from its
character map with fontTools, which matplotlib depends on. Comparing drawn glyphs with that of an unassigned character would
miss fonts that draw nothing, and mistake fonts that draw a similar box on purpose.

Letters of most scripts are drawn by Pillow's basic layout, which is the same on every machine. Scripts whose letters join,
reorder or run from right to left need Raqm, which Pillow's wheels contain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from sightweave.core.errors import BackendError, DataError

DEFAULT = "DejaVu Sans"
"""Font that matplotlib brings: Latin, Greek, Cyrillic, Arabic, Hebrew and other alphabets, but no Chinese."""
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_INSTALLED = (
    "notosanscjk",
    "notosanssc",
    "sourcehansans",
    "wqymicrohei",
    "wqyzenhei",
    "wenquanyi",
    "droidsansfallback",
    "msyh",
    "simhei",
    "pingfang",
    "hiraginosans",
    "stheiti",
    "yugoth",
    "meiryo",
    "malgun",
    "applesdgothicneo",
    "nanumgothic",
    "ipaexg",
    "takaogothic",
    "notoserifcjk",
    "arialuni",
    "unifont",
)
"""Beginnings of the file names of fonts for Chinese, Japanese and Korean, in the order in which they are tried."""
_COMPLEX = (
    (0x0590, 0x109F),
    (0x1780, 0x18AF),
    (0x1900, 0x1CFF),
    (0xA800, 0xABFF),
    (0xFB1D, 0xFDFF),
    (0xFE70, 0xFEFE),
    (0x10800, 0x11FFF),
    (0x1E800, 0x1EEFF),
)
"""Ranges of code points whose scripts need Raqm: from right to left, or with joining or reordered letters."""
_INVISIBLE = re.compile("[\n\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
"""Characters that are not drawn, so that a font need not have them."""


def font_for(text: str, names: Sequence[str | Path] = ()) -> Path:
    """The first font that has all characters of a text.

    Args:
        text: The text, as `normalized` returns it.
        names: Paths of font files, or names of fonts such as ``DejaVu Serif``, in the order in which they are tried. The
            default font follows, and for Chinese, Japanese and Korean then installed fonts.

    Raises:
        DataError: No font has all characters, or a font that was named does not exist.
        BackendError: The text needs Raqm, and Pillow was built without it.
    """
    check_layout(text)
    wanted = {ord(character) for character in _INVISIBLE.sub("", text) if character != " "}
    tried = [find(name) for name in (*names, DEFAULT)]
    for path in tried:
        if wanted <= characters(path):
            return path

    missing = sorted(wanted - characters(tried[0]))
    for path in _installed():
        if wanted <= characters(path):
            return path

    character = chr(missing[0])
    raise DataError(
        f"the text {text[:40]!r} contains {character!r} (U+{missing[0]:04X} "
        f"{unicodedata.name(character, 'without a name')}), which is missing in the font "
        f"{' and in '.join(dict.fromkeys(path.name for path in tried))}. Name a font that has it, such as "
        "font=NotoSansCJK-Regular.ttc for Chinese."
    )


def normalized(text: str) -> str:
    """The text in Unicode's normal form C, in which letters and their accents are one character where possible."""
    return unicodedata.normalize("NFC", text)


def is_complex(text: str) -> bool:
    """Whether a text must be laid out by Raqm."""
    return any(_is_complex(character) for character in text)


def is_right_to_left(text: str) -> bool:
    """Whether the first letter of a text belongs to a script that runs from right to left."""
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((found in ("R", "AL") for found in directions if found in ("L", "R", "AL")), False)


def check_layout(text: str, *, has_raqm: bool | None = None) -> None:
    """Refuses a text that this installation of Pillow cannot lay out.

    Args:
        text: The text.
        has_raqm: Whether Pillow has Raqm; None asks Pillow.

    Raises:
        BackendError: The text needs Raqm, and Pillow was built without it.
    """
    found = next((character for character in text if _is_complex(character)), None)
    if found is None:
        return
    if not (_has_raqm() if has_raqm is None else has_raqm):
        name = unicodedata.name(found, f"U+{ord(found):04X}")
        raise BackendError(
            f"the text {text[:40]!r} contains {found!r} ({name}), whose script Pillow can only lay out with Raqm, and this "
            "Pillow was built without it. Install Pillow from PyPI (its wheels have Raqm), or install libraqm."
        )


@lru_cache(maxsize=512)
def sized(path: Path, size: int, *, complex_layout: bool) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels."""
    engine = ImageFont.Layout.RAQM if complex_layout else ImageFont.Layout.BASIC
    return ImageFont.truetype(str(path), size, layout_engine=engine)


@lru_cache(maxsize=64)
def find(name: str | Path) -> Path:
    """The file of a font, given by its path or by its name.

    Raises:
        DataError: There is no such file or font.
    """
    if isinstance(name, Path) or name.lower().endswith(SUFFIXES):
        path = Path(name)
        if path.is_file():
            return path
        found = [one for one in _system_fonts() if one.name.lower() == path.name.lower()]
        if found and path.name == str(path):
            return found[0]
        raise DataError(f"font {str(name)!r}: file not found; give the path of a .ttf, .otf or .ttc file.")

    own = _packaged()
    plain = _plain(name)
    if plain in own:
        return own[plain]
    matching = [path for path in _system_fonts() if _plain(path.stem) in (plain, f"{plain}regular")]
    if matching:
        return matching[0]
    raise DataError(
        f"font {name!r} is not installed; give the path of its file, or one of: "
        f"{', '.join(sorted(path.stem for path in own.values()))}."
    )


@lru_cache(maxsize=64)
def characters(path: Path) -> frozenset[int]:
    """Code points of all characters in a font file; for a collection, those of its first font.

    Raises:
        DataError: The file is not a font.
    """
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with path.open("rb") as stream, TTFont(stream, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, AssertionError) as error:
        raise DataError(f"font {str(path)!r}: cannot be read as a font ({error}).") from None


def _is_complex(character: str) -> bool:
    code = ord(character)
    if code < 0x0300:
        return False
    if unicodedata.category(character) in ("Mn", "Mc"):  # an accent that has no composed letter
        return not 0xFE00 <= code <= 0xFE0F
    return any(first <= code <= last for first, last in _COMPLEX)


@lru_cache(maxsize=1)
def _has_raqm() -> bool:
    return bool(features.check("raqm"))


@lru_cache(maxsize=1)
def _packaged() -> dict[str, Path]:
    """The DejaVu fonts in matplotlib, by name in small letters without spaces."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return {_plain(path.stem): path for path in sorted(folder.glob("DejaVu*.ttf"))}


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    """The font files of the system."""
    from matplotlib import font_manager

    return tuple(sorted(path for path in map(Path, font_manager.findSystemFonts()) if _is_font(path)))


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Installed fonts for Chinese, Japanese and Korean."""
    found = []
    for start in _INSTALLED:
        found += [path for path in _system_fonts() if _plain(path.stem).startswith(start)]
    return tuple(dict.fromkeys(found))


def _is_font(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def check_fonts(names: Iterable[str | Path]) -> None:
    """Checks that fonts exist and can be read.

    Raises:
        DataError: A font does not exist, or its file is not a font.
    """
    for name in names:
        characters(find(name))
