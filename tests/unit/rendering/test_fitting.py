"""Texts are as large as their boxes allow, break where their language allows, and align."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.rendering.fitting import fit, pieces
from sightweave.rendering.fonts import find

FONT = find("DejaVu Sans")


def inked(text: str, width: int, height: int, **options: object) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the drawn pixels."""
    coverage = np.asarray(fit(text, width, height, font=FONT, **options).draw())  # type: ignore[arg-type]
    assert coverage.shape == (height, width)
    columns, rows = coverage.any(0).nonzero()[0], coverage.any(1).nonzero()[0]
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize("text", ["Exit", "Ausgang zum Hafen", "Ågöy ÉÀ"])
@pytest.mark.parametrize(("width", "height"), [(200, 40), (90, 90), (300, 24), (40, 60)])
def test_a_text_fills_its_box_and_no_larger_size_fits(text: str, width: int, height: int) -> None:
    fitted = fit(text, width, height, font=FONT, min_size=4)
    assert " ".join(line.text for line in fitted.lines) == text
    left, top, right, bottom = inked(text, width, height, min_size=4)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    with pytest.raises(DataError, match="does not fit"):
        fit(text, width, height, font=FONT, min_size=fitted.size + 1)


def test_letters_are_not_cut_at_the_edges_of_the_box() -> None:
    fitted = fit("Fjord", 120, 30, font=FONT)
    wide = fit("Fjord", 1200, 300, font=FONT, max_size=fitted.size)
    assert np.asarray(fitted.draw()).sum() == np.asarray(wide.draw()).sum()


def test_lines_are_broken_where_that_makes_the_text_larger() -> None:
    assert len(fit("one two three four", 400, 30, font=FONT).lines) == 1
    assert len(fit("one two three four", 80, 120, font=FONT).lines) >= 3
    kept = fit("one\ntwo", 400, 60, font=FONT)
    assert [line.text for line in kept.lines] == ["one", "two"]
    assert kept.lines[1].y > kept.lines[0].y


def test_small_letters_are_as_large_as_capitals() -> None:
    sizes = [fit(text, 400, 30, font=FONT).size for text in ("see", "See", "H")]
    assert max(sizes) - min(sizes) <= 1


def test_alignment() -> None:
    edges = {align: inked("Hi", 200, 20, align=align) for align in ("left", "center", "right")}
    assert edges["left"][0] <= 3
    assert edges["right"][2] >= 197
    left, _, right, _ = edges["center"]
    assert abs((left + right) / 2 - 100) <= 2


def test_sizes_are_limited() -> None:
    assert fit("Hi", 400, 100, font=FONT, max_size=12).size == 12
    with pytest.raises(DataError, match=r"'far too long'.*30 x 6 pixels.*minimum font size of 8 pixels"):
        fit("far too long", 30, 6, font=FONT)


def test_what_stays_together() -> None:
    assert [piece for piece, _ in pieces("Hin- und E-Mail-Adresse 3-4")] == [
        "Hin-", "und", "E-", "Mail-", "Adresse", "3-4"
    ]  # fmt: skip
    assert [piece for piece, _ in pieces("出口。请走「这边」、 OK")] == [
        "出", "口。", "请", "走", "「这", "边」、", "OK"
    ]  # fmt: skip
    assert [has_space for _, has_space in pieces("a b-c 出口")] == [False, True, False, True, False]
    assert "".join(piece for piece, _ in pieces("-5 % (a-b) -- x-1-y\u00a0z")) == "-5%(a-b)--x-1-yz"
