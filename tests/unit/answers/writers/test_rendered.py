"""The writer that draws: regions from the answer, and the image with their texts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightweave.answers.scoring.sign_reader import read_sign
from sightweave.answers.writers import rendered, text
from sightweave.core.errors import DataError, MediaError
from sightweave.core.text_regions import TextRegion, format_regions
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.data.scenes.lettering import draw_signs, region_of
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.rendering.render import render

TOKENIZER = Tokenizer.train(["[100 200 900 800] Exit => Tor"] * 2, vocab_size=300)
WRITER = rendered.Config().build(tokenizer=TOKENIZER)
GROUND = (240, 230, 60)
SIGN = Image.new("P", (160, 60), 0)
SIGN.putpalette([*GROUND, 10, 20, 120])
SIGN.paste(1, (40, 20, 120, 40))


def ask(answer: str, *media: Any, writer: rendered.RenderedWriter = WRITER) -> Prediction:
    ids = [*TOKENIZER.encode(answer), TOKENIZER.end_id]
    parts = [Part("user", Medium(one, key=f"m{number}")) for number, one in enumerate(media)]
    sample = Sample("s", "vqa", (*parts, Part("user", "Translate.")))
    return writer.complete(writer.write(ids, -1.0), sample)


def test_an_answer_has_text_regions_and_an_image_in_its_own_mode() -> None:
    answer = ask("[100 200 900 800] Exit => Tor", SIGN)
    region = TextRegion("Tor", (0.1, 0.2, 0.9, 0.8), source="Exit")
    assert answer.text == "[100 200 900 800] Exit => Tor"
    assert answer.regions == (region,)
    assert answer.extra == {}
    assert answer.picture is not None
    assert answer.picture.mode == "P"
    assert answer.picture.tobytes() == render(SIGN, [region]).picture.tobytes() != SIGN.tobytes()
    assert answer.rendered().faults == ()
    assert "regions=1" in repr(answer)


def test_everything_but_the_regions_is_as_from_the_text_writer() -> None:
    ids = [*TOKENIZER.encode("[1 2 3 4] a"), TOKENIZER.end_id]
    plain = text.Config().build(tokenizer=TOKENIZER).write(ids, -2.0)
    assert WRITER.write(ids, -2.0) == plain
    assert ask("[1 2 3 4] a", SIGN) == ask("[1 2 3 4] a")
    stream = WRITER.pieces()
    assert "".join([*(stream.push(index) for index in ids[:-1]), stream.close()]) == plain.text


def test_bad_regions_are_listed_and_the_others_are_drawn() -> None:
    lines = [
        "[100 100 900 500] Tor",
        "[0 0 5] a",
        "[0 900 20 1000] far too long a text",
        "[0 0 500 500] \U000f1234",
    ]
    answer = ask("\n".join(lines), np.full((60, 160, 3), 200, np.uint8))
    assert [region.text for region in answer.regions] == ["Tor", "far too long a text", "\U000f1234"]
    assert answer.extra == {"faults": ["line 2: " + answer.extra["faults"][0].removeprefix("line 2: ")]}
    done = answer.rendered()
    assert len(done.faults) == 3
    assert done.faults[0] == answer.extra["faults"][0]
    assert "'far too long a text' does not fit into its box (0.0, 0.9, 0.02, 1.0)" in done.faults[1]
    assert "U+F1234" in done.faults[2]
    changed = (np.asarray(done.picture) != 200).any(2)
    assert changed[6:30, 16:144].any()
    changed[6:30, 16:144] = False
    assert not changed.any()


def test_without_an_image_there_is_nothing_to_draw() -> None:
    answer = ask("[100 200 900 800] Tor")
    assert answer.picture is None
    assert len(answer.regions) == 1
    with pytest.raises(
        DataError, match="has no image: answer a prompt with an image, and with writer='rendered'"
    ):
        answer.rendered()
    assert Prediction("a").picture is None


def test_an_answer_without_regions_leaves_the_image_as_it_is() -> None:
    answer = ask("There are no words in it.", SIGN)
    assert answer.regions == ()
    assert answer.picture is not None
    assert answer.picture.tobytes() == SIGN.tobytes()


def test_the_first_image_is_drawn_on() -> None:
    answer = ask("[100 200 900 800] Tor", SIGN, Image.new("L", (10, 10)))
    assert answer.picture is not None
    assert answer.picture.size == SIGN.size


def test_an_unreadable_image_is_an_error_when_it_is_drawn() -> None:
    answer = ask("[100 200 900 800] Tor", b"nothing of an image")
    with pytest.raises(MediaError, match="image 'm0'"):
        answer.rendered()


def test_fonts_are_checked_at_once_and_sizes_are_used() -> None:
    with pytest.raises(DataError, match="'No Such Face' is not installed"):
        rendered.Config(font="No Such Face").build(tokenizer=TOKENIZER)
    serif = rendered.Config(font="DejaVu Serif").build(tokenizer=TOKENIZER)
    first, second = (ask("[100 200 900 800] Tor", SIGN, writer=one).picture for one in (WRITER, serif))
    assert first is not None
    assert second is not None
    assert first.tobytes() != second.tobytes()
    strict = rendered.Config(min_size=50).build(tokenizer=TOKENIZER)
    assert (
        "minimum font size of 50 pixels"
        in ask("[100 200 900 800] Tor", SIGN, writer=strict).rendered().faults[0]
    )


@pytest.mark.parametrize(("words", "angle"), [("Ufer", 0), ("Grüße", 6), ("night bat", -8)])
def test_words_in_our_own_face_are_read_back_from_the_pixels(words: str, angle: int) -> None:
    sign = Sign(
        *("old words", "en", "bold", UNIT, "white", "blue"),
        x=64 * UNIT, y=40 * UNIT, width=96 * UNIT, height=40 * UNIT, angle=angle,
    )  # fmt: skip
    y, x = np.mgrid[:80, :128]
    pixels = draw_signs(np.stack([120 + x // 2, 200 - y, 90 + y // 2], 2).astype(np.uint8), (sign,))
    old = region_of(sign, (128, 80))
    # The answer has no colours, so they are estimated, although the sign has a frame in the colour of its letters.
    answer = format_regions([TextRegion(words, old.box, old.angle)])
    # The reader knows letters of up to 24 pixels.
    own = rendered.Config(font="sightweave", max_size=24).build(tokenizer=TOKENIZER)
    picture = ask(answer, pixels, writer=own).picture
    assert picture is not None
    assert read_sign(np.asarray(picture), old).text.split() == words.split()
    assert read_sign(pixels, old).text.split() == ["old", "words"]


def test_our_own_face_has_three_kinds() -> None:
    assert (
        rendered.Config(font="sightweave bold").build(tokenizer=TOKENIZER).completer.typeface.face == "bold"
    )  # type: ignore[attr-defined]  # of this kind
    with pytest.raises(DataError, match="no face 'heavy'"):
        rendered.Config(font="sightweave heavy").build(tokenizer=TOKENIZER)


def test_a_prediction_with_an_image_can_be_copied_and_pickled() -> None:
    answer = ask("[100 200 900 800] Tor", np.full((60, 160, 3), 200, np.uint8))
    for other in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert other.picture is not None
        assert answer.picture is not None
        assert other.picture.tobytes() == answer.picture.tobytes()
