"""A text is a path, a data URL or base64, and never an address that is fetched."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.data.inputs.text_pictures import picture_of


def file_of(kind: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((16, 16), 50).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_base64_is_recognised_in_every_spelling(kind: str) -> None:
    data = file_of(kind)
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for spelt in (text, lines, text.rstrip("="), base64.urlsafe_b64encode(data).decode()):
        assert picture_of(spelt) == data
        for head in (f"data:image/{kind.lower()};base64,", "DATA:;charset=x;base64,", "data:;base64,"):
            assert picture_of(head + spelt) == data


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.png", "a.png"),
        ("C:/pictures/a.png", "C:/pictures/a.png"),
        ("/9j/a.jpg", "/9j/a.jpg"),
        ("/9j/" + "a.b" * 40, "/9j/" + "a.b" * 40),
        ("file:///data/a%20b.png", "/data/a b.png"),
        ("file://localhost/data/a.png", "/data/a.png"),
        ("file:/data/a.png", "/data/a.png"),
    ],
)
def test_any_other_text_is_a_path(text: str, path: str) -> None:
    assert picture_of(text) == Path(path)
    assert picture_of(Path("x/a.png")) == Path("x/a.png")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/a.png",
        Path("http://example.com/a.png"),
        "HTTP://x/a",
        "s3://b/a.png",
        "ftp://x/a",
    ],
)
def test_an_address_says_that_nothing_is_fetched(address: str | Path) -> None:
    with pytest.raises(MediaError, match=r": URLs are not fetched; save the image and give its path\."):
        picture_of(address)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data:image/png;base64,!!!", "this data URL is invalid:"),
        ("data:image/png,xx", "it must start with data:image/png;base64,"),
        ("data:text/html;base64,AAAA", "it must start with data:image/png;base64,"),
        ("", "an empty string is not an image; give a path, or None for"),
        ("Qk0" + "A" * 100_000, "a string of 100,003 characters is neither a path"),
    ],
)
def test_what_is_no_picture_is_said_in_few_words(text: str, said: str) -> None:
    with pytest.raises(MediaError, match=said) as raised:
        picture_of(text)
    assert len(str(raised.value)) < 250
