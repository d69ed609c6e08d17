"""The plain-text form of regions: what it looks like, that it is read back exactly, and what is reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightweave.core.errors import DataError
from sightweave.core.text_regions import (
    ParsedRegions,
    TextRegion,
    format_regions,
    parse_regions,
    read_regions,
)

BOX = (0.12, 0.045, 0.31, 0.08)


def test_the_form_is_short_and_leaves_out_defaults() -> None:
    styled = TextRegion(
        "Ausgang", BOX, angle=-12, ink=(255, 255, 255), ground=(0, 48, 96), align="left", source="Exit"
    )
    corners = TextRegion.of_corners("zwei\nZeilen", [(0.1, 0.2), (0.5, 0.1), (0.6, 0.4), (0.2, 0.5)])
    assert format_regions([TextRegion("Ausgang", BOX), styled, corners]).split("\n") == [
        "[120 45 310 80] Ausgang",
        "[120 45 310 80 angle=-12 ink=#ffffff ground=#003060 align=left] Exit => Ausgang",
        r"[100 200 500 100 600 400 200 500] zwei\nZeilen",
    ]
    assert corners.box == (0.1, 0.1, 0.6, 0.5)


thousandths = st.integers(0, 1000)
edges = st.tuples(thousandths, thousandths).filter(lambda pair: pair[0] < pair[1])
colors = st.none() | st.tuples(*[st.integers(0, 255)] * 3)
words = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufffd"), max_size=12
)
texts = st.lists(words, min_size=1, max_size=3).map(lambda lines: "\n".join(line.strip() for line in lines))


@given(
    across=edges,
    down=edges,
    angle=st.integers(-1800, 1800).map(lambda tenths: tenths / 10),
    ink=colors,
    ground=colors,
    align=st.sampled_from(["left", "center", "right"]),
    text=texts.filter(lambda text: text.strip()) | st.sampled_from(["a => b", r"\n", "=>", "\\", "a\n=> b"]),
    source=texts | st.sampled_from(["=>", " => x".strip(), "\\=>"]),
)
def test_a_formatted_region_is_read_back_exactly(
    across, down, angle, ink, ground, align, text, source
) -> None:  # type: ignore[no-untyped-def]
    box = (across[0] / 1000, down[0] / 1000, across[1] / 1000, down[1] / 1000)
    region = TextRegion(text.strip(), box, angle, ink, ground, align, source.strip())
    assert parse_regions(format_regions([region])) == ParsedRegions((region,))


def test_corners_are_read_back_exactly() -> None:
    region = TextRegion.of_corners("a", [(0.1, 0.2), (0.5, 0.1), (0.6, 0.4), (0.2, 0.5)], ink=(1, 2, 3))
    assert read_regions(format_regions([region]), "r") == (region,)


@given(st.text("[]=>#\\ \n0123456789angleik-.,é", max_size=60))
def test_no_answer_of_a_model_raises_an_error(answer: str) -> None:
    found = parse_regions(answer)
    lines = [line for line in answer.split("\n") if line.lstrip().startswith("[")]
    assert len(found.regions) + len(found.faults) == len(lines)


def test_one_bad_region_does_not_cost_the_others() -> None:
    found = parse_regions("It says:\n[0 0 500 100] one\n[0 0 500] two\n[0 900 500 1000]  three \n[1 2 3\n")
    assert [region.text for region in found.regions] == ["one", "three"]
    assert found.rest == "It says:"
    assert len(found.faults) == 2
    assert found.faults[0].startswith("line 3: [0 0 500] has 3 numbers")
    assert found.faults[1].startswith("line 5: '[1 2 3' has no closing bracket")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[0 0 500 100]", "no text"),
        ("[0 0 500 100] source => ", "no text"),
        ("[0 0 1310 100] a", "1310 is outside the image; coordinates are thousandths, 0 to 1000"),
        ("[500 0 100 100] a", "is empty; give left < right"),
        ("[0 0 50.5 100] a", "'50.5' is not a whole number"),
        ("[0 0 5 9 angle=x] a", "the angle 'x' is not a number"),
        ("[0 0 5 9 angle=181] a", "not between -180 and 180"),
        ("[0 0 5 9 ink=white] a", "ink 'white' is not a colour such as #ffcc00"),
        ("[0 0 5 9 inks=#ffffff] a", "unknown field 'inks'. Did you mean 'ink'"),
        ("[0 0 5 9 ink=#ffffff ink=#000000] a", "'ink' is given twice"),
        ("[0 0 5 9 align=middle] a", "unknown alignment 'middle'"),
        ("[0 0 5 9] a\ufffd", "U\\+FFFD, which cannot be drawn"),
        ("[0 0 9 0 9 9 0 9 angle=3] a", "four corners and an angle"),
        ("[0 0 0 9 9 9 9 0] a", "do not go clockwise"),
        ("[0 0 9 9 9 0 0 9] a", "do not go clockwise"),
        ("hello", "'hello' is not a region; write each as"),
        ("", "no region; write each as"),
    ],
)
def test_a_fault_says_what_is_wrong(line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_regions(line, "record 'r'")


def test_pixels_become_fractions() -> None:
    region = TextRegion.of_pixels("a", (12, 10, 36, 20), (48, 40), angle=3, ink=(0, 0, 0))
    assert region.box == (0.25, 0.25, 0.75, 0.5)
    assert region.angle == 3
    with pytest.raises(DataError, match=r"\(12, 10, 49, 20\) is not inside the image of 48 x 40 pixels"):
        TextRegion.of_pixels("a", (12, 10, 49, 20), (48, 40))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"box": (0.0, 0.0, float("nan"), 1.0)}, "reaches outside"),
        ({"angle": float("inf")}, "not between"),
        ({"ink": (0, 0, 256)}, "not a colour of three values"),
        ({"text": "a\x07"}, r"U\+0007"),
        ({"corners": ((0.0, 0.0), (2.0, 0.0), (1.0, 1.0), (0.0, 1.0))}, "reach outside"),
    ],
)
def test_an_invalid_region_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextRegion(**{"text": "a", "box": BOX, **fields})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="3 corners; give four"):
        TextRegion.of_corners("a", [(0, 0), (1, 0), (1, 1)])
