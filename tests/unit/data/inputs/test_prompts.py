"""Prompts as tensors: the same tokens as in a batch of samples, with each picture named once."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import Case, compose, picture, sample, samples

from sightweave.core.batch import TokenSequence
from sightweave.core.types import Sample
from sightweave.data.inputs.prompts import placed, text_tokens

MODEL, PROCESSOR = compose(Case("concat", (), "decoder_only"))
VECTORS = ("ids", "positions", "item", "ar", "segment", "branch", "valid")


def asked() -> list[Sample]:
    """Samples whose pictures come again, in another row and in the same one."""
    return [*samples(), sample("a", picture(1), "what ?"), sample("b", picture(2), picture(1), "how many ?")]


def check_equal(found: TokenSequence, expected: TokenSequence) -> None:
    for name in VECTORS:
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert found.plain == expected.plain


@pytest.mark.parametrize(
    "case",
    [
        Case("concat", (), "decoder_only"),
        Case("memory", (), "encoder_decoder"),
        Case("bilinear", (), "encoder_only"),
    ],
    ids=str,
)
def test_whole_prompts_are_the_tokens_of_a_batch_without_targets(case: Case) -> None:
    _, processor = compose(case)
    batch = processor.batch(asked(), share=False, with_target=False)
    prompts = processor.prompts(asked())
    assert batch.target is not None
    if batch.source is None:
        assert prompts.begin is None
        check_equal(prompts.tokens, batch.target)
    else:
        assert prompts.begin is not None
        check_equal(prompts.tokens, batch.source)
        check_equal(prompts.begin, batch.target)
    assert prompts.row.tolist() == batch.media["image"].row.tolist()


def test_a_batch_without_targets_is_one_of_samples_whose_answer_is_empty() -> None:
    whole = PROCESSOR.batch(asked(), share=False)
    prompts = PROCESSOR.batch(asked(), share=False, with_target=False)
    assert whole.target is not None
    assert prompts.target is not None
    for row, one in enumerate(asked()):
        count = int(prompts.target.valid[row].sum())
        assert torch.equal(prompts.target.ids[row, :count], whole.target.ids[row, :count])
        assert PROCESSOR.length(one) == int(whole.target.valid[row].sum()) > count


def test_each_picture_is_named_once_and_laid_out_wherever_it_is_shown() -> None:
    prompts = PROCESSOR.prompts(asked())
    keys = [medium.key for medium in prompts.media]
    shown = [medium.key for one in asked() for medium in one.media]
    assert sorted(set(keys)) == sorted(keys)
    assert len(keys) < len(shown)
    assert [keys[number] for number in prompts.shown.tolist()] == shown

    # One vector a picture: its number.
    numbers = torch.arange(float(len(keys))).view(-1, 1, 1).expand(-1, PROCESSOR.layout.tokens_per_image, 4)
    laid_out = prompts.batch(list(numbers)).embeddings
    assert laid_out is not None
    assert laid_out.item.unique(return_counts=True)[1].tolist() == [PROCESSOR.layout.tokens_per_image] * len(
        shown
    )
    for item, key in enumerate(shown):
        assert keys[int(laid_out.embeddings[laid_out.item == item].mean())] == key


def test_the_trunk_and_the_rest_behind_it_are_the_whole_prompt() -> None:
    chosen = [sample("a", picture(1), "what ?"), sample("b", picture(2), "how many cats are there ?")]
    whole, trunk, rest = (PROCESSOR.prompts(chosen, section=name) for name in ("whole", "trunk", "rest"))
    assert [one.key for one in trunk.media] == [one.key for one in whole.media]
    assert rest.media == ()
    for row in range(len(chosen)):
        for name in ("ids", "positions", "ar", "item"):
            parts = [getattr(one.tokens, name)[row][one.tokens.valid[row]] for one in (trunk, rest)]
            assert torch.equal(torch.cat(parts), getattr(whole.tokens, name)[row][whole.tokens.valid[row]])


def test_texts_go_on_where_they_are_told() -> None:
    found = PROCESSOR.continuations([[5, 6, 7], [8]], [4, 9])
    assert found.ids.tolist() == [[5, 6, 7], [8, *[PROCESSOR.tokenizer.pad_id] * 2]]
    assert found.positions[0].tolist() == [4, 5, 6]
    assert found.positions[1, 0] == 9
    assert found.valid.tolist() == [[True] * 3, [True, False, False]]
    assert found.plain


def test_tensors_become_the_text_that_the_processor_makes_of_them() -> None:
    made = PROCESSOR.continuations([[5, 6, 7]], [4])
    check_equal(text_tokens(made.ids, made.positions, plain=True), made)
    mixed = text_tokens(made.ids, made.positions, ar=made.ar * 0, valid=made.ids > 5)
    assert not mixed.plain
    assert not mixed.ar.any()
    assert mixed.valid.tolist() == [[False, True, True]]


def test_pictures_belong_to_the_rows_that_are_given() -> None:
    pixels = torch.rand(3, 3, 8, 8)
    alone = placed(pixels)
    assert (alone.row.tolist(), alone.item.tolist()) == ([0, 0, 0], [0, 1, 2])
    media = placed(pixels, row=torch.tensor([0, 0, 1]), keys=("a", "b", "c"))
    assert media.row.tolist() == [0, 0, 1]
    assert media.keys == ("a", "b", "c")
    assert torch.equal(media.dense, pixels)
