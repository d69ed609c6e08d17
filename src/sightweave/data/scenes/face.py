"""A bitmap face for the signs of scenes: Latin letters in two weights, with the accents of English, German and French.

All letters of a weight have the same cell, so text has a fixed width. A cell has 12 rows: capital accents in rows 0 to 1,
capitals and digits in rows 3 to 9, small letters in rows 5 to 9, and descenders in rows 10 to 11. The last column is empty,
which separates letters.

The drawings below are the regular weight. The bold weight adds a second column to each stroke, except for the letters in
`_BOLD`, whose counters would close. Letters with accents are composed of a letter and a mark.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from sightweave.core.errors import DataError, did_you_mean

FACE = "sightweave"
"""Name of the face in messages."""
WEIGHTS = ("regular", "bold")
CELL_HEIGHT = 12
"""Rows of a cell, including the space for accents and descenders."""
CELL_WIDTHS = {"regular": 6, "bold": 7}
"""Columns of a cell by weight, including the empty one."""
_WIDTH = 5

# Each block starts with its characters and the row of its first line; the characters' drawings are side by side.
_DRAWINGS = """
3 ABCDEFGHIJKLM
.###. ####. .###. ####. ##### ##### .###. #...# .###. ..### #...# #.... #...#
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.##
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.#
##### ####. #.... #...# ####. ####. #..## ##### ..#.. ...#. ##... #.... #.#.#
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...#
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...#
#...# ####. .###. ####. ##### #.... .###. #...# .###. .##.. #...# ##### #...#

3 NOPQRSTUVWXYZ
#...# .###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# #####
##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....#
##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.
#.#.# #...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..
#..## #...# #.... #...# #.#.. ....# ..#.. #...# .#.#. #.#.# .#.#. ..#.. .#...
#..## #...# #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #....
#...# .###. #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. #####

3 0123456789
.##.. ..#.. .###. ####. ...#. ##### ..##. ##### .###. .###.
#..#. .##.. #...# ....# ..##. #.... .#... ....# #...# #...#
#..#. ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#..#. ..#.. ..##. .###. #..#. ....# ####. ...#. .###. .####
#..#. ..#.. .#... ....# ##### ....# #...# ..#.. #...# ....#
#..#. ..#.. #.... ....# ...#. #...# #...# ..#.. #...# ...#.
.##.. .###. ##### ####. ...#. .###. .###. ..#.. .###. .##..

3 abcdefghijklm
..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. .....
..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... ..#.. .....
.###. ####. .#### .#### .###. ####. .#### ####. .##.. ..##. #..#. ..#.. ##.#.
....# #...# #.... #...# #...# .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.#
.#### #...# #.... #...# ##### .#... #...# #...# ..#.. ...#. ##... ..#.. #.#.#
#...# #...# #.... #...# #.... .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.#
.#### ####. .#### .#### .###. .#... .#### #...# .###. ...#. #..#. ..##. #.#.#
..... ..... ..... ..... ..... ..... ....# ..... ..... #..#. ..... ..... .....
..... ..... ..... ..... ..... ..... .###. ..... ..... .##.. ..... ..... .....

3 nopqrstuvwxyz
..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... .#... ..... ..... ..... ..... ..... .....
####. .###. ####. .#### #.##. .#### ####. #...# #...# #...# #...# #...# #####
#...# #...# #...# #...# ##... #.... .#... #...# #...# #...# .#.#. #...# ...#.
#...# #...# #...# #...# #.... .###. .#... #...# .#.#. #.#.# ..#.. #...# ..#..
#...# #...# #...# #...# #.... ....# .#... #...# .#.#. #.#.# .#.#. #...# .#...
#...# .###. ####. .#### #.... ####. ..##. .#### ..#.. .#.#. #...# .#### #####
..... ..... #.... ....# ..... ..... ..... ..... ..... ..... ..... ....# .....
..... ..... #.... ....# ..... ..... ..... ..... ..... ..... ..... .###. .....

