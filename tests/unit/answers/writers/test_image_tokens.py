"""Ids to texts and images, in order; malformed pictures are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sightweave.answers.writers.image_tokens import Config
from sightweave.core.errors import DataError
from sightweave.core.image_tokens import ImageTokens
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
