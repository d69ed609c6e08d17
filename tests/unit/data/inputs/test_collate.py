"""Bundles, rows and tensors: where each token and each picture goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.core.batch import Batch
from sightweave.core.types import InputLayout, MediaLayout, Medium, Part, Region, Sample
from sightweave.data.inputs.collate import (
    Bundle,
    bundle,
    caption_targets,
    collate,
    deal,
    pack,
    region_targets,
)
from sightweave.data.inputs.media._base import Loaded
from sightweave.data.inputs.template import Encoded, Stretch, encode
from sightweave.data.inputs.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["what is it ? a cat"] * 3, vocab_size=280)
LAYOUT = InputLayout(media={"image": MediaLayout(tokens=2)}, bidirectional="image")


def picture(name: str) -> Medium:
    return Medium(np.zeros((2, 2, 3), np.uint8), key=name)


def encoded(*content: str | Medium, answer: str = "a cat", layout: InputLayout = LAYOUT) -> Encoded:
    parts = (*(Part("user", one) for one in content), Part("assistant", answer, learn=True))
    return encode(Sample(id="s", task="vqa", parts=parts, references=(answer,)), TOKENIZER, layout)


def loaded(media: Sequence[Medium]) -> dict[str, tuple[list[int], Loaded]]:
    """An image for each, filled with the code of its key, so that order shows."""
    pixels = torch.stack([torch.full((3, 2, 2), float(ord(medium.key))) for medium in media])
    return {"image": (list(range(len(media))), Loaded(pixels))}


def together(
    rows: Sequence[Sequence[Bundle]], layout: InputLayout = LAYOUT, answers: Sequence[str] = ()
) -> Batch:
    found = collate(rows, layout=layout, pad_id=TOKENIZER.pad_id, answers=answers)
    return found.with_media(loaded([one.medium for one in found.shown])) if found.shown else found.batch


def test_samples_of_one_picture_share_a_trunk_as_branches() -> None:
    bundles = bundle([encoded(picture("a"), "what ?"), encoded("it"), encoded(picture("a"), "is it ?")])
    assert [len(one.encoded) for one in bundles] == [2, 1]
    batch = together([[bundles[0]], [bundles[1]]])
    # IMAGE IMAGE | what ? ASSISTANT a cat END | is it ? ASSISTANT a cat END
    assert batch.target.branch[0].tolist() == [0] * 2 + [1] * 6 + [2] * 7
    assert batch.target.positions[0].tolist() == [0, 1, *range(2, 8), *range(2, 9)]
    assert batch.target.item[0].tolist() == [0, 0] + [-1] * 13
    assert batch.target.segment[0].tolist() == [0] * 15
    assert batch.target.valid[1].tolist() == [True] * 5 + [False] * 10
    assert batch.target.segment[1].tolist() == [0] * 5 + [-1] * 10
    assert not batch.target.plain
    assert batch.media["image"].row.tolist() == [0]
    learnt = batch.target.labels[0] >= 0
    assert batch.target.labels[0][learnt].tolist() == batch.target.ids[0][learnt].tolist()
    assert learnt.tolist() == [False] * 5 + [True] * 3 + [False] * 4 + [True] * 3


def test_samples_stay_apart_where_they_may_not_share() -> None:
    samples = [encoded(picture("a"), "what ?"), encoded(picture("a"), "is it ?")]
    assert len(bundle(samples, share=False)) == 2
    assert len(bundle([encoded("it"), encoded("it")])) == 2


def test_packed_bundles_are_segments_with_positions_of_their_own() -> None:
    bundles = bundle([encoded(picture("a"), "what ?"), encoded(picture("b"), "it", picture("c"))])
    batch = together([bundles])
    assert batch.target.segment[0].tolist() == [0] * 8 + [1] * 9
    assert batch.target.positions[0].tolist() == [*range(8), *range(9)]
    # Numbers of media run on over the row, trunk first.
    assert [item for item in batch.target.item[0].tolist() if item >= 0] == [0, 0, 1, 1, 2, 2]
    media = batch.media["image"]
    assert media.dense[:, 0, 0, 0].tolist() == [ord("a"), ord("b"), ord("c")]
    assert (media.segment.tolist(), media.branch.tolist()) == ([0, 1, 1], [0, 0, 0])


def test_media_of_a_branch_belong_to_it() -> None:
    shared = [encoded(picture("a"), "it", picture("b")), encoded(picture("a"), "is", picture("c"))]
    media = together([bundle(shared)]).media["image"]
    assert media.dense[:, 0, 0, 0].tolist() == [ord("a"), ord("b"), ord("c")]
    assert media.branch.tolist() == [0, 1, 2]


def test_rows_of_plain_text_need_no_mask() -> None:
    batch = together([[one] for one in bundle([encoded("it"), encoded("what is it ?")])])
    assert batch.target.plain
    assert not batch.media


def test_an_encoder_decoder_reads_the_prompt_and_writes_the_answer() -> None:
    layout = InputLayout(form="encoder_decoder", media={"image": MediaLayout(tokens=2)})
    one = [encoded(picture("a"), "what ?", layout=layout), encoded(picture("a"), "it", layout=layout)]
    batch = together([bundle(one)], layout)
    # source: IMAGE IMAGE | what ? ASSISTANT | it ASSISTANT; target: ASSISTANT a cat END | ASSISTANT a cat END
    assert batch.source.branch[0].tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert batch.source.item[0].tolist() == [0, 0] + [-1] * 5
    assert batch.target.ids[0, 0] == batch.target.ids[0, 4] == TOKENIZER.begin_id
    assert batch.target.branch[0].tolist() == [1] * 4 + [2] * 4
    assert batch.target.positions[0].tolist() == [0, 1, 2, 3] * 2
    assert (batch.target.labels[0] >= 0).tolist() == [False, True, True, True] * 2
    assert int((batch.source.labels >= 0).sum()) == 0


def test_a_classifier_reads_the_last_token_of_each_prompt() -> None:
    layout = InputLayout(form="classify", bidirectional="all", media={"image": MediaLayout(tokens=2)})
    one = [
        encoded(picture("a"), "what ?", answer="cat", layout=layout),
        encoded(picture("a"), "it", answer="dog", layout=layout),
    ]
    batch = together([bundle(one)], layout, answers=("dog", "cat"))
    assert batch.target.ids.flatten()[batch.class_at].tolist() == [TOKENIZER.begin_id] * 2
    assert batch.class_at.tolist() == [4, 6]
    assert batch.class_scores.tolist() == [[0, 1], [1, 0]]


def test_answers_are_scored_by_their_share_of_the_references() -> None:
    layout = InputLayout(form="classify", bidirectional="all", in_sequence=False)
    references = ("cat", "cat", "dog", "bird")
    parts = (Part("user", "what ?"), Part("assistant", "cat", learn=True))
    one = encode(Sample(id="s", task="vqa", parts=parts, references=references), TOKENIZER, layout)
    batch = together([bundle([one])], layout, answers=("cat", "dog", "horse"))
    assert batch.class_scores.tolist() == [[1.0, 0.5, 0.0]]


def of_length(length: int) -> Bundle:
    stretch = Stretch([1] * length, [-1] * length, [1] * length, [False] * length)
    sample = Sample(id="s", task="vqa", parts=())
    return Bundle([Encoded(sample, (), (), Stretch(), stretch, Stretch(), TOKENIZER.begin_id)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=25), st.integers(1, 50))
def test_packing_loses_nothing_and_overfills_nothing(lengths: list[int], capacity: int) -> None:
    bundles = [of_length(length) for length in lengths]
    rows = pack(bundles, capacity)
    assert sorted(id(one) for row in rows for one in row) == sorted(map(id, bundles))
    for row in rows:
        assert sum(one.length for one in row) <= capacity or len(row) == 1


def test_packing_takes_the_fullest_row_that_has_room() -> None:
    rows = pack([of_length(n) for n in (2, 3, 6, 7)], 10)
    assert [[one.length for one in row] for row in rows] == [[7, 3], [6, 2]]


def test_a_region_names_the_embedding_under_its_middle() -> None:
    layout = InputLayout(media={"image": MediaLayout(tokens=6, grid=(2, 3))})
    places = {"a": (0.0, 0.0), "b": (0.99, 0.99), "c": (0.5, 0.2), "cropped": (1.2, 0.5)}
    regions = [
        (0, Region((0, 0, 1, 1), ("a",))),
        (0, Region((0, 0, 1, 1), ("b", "a"))),
        (2, Region((0, 0, 1, 1), ("c",))),
        (1, Region((0, 0, 1, 1), ("cropped",))),
    ]
    found = region_targets(
        regions,
        starts=[0, 6, 12],
        layout=layout,
        place=lambda _, region: places[region.words[0]],
        word_ids=lambda word: [ord(word[0])],
    )
    assert found.embedding.tolist() == [0, 5, 2 * 6 + 1]
    assert found.words.tolist() == [[97, -1], [97, 98], [99, -1]]
    settings = {"starts": [0, 6, 12], "word_ids": lambda _: [1]}
    assert region_targets(regions[3:], layout=layout, place=lambda *_: (2, 2), **settings) is None
    assert region_targets(regions, layout=InputLayout(), place=lambda *_: (0, 0), **settings) is None


@pytest.mark.parametrize(("words", "ids"), [([[3, 1, 3], [2]], [[1, 3], [2, -1]]), ([[], []], [[-1], [-1]])])
def test_words_of_whole_pictures_are_sets(words: list[list[int]], ids: list[list[int]]) -> None:
    found = caption_targets(words)
    assert found.whole
    assert found.words.tolist() == ids


def rows_of(*lengths: Sequence[int]) -> list[list[Bundle]]:
    """Rows of bundles of so many samples of one token and the end token each."""
    return [[Bundle([encoded("it")] * count) for count in row] for row in lengths]


def sizes(hands: list[list[list[Bundle]]]) -> list[list[int]]:
    return [[sum(one.length for one in row) for row in hand] for hand in hands]


def test_rows_are_dealt_evenly_by_number_and_by_tokens() -> None:
    one = Bundle([encoded("it")]).length
    dealt = deal(rows_of([9], [8], [1], [4, 3], [2], [6], [5]), 3)
    assert sizes(dealt) == [[9 * one, 2 * one, one], [8 * one, 5 * one], [7 * one, 6 * one]]
    rows = rows_of([1, 1], [3])
    assert [id(one) for (row, *_) in deal(rows, 2) for one in row] == [
        id(one) for row in rows[::-1] for one in row
    ]


def test_too_few_rows_are_cut_between_bundles_and_then_between_samples() -> None:
    first, second = Bundle([encoded("it")]), Bundle([encoded("it"), encoded("what"), encoded("a")])
    dealt = deal([[first, second]], 4)
    assert [len(hand) for hand in dealt] == [1] * 4
    samples = [e for hand in dealt for row in hand for one in row for e in one.encoded]
    assert sorted(map(id, samples)) == sorted(map(id, [*first.encoded, *second.encoded]))
    with pytest.raises(ValueError, match="fewer samples than batches"):
        deal([[first, second]], 5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=12), st.data())
def test_a_deal_loses_nothing_and_leaves_no_hand_empty(lengths: list[list[int]], data: st.DataObject) -> None:
    total = sum(map(sum, lengths))
    hands = data.draw(st.integers(1, total))
    dealt = deal(rows_of(*lengths), hands)
    counts = [len(hand) for hand in dealt]
    assert min(counts) >= 1
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == max(hands, len(lengths))
    assert sum(len(one.encoded) for hand in dealt for row in hand for one in row) == total
    if len(lengths) >= hands:
        longest = max(sum(row) for row in lengths) * Bundle([encoded("it")]).length
        tokens = [sum(hand) for hand in sizes(dealt)]
        assert max(tokens) - min(tokens) <= longest


def test_samples_of_a_hidden_picture_share_a_row_as_those_of_a_shown_one_do() -> None:
    def hidden(text: str, group: str) -> Encoded:
        one = encoded(text)
        one.sample = replace(one.sample, group=group)
        return one

    questions = [hidden("what ?", "a"), hidden("it", "b"), hidden("is it ?", "a")]
    bundles = bundle(questions)
    assert [len(one.encoded) for one in bundles] == [2, 1]
    batch = together([[bundles[0]]])
    # what ? ASSISTANT a cat END | is it ? ASSISTANT a cat END
    assert batch.target.branch[0].tolist() == [1] * 6 + [2] * 7
    assert batch.target.positions[0].tolist() == [*range(6), *range(7)]
    assert not batch.media
    assert len(bundle(questions, share=False)) == 3
