"""Concatenation finds the places of image tokens, on an accelerator without waiting for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from contracts._compose import Case, compose, samples

from sightweave.core.batch import MediaEmbeddings
from sightweave.models.fusions._base import plain_tokens
from sightweave.models.fusions.concat import Concat, places_of_images

CASE = Case("concat", (), "decoder_only")


@pytest.mark.parametrize("length", [1, 7, 50])
def test_places_are_those_of_the_image_tokens(length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    for share in (0.0, 0.3, 1.0):
        item = torch.where(torch.rand(length, generator=generator) < share, 3, -1)
        expected = (item >= 0).nonzero()[:, 0]
        assert torch.equal(places_of_images(item, len(expected)), expected)


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_places_of_a_wrong_count_are_places(change: int) -> None:
    item = torch.tensor([-1, 0, 0, -1, 1, 1, -1])
    found = places_of_images(item, 4 + change)
    assert len(found) == 4 + change
    assert 0 <= int(found.min()) <= int(found.max()) < len(item)


def test_an_accelerator_is_not_waited_for_in_fusion_and_blocks() -> None:
    """A tensor without values fails wherever a value is asked for, as a look at an accelerator's would wait."""
    model, processor = compose(CASE)
    batch = processor.batch(samples())
    tokens = batch.target
    assert tokens is not None
    with torch.no_grad():
        media = model(replace(batch, target=None)).media
        expected = model.fusion.input(model.language_model.embed(tokens.ids), tokens, media, None)

    there: Any = model.to("meta")
    assert isinstance(media, MediaEmbeddings)
    tokens, media = tokens.to("meta"), media.to("meta")
    hidden = there.fusion.input(there.language_model.embed(tokens.ids), tokens, media, None)
    assert hidden.shape == expected.shape
    before_block = there.fusion.before_block(tokens, media, None)
    assert there.language_model.run(hidden, tokens, before_block=before_block).shape == expected.shape
    assert there.fusion.input(hidden, tokens, None, None) is hidden
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        bool((tokens.item >= 0).any())


def test_too_few_and_too_many_embeddings_are_refused() -> None:
    fusion = Concat()
    tokens = plain_tokens(torch.zeros(1, 4, 2))
    tokens.item = torch.tensor([[-1, 0, 0, -1]])
    for count in (1, 3):
        zeros = torch.zeros(count, dtype=torch.int64)
        media = MediaEmbeddings(torch.ones(count, 2), item=zeros, row=zeros, segment=zeros, branch=zeros)
        with pytest.raises(ValueError, match=f"has 2 image tokens in the text but {count} embeddings"):
            fusion.input(torch.zeros(1, 4, 2), tokens, media, None)
