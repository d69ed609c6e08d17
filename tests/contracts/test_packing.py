"""How samples are laid out changes nothing: packed, branched, in another order, with more padding."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from contracts._compose import CASES, Case, compose, gradients, picture, sample, samples, total_loss

from sightweave.core.batch import Batch, TokenSequence
from sightweave.core.types import Medium, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tiles import Tiles
from sightweave.models.vlm import VLM


def check_equal(
    model: VLM,
    processor: Processor,
    chosen: list[Sample],
    encoder_is_frozen: bool = False,
    **settings: object,
) -> Batch:
    """Loss and gradients of one batch are the sums of those of each sample alone."""
    together = processor.batch(chosen, **settings)
    found = gradients(model, [total_loss(model, together)])
    expected = gradients(model, (total_loss(model, processor.batch([one])) for one in chosen))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        scale = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            found[1][name] / scale, gradient / scale, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    return together


@pytest.mark.parametrize("case", CASES, ids=str)
def test_packed_equals_separate(case: Case) -> None:
    model, processor = compose(case)
    batch = check_equal(model, processor, samples(), share=False, pack_to=1000)
    reader = batch.source if batch.source is not None else batch.target
    assert len(reader.ids) == 1
    assert int(reader.segment.max()) == len(samples()) - 1
    assert int(reader.branch.max()) == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_branched_equals_separate(case: Case) -> None:
    model, processor = compose(case)
    batch = check_equal(model, processor, samples(), share=True)
    reader = batch.source if batch.source is not None else batch.target
    assert int(reader.branch.max()) == 3
    assert len(batch.media["image"].dense) == 7


@pytest.mark.parametrize("case", CASES, ids=str)
def test_packed_branches_equal_separate(case: Case) -> None:
    model, processor = compose(case, encoder="vit")
    batch = check_equal(model, processor, samples(), share=True, pack_to=90)
    reader = batch.source if batch.source is not None else batch.target
    assert int(reader.branch.max()) == 3
    assert int(reader.segment.max()) >= 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_branches_without_a_picture_equal_separate(case: Case) -> None:
    """Training hides some pictures: their prompts are branches of a row that shows nothing, beside rows that do."""
    model, processor = compose(case)
    hidden = [
        dataclasses.replace(one.without_media(), group="hidden", id=f"{one.id} hidden") for one in samples()
    ]
    batch = check_equal(model, processor, [*samples(), *hidden], share=True)
    reader = batch.source if batch.source is not None else batch.target
    assert int(reader.branch.max()) == len(hidden)
    assert len(batch.media["image"].dense) == 7


def large(number: int, width: int, height: int) -> Medium:
    """A picture that is larger than the encoder's square, another one for each number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return Medium(pixels, key=f"large-{number}")


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_packed_tiles_equal_separate(case: Case, share: bool) -> None:
    """Pictures that are cut, of two grids, in front and in the middle, packed with one that is whole and with none."""
    model, processor = compose(case, encoder="vit")
    tiled = dataclasses.replace(processor, tiles=Tiles(max_tiles=4))
    chosen = [
        sample("wide", large(1, 96, 48), "what colour is the ball ?", answer="the ball is red"),
        sample("again", large(1, 96, 48), "how many ?", answer="two"),
        sample("square", "compare this picture", large(2, 64, 64), "with that one", answer="blue"),
        sample("whole", picture(3), "how ?", answer="blue"),
        sample("text", "how many cats are there ?", answer="two"),
    ]
    batch = check_equal(model, tiled, chosen, share=share, pack_to=2000)
    reader = batch.source if batch.source is not None else batch.target
    assert len(reader.ids) == 1
    # A thumbnail each, and grids of 1 x 2 and 2 x 2.
    assert len(batch.media["image"].dense) == (9 if share else 12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_order_of_rows_changes_only_the_order_of_rows(case: Case) -> None:
    model, processor = compose(case)
    chosen = samples()
    order = list(range(len(chosen)))
    random.Random(3).shuffle(order)
    first, second = (processor.batch(x, share=False) for x in (chosen, [chosen[i] for i in order]))
    with torch.inference_mode():
        one, other = model(first), model(second)
    rows = one.at // first.target.ids.shape[1]
    expected = torch.cat([one.logits[rows == i] for i in order])
    torch.testing.assert_close(other.logits, expected, atol=1e-5, rtol=1e-5)


def widened(tokens: TokenSequence, extra: int) -> TokenSequence:
    """More padding on the right, with ids that would be seen if anything looked there."""
    fill = {
        "ids": 5,
        "labels": -100,
        "positions": 3,
        "item": -1,
        "ar": 1,
        "segment": -1,
        "branch": 0,
        "valid": False,
    }
    return dataclasses.replace(
        tokens,
        **{
            name: torch.cat(
                [getattr(tokens, name), getattr(tokens, name).new_full((len(tokens.ids), extra), value)], 1
            )
            for name, value in fill.items()
        },
    )


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_more_padding_changes_nothing(case: Case, share: bool) -> None:
    model, processor = compose(case)
    batch = processor.batch(samples(), share=share)
    wide = dataclasses.replace(
        batch,
        target=widened(batch.target, 5),
        source=None if batch.source is None else widened(batch.source, 3),
    )
    if batch.class_at is not None:
        width = batch.target.ids.shape[1]
        wide.class_at = batch.class_at // width * (width + 5) + batch.class_at % width
    with torch.inference_mode():
        found, expected = model(wide).logits, model(batch).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_another_samples_picture_and_words_are_not_seen(case: Case) -> None:
    model, processor = compose(case)
    mine = sample("mine", picture(1), "what colour is the ball ?", answer="red")
    found = []
    for other in (
        sample("other", picture(1), "how many ?", answer="two"),
        sample("other", picture(1), "compare with", picture(2), answer="blue"),
        sample("other", picture(3), "what colour is the ball ?", answer="two"),
    ):
        batch = processor.batch([mine, other], pack_to=1000)
        with torch.inference_mode():
            output = model(batch)
        first = 1 if batch.class_at is not None else int((processor.batch([mine]).target.labels >= 0).sum())
        found.append(
            output.logits[:first] if batch.class_at is None else _row_of(batch, output, processor, mine)
        )
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[2], found[0], atol=1e-5, rtol=1e-5)


def _row_of(batch: Batch, output: object, processor: Processor, mine: Sample) -> torch.Tensor:
    wanted = processor.batch([mine]).class_scores[0]
    index = next(i for i, scores in enumerate(batch.class_scores) if torch.equal(scores, wanted))
    return output.logits[index : index + 1]  # type: ignore[attr-defined]