3 ßœæŒÆı
.##.. ..... ..... .#### .#### .....
#..#. ..... ..... #.#.. #.#.. .....
#..#. .#.#. ##.#. #.#.. #.#.. .##..
#.#.. #.#.# ..#.# #.##. ####. ..#..
#..#. #.### .#### #.#.. #.#.. ..#..
#..#. #.#.. #.#.. #.#.. #.#.. ..#..
#.#.. .#.## .#.## .#### #.### .###.

3 .,:;!?'"-/()&+=%€
..... ..... ..... ..... ..#.. .###. ..#.. .#.#. ..... ....# ...#. .#... .##.. ..... ..... ##..# ..##.
..... ..... ..... ..... ..#.. #...# ..#.. .#.#. ..... ....# ..#.. ..#.. #..#. ..#.. ..... ##..# .#..#
..... ..... .##.. .##.. ..#.. ....# .#... ..... ..... ...#. ..#.. ..#.. #.#.. ..#.. ##### ...#. ###..
..... ..... .##.. .##.. ..#.. ..##. ..... ..... .###. ..#.. ..#.. ..#.. .#... ##### ..... ..#.. .#...
..... ..... ..... ..... ..#.. ..#.. ..... ..... ..... .#... ..#.. ..#.. #.#.# ..#.. ##### .#... ###..
.##.. .##.. .##.. .##.. ..... ..... ..... ..... ..... #.... ..#.. ..#.. #..#. ..#.. ..... #..## .#..#
.##.. .##.. .##.. .##.. ..#.. ..#.. ..... ..... ..... #.... ...#. .#... .##.# ..... ..... #..## ..##.
..... ..#.. ..... ..#.. ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... .#... ..... .#... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
"""
# Bold drawings of the letters that cannot be made from the regular ones.
_BOLD = """
3 MWNmwœæŒÆ%"
##..## ##..## ##..## ...... ...... ...... ...... .##### .##### ##..## ##.##.
###### ##..## ###.## ...... ...... ...... ...... ##.#.. ##.#.. ##..#. ##.##.
##.#.# ##..## ###.## #####. ##..## .####. #####. ##.#.. ##.#.. ...##. ......
##.#.# ##.#.# ###### ##.#.# ##.#.# ##.#.# ..##.# ##.##. #####. ..##.. ......
##..## ##.#.# ##.### ##.#.# ##.#.# ##.### .##### ##.#.. ##.#.. .##... ......
##..## ###### ##.### ##.#.# ##.#.# ##.#.. ##.#.. ##.#.. ##.#.. #..##. ......
##..## ##..## ##..## ##.#.# .####. .##### .##### .##### ##.### ...##. ......
"""
_MARKS = """
# Unicode's names of the marks, and their two rows from the top.
0300 .#... ..#..
0301 ...#. ..#..
0302 ..#.. .#.#.
0308 .#.#. .....
"""
_DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"
_CEDILLA = ("..#..", ".##..")
_BOLD_MARKS = {"0302": ("..##..", ".#..#."), "0308": ("##..##", "......")}
_ACCENTED = "ÀÂÄÇÈÉÊËÎÏÔÖÙÛÜŸàâäçèéêëîïôöùûüÿ"


def _read(drawings: str, width: int) -> dict[str, NDArray[np.bool_]]:
    """The cells of the characters in a table of drawings, ``12 x width`` each."""
    found = {}
    for block in drawings.strip().split("\n\n"):
        head, *rows = block.splitlines()
        first, characters = head.split(" ")
        for number, character in enumerate(characters):
            cell = np.zeros((CELL_HEIGHT, width), bool)
            for row, line in enumerate(rows, start=int(first)):
                drawn = line.split(" ")[number]
                cell[row, : len(drawn)] = [dot == "#" for dot in drawn]
            found[character] = cell
    return found


def _marks() -> dict[str, tuple[str, str]]:
    found = {}
    for line in _MARKS.strip().splitlines()[1:]:
        code, upper, lower = line.split(" ")
        found[code] = (upper, lower)
    return found


@cache
def _cells(weight: str) -> dict[str, NDArray[np.bool_]]:
    """The cell of every character of a weight."""
    width = CELL_WIDTHS[weight]
    cells = _read(_DRAWINGS, width)
    if weight == "bold":
        for cell in cells.values():
            cell[:, 1:] |= cell[:, :-1].copy()
        cells.update(_read(_BOLD, width))

    for character in _ACCENTED:
        cells[character] = _accented(character, cells, weight)
    del cells[_DOTLESS_I]
    cells[" "] = np.zeros((CELL_HEIGHT, width), bool)
    for cell in cells.values():
        cell.flags.writeable = False
    return cells


def _accented(character: str, cells: dict[str, NDArray[np.bool_]], weight: str) -> NDArray[np.bool_]:
    """The cell of a letter with an accent, composed of the letter and the mark."""
    letter, mark = tuple(unicodedata.normalize("NFD", character))
    cell = cells[_DOTLESS_I if letter == "i" else letter].copy()
    code = f"{ord(mark):04x}"
    if code == "0327":
        first, rows = CELL_HEIGHT - 2, _CEDILLA
    else:
        first = 0 if letter.isupper() else 2
        rows = _marks()[code]
        if weight == "bold":
            rows = _BOLD_MARKS.get(code, rows)

    for row, line in enumerate(rows, start=first):
        dots = np.array([dot == "#" for dot in line])
        cell[row, : len(dots)] |= dots
        if weight == "bold" and len(dots) == _WIDTH:
            cell[row, 1 : len(dots) + 1] |= dots
    return cell


CHARACTERS = tuple(sorted(_cells("regular")))
"""All characters of the face, including the space."""


def glyph(character: str, weight: str = "regular") -> Bool[np.ndarray, "12 w"]:
    """The cell of a character, bool ``12 x 6`` (regular) or ``12 x 7`` (bold); true where there is ink. Not writeable.

    Raises:
        DataError: The face has no such character, or no such weight.
    """
    if weight not in WEIGHTS:
        raise DataError(f"the face {FACE!r} has no weight {weight!r}. {did_you_mean(weight, WEIGHTS)}")
    cell = _cells(weight).get(character)
    if cell is None:
        raise DataError(
            f"the face {FACE!r} has no glyph for {character!r} (U+{ord(character[:1] or ' '):04X}); it has "
            "Latin letters with the accents of German and French, digits and basic punctuation."
        )
    return cell


def missing(text: str) -> tuple[str, ...]:
    """The characters of a text that the face does not have, without line feeds and duplicates."""
    known = {*CHARACTERS, "\n"}
    return tuple(dict.fromkeys(character for character in text if character not in known))


def text_bitmap(text: str, weight: str = "regular") -> Bool[np.ndarray, "h w"]:
    """The bitmap of a text with centred lines: ``12 x`` the number of lines, by the width of the longest line in cells.

    A shorter line is moved to the left by half a dot if it cannot be exactly in the middle.

    Raises:
        DataError: The text is empty, or the face has no such weight or no glyph for a character.
    """
    lines = text.split("\n")
    columns = max(len(line) for line in lines)
    if not columns:
        raise DataError("there is no text to draw; give at least one character.")

    width = CELL_WIDTHS.get(weight, 0)
    bitmap = np.zeros((CELL_HEIGHT * len(lines), width * columns), bool)
    for number, line in enumerate(lines):
        left = (columns - len(line)) * width // 2
        rows = slice(number * CELL_HEIGHT, (number + 1) * CELL_HEIGHT)
        for place, character in enumerate(line):
            start = left + place * width
            bitmap[rows, start : start + width] = glyph(character, weight)
    return bitmap
