"""Ids to texts and images, in order; malformed pictures are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sightweave.answers.writers.image_tokens import Config
from sightweave.core.errors import DataError
from sightweave.core.image_tokens import ImageTokens
from sightweave.core.types import Medium, Part, Prediction, Sample
from sightweave.data.inputs.tokenizer import Tokenizer
from sightweave.models.image_tokenizers.fsq import Fsq

TOKENIZER = Tokenizer.train(["two red cats"] * 2, vocab_size=280)
FSQ = Fsq(image_size=16, stride=8, levels=(4, 3), channels=4, max_channels=8)
TOKENS = ImageTokens(TOKENIZER.vocab_size, FSQ.num_codes, rows=2, columns=2)
WRITER = Config().build(tokenizer=TOKENIZER, image_tokenizer=FSQ, image_tokens=TOKENS)
CODES = (0, 5, 11, 3)


def test_texts_and_images_are_parts_in_order() -> None:
    picture = TOKENS.picture(CODES)
    ids = [*TOKENIZER.encode("two"), *picture, *TOKENIZER.encode("cats"), *picture, TOKENIZER.end_id]
    found = WRITER.write(ids, -0.5 * len(ids))
    assert (found.parts[0], found.parts[2]) == ("two", "cats")
    assert found.text == "twocats"
    assert found.images == (found.parts[1], found.parts[3])
    assert (found.tokens, found.logprob, found.finish, found.ids) == (len(ids), -0.5, "stop", tuple(ids))
    assert "images=2" in repr(found)

    with torch.no_grad():
        pixels = FSQ.decode(torch.tensor(CODES).view(1, 2, 2))[0]
    expected = (255 * pixels).round().byte().movedim(0, -1).numpy()
    image = found.images[0]
    assert (image.mode, image.size) == ("RGB", (16, 16))
    assert np.array_equal(np.asarray(image), expected)


def test_an_answer_without_images_is_its_text() -> None:
    found = WRITER.write(TOKENIZER.encode("two red"), -1.0)
    assert (found.text, found.images, found.finish) == ("two red", (), "length")


def test_a_picture_that_was_cut_off_is_refused() -> None:
    with pytest.raises(
        DataError,
        match="malformed: 2 rows of 2 codes and an end mark need 10 tokens, but the answer ends after 8",
    ):
        WRITER.write(TOKENS.picture(CODES)[:-2], -1.0)


def asked(*images: Image.Image) -> Sample:
    shown = [Part("user", Medium(image, str(number))) for number, image in enumerate(images)]
    return Sample(id="one", task="image_translation", parts=(*shown, Part("user", "Translate.")))


def answered(text: str, pictures: int) -> Prediction:
    ids = [*TOKENIZER.encode(text), *TOKENS.picture(CODES) * pictures, TOKENIZER.end_id]
    return WRITER.write(ids, -1.0)


def test_each_picture_is_set_into_its_region() -> None:
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    regions = "[0 0 500 500] two => deux\n[500 500 1000 1000] red => rouge"
    made = WRITER.complete(answered(regions, 2), asked(source))
    assert [(one.source, one.text) for one in made.regions] == [("two", "deux"), ("red", "rouge")]

    done = made.rendered()
    assert done.faults == ()
    old, new = np.asarray(source), np.asarray(done.picture)
    expected = np.asarray(made.images[0].resize((30, 20), Image.Resampling.BICUBIC))
    assert (new[:20, :30] == expected).all()
    assert (new[20:, 30:] == expected).all()
    assert (new[:20, 30:] == old[:20, 30:]).all()
    assert (new[20:, :30] == old[20:, :30]).all()


def test_what_cannot_be_set_in_is_reported() -> None:
    source = Image.new("RGB", (40, 40), "white")
    made = WRITER.complete(
        answered("[0 0 500 500] two => deux\n[0 0 1000 200 angle=45] red => rouge", 2), asked(source)
    )
    done = made.rendered()
    assert len(done.faults) == 1
    assert "reaches outside the image of 40 x 40" in done.faults[0]
    assert (np.asarray(done.picture)[20:] == 255).all()

    missing = WRITER.complete(answered("[0 0 500 500] two => deux", 0), asked(source)).rendered()
    assert "the answer has 1 regions but 0 pictures" in missing.faults[0]
    assert np.array_equal(np.asarray(missing.picture), np.asarray(source))


def test_drawings_and_prompts_without_images_have_nothing_to_set_in() -> None:
    assert WRITER.complete(answered("two", 1), asked(Image.new("RGB", (8, 8)))).drawing is None
    assert WRITER.complete(answered("[0 0 500 500] two => deux", 1), asked()).drawing is None
