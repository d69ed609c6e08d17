"""Rows that are too long: whatever the policy, marks equal features and every answer ends with its end token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from contracts._compose import Case, compose
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.too_long import Policy, TooLong, encoded_length, fit

PROCESSOR = compose(Case("concat", (), "decoder_only"))[1]
EACH = PROCESSOR.layout.tokens_per_image


def large(number: int) -> Medium:
    """Of 96 x 64 pixels: several tiles of 32."""
    pixels = np.random.default_rng(number).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    return Medium(pixels, key=f"large-{number}")


def conversation(turns: list[tuple[int, int]]) -> Sample:
    """Turns of (pictures, words)."""
    parts: list[Part] = []
    for number, (pictures, words) in enumerate(turns):
        parts += [Part("user", large(10 * number + index)) for index in range(pictures)]
        parts += [
            Part("user", "how many cats " * words),
            Part("assistant", "the ball is red " * words, learn=True),
        ]
    return Sample(id="s", task="vqa", parts=tuple(parts), references=("red",))


@pytest.mark.parametrize("tiles", [0, 6])
@pytest.mark.parametrize("policy", ["error", "drop_row", "drop_turn", "shrink_image"])
@settings(max_examples=25, deadline=None)
@given(
    turns=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=1, max_size=5),
    limit=st.integers(8, 300),
)
def test_marks_equal_features_and_no_answer_is_cut(
    policy: Policy, tiles: int, turns: list[tuple[int, int]], limit: int
) -> None:
    tiled = dataclasses.replace(PROCESSOR.tiles, max_tiles=tiles)
    processor = dataclasses.replace(PROCESSOR, tiles=tiled)
    sample = conversation(turns)
    length = processor.length(sample)
    if policy == "error" and length > limit:
        with pytest.raises(TooLong, match=f"{length} tokens, more than max_length {limit}"):
            fit(sample, processor, policy, limit)
        return
    encoded = fit(sample, processor, policy, limit)
    if encoded is None:
        assert policy != "error"
        assert length > limit
        return
    assert encoded_length(encoded) <= limit
    answers = [part.content for part in encoded.sample.parts if part.role == "assistant"]
    last = [*processor.tokenizer.encode(answers[-1]), processor.tokenizer.end_id]
    assert encoded.target.ids == last
    assert answers[-1] == sample.parts[-1].content
    ends = (encoded.prompt.ids + encoded.target.ids).count(processor.tokenizer.end_id)
    assert ends == len(answers)
    batch = processor.batch([encoded])
    marks = int((batch.target.item >= 0).sum())
    assert marks == sum(len(media.values) for media in batch.media.values()) * EACH
    if sample.media:
        assert encoded.sample.media


def test_turns_without_pictures_go_first_and_the_last_stays() -> None:
    sample = conversation([(1, 1), (0, 2), (0, 3)])
    whole = PROCESSOR.length(sample)
    encoded = fit(sample, PROCESSOR, "drop_turn", whole - 1)
    assert encoded is not None
    assert encoded.sample.parts == (*sample.parts[:3], *sample.parts[5:])
    assert fit(sample, PROCESSOR, "drop_turn", EACH + 3) is None
    two = conversation([(1, 4), (1, 1)])
    left = fit(two, PROCESSOR, "drop_turn", PROCESSOR.length(two) - 1)
    assert left is not None
    assert left.sample.parts == two.parts[3:]


def test_pictures_are_cut_into_fewer_tiles_until_they_fit() -> None:
    processor = dataclasses.replace(PROCESSOR, tiles=dataclasses.replace(PROCESSOR.tiles, max_tiles=6))
    sample = conversation([(1, 2)])
    lengths = [processor.length(sample, max_tiles=tiles) for tiles in (6, 3, 1, 0)]
    assert lengths[0] > lengths[-1]
    for limit in set(lengths):
        encoded = fit(sample, processor, "shrink_image", limit)
        assert encoded is not None
        assert encoded_length(encoded) == max(length for length in lengths if length <= limit)
        assert encoded.sample.parts == sample.parts
    assert fit(sample, processor, "shrink_image", lengths[-1] - 1) is None
