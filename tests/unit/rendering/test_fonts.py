"""A font with all characters is found, or an error names the character and the font."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightweave.core.errors import BackendError, DataError
from sightweave.rendering import fonts


@pytest.mark.parametrize("text", ["Straße", "Ελλάδα", "Привет", "شكرا", "שלום", "a\nb", "x\u200by"])
def test_the_default_font_has_many_alphabets(text: str) -> None:
    assert fonts.font_for(text).name == "DejaVuSans.ttf"


def test_a_missing_character_is_named_with_its_font() -> None:
    private = "\U000f1234"
    with pytest.raises(DataError, match=r"U\+F1234") as caught:
        fonts.font_for(f"price {private}", ["DejaVu Serif"])
    assert "DejaVuSerif.ttf and in DejaVuSans.ttf" in str(caught.value)
    assert "Name a font that has it" in str(caught.value)


def test_fonts_are_tried_in_turn() -> None:
    assert fonts.font_for("Exit", ["DejaVu Serif", "DejaVu Sans"]).name == "DejaVuSerif.ttf"
    # The serif font has no Arabic letters.
    assert fonts.font_for("خروج", ["DejaVu Serif", "DejaVu Sans Bold"]).name == "DejaVuSans-Bold.ttf"


def test_a_font_is_found_by_its_name_or_its_path(tmp_path: Path) -> None:
    bold = fonts.find("dejavu sans bold")
    assert bold.name == "DejaVuSans-Bold.ttf"
    assert fonts.find(bold) == fonts.find(str(bold)) == bold
    with pytest.raises(
        DataError, match="'No Such Face' is not installed; give the path of its file, or one of: DejaVu"
    ):
        fonts.find("No Such Face")
    with pytest.raises(DataError, match="file not found"):
        fonts.find(tmp_path / "none.ttf")
    (tmp_path / "not.ttf").write_bytes(b"nothing of a font")
    with pytest.raises(DataError, match="cannot be read as a font"):
        fonts.characters(tmp_path / "not.ttf")
    with pytest.raises(DataError, match="cannot be read as a font"):
        fonts.check_fonts([tmp_path / "not.ttf"])


def test_scripts_that_need_raqm() -> None:
    assert not fonts.is_complex("Größe Ελλάδα Привет 出口 \u201cq\u201d")
    for text in ("خروج", "שלום", "नमस्ते", "ทางออก", "x\u0323\u0324"):
        assert fonts.is_complex(text), text
        with pytest.raises(BackendError, match=r"built without it\. Install Pillow from PyPI"):
            fonts.check_layout(text, has_raqm=False)
    fonts.check_layout("Größe 出口", has_raqm=False)


def test_accents_are_composed_before_they_are_looked_up() -> None:
    assert fonts.normalized("e\u0301") == "\u00e9"
    assert not fonts.is_complex(fonts.normalized("cafe\u0301"))


def test_directions() -> None:
    assert fonts.is_right_to_left("12 שלום")
    assert not fonts.is_right_to_left("Exit שלום")
    assert not fonts.is_right_to_left("12")
