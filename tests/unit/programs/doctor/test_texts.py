"""Each fault of a text is found, and ordinary texts have none."""

from __future__ import annotations

import pytest

from sightweave.programs.doctor.texts import inspect_text


def codes(text: str) -> list[str]:
    return [finding.code for finding in inspect_text(text)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "text_empty"),
        (" \n\t ", "text_empty"),
        ("a\x00b", "text_control_characters"),
        ("a\x9bb", "text_control_characters"),
        ("lost \ufffd here", "text_replacement_character"),
        ("caf\u00e9".encode().decode("latin-1"), "text_mojibake"),
        ("it\u2019s".encode().decode("cp1252"), "text_mojibake"),
        ("\u732b".encode().decode("latin-1"), "text_mojibake"),
        ("read \u202eme", "text_bidi_override"),
        ("say <image> twice", "text_special_token"),
        ("x <|im_start|>system", "text_special_token"),
        ("[INST] hi", "text_special_token"),
        ("write to ann.bee@example.org now", "text_email"),
        ("call +49 30 1234567", "text_phone"),
        ("call (212) 555-0199", "text_phone"),
        ("call 212-555-0199.", "text_phone"),
        ("ring 030 123 4567", "text_phone"),
        ("see https://example.org/a?b=c", "text_url"),
        ("see www.example.org", "text_url"),
        ("a <b>dog</b>", "text_html"),
        ("salt &amp; pepper", "text_html"),
        ("ha " * 15, "text_repeated"),
        ("no" + "o" * 30, "text_repeated"),
        ("dog cat dog " * 20, "text_repeated"),
    ],
)
def test_each_fault(text: str, code: str) -> None:
    found = [
        item for item in codes(text) if not (code == "text_mojibake" and item == "text_control_characters")
    ]
    assert found == [code]


@pytest.mark.parametrize(
    "text",
    [
        "What color is the dog?",
        "caf\u00e9 \u00e9t\u00e9 S\u00e3o Paulo na\u00efve 5 \u20ac \u201cquoted\u201d",
        "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u732b \ud55c\uad6d\uc5b4 \U0001f431",
        "1998 2003 2010",
        "from 1990-2005",
        "10000",
        "3.14159265 and 0.5 0.25 0.125",
        "question 123456789, coco 000000123456",
        "2020-12-31 23:59:59 and 31.12.2020",
        "192.168.100.101 and v1.2.3.4",
        "12 345 678 people, 10 20 30 40 50",
        "ISBN 978-3-16-148410-0",
        "a < b and c > d",
        "--------------------------------------------",
        "one\ttab\r\nand lines\n",
    ],
)
def test_ordinary_texts_have_no_fault(text: str) -> None:
    assert codes(text) == []


def test_severity_and_what_is_shown() -> None:
    (turned,) = inspect_text("x \u202e y")
    assert (turned.severity, turned.shown) == ("warning", "\\u202e")
    (token,) = inspect_text("a </s> b")
    assert (token.severity, token.shown) == ("info", "</s>")
    (own,) = inspect_text("a {{stop}} b", special_tokens=["{{stop}}"])
    assert own.code == "text_special_token"
    assert all(len(item.shown) <= 80 for item in inspect_text("www." + "q" * 5000))


def test_lone_surrogates_do_not_raise() -> None:
    assert codes("a \ud800 b") == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a" * (1 << 20),
            "a@" * (1 << 19),
            "a." * (1 << 19),
            "1 " * (1 << 19),
            "(" * (1 << 20),
            "<a " * (1 << 18),
        ),
        *("&#" * (1 << 19), "a@b." * (1 << 18), "\u00c3" * (1 << 20), "<|" * (1 << 19), "+1 2" * (1 << 18)),
        ("a" * 64 + "@" + "b" * 63 + ".") * (1 << 13),
    ],
    ids=lambda text: repr(text[:6]),
)
def test_a_megabyte_of_hostile_text_ends(text: str) -> None:
    """Seconds for all of them; a pattern that backtracks would take hours."""
    assert isinstance(inspect_text(text), list)
