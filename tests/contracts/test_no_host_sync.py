"""No model waits for an accelerator between the encoders of its media and its logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from contracts._compose import PAIRS, Case, compose, samples

from sightweave.core.batch import MediaEmbeddings


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_value_is_asked_for_in_fusion_and_language_model(pair: tuple[str, str]) -> None:
    """A tensor without values fails wherever a value is asked for, as a look at an accelerator's would wait."""
    model, processor = compose(Case(pair[0], (), pair[1]))
    batch = processor.batch(samples())
    assert batch.target is not None
    at = batch.target.predicting() if batch.class_at is None else batch.class_at
    with torch.no_grad():
        media = model(replace(batch, target=None)).media
        expected = model(batch, at=at).logits
    assert media is not None
    assert expected is not None

    encoded = replace(batch, media={}, embeddings=media).to("meta")
    with torch.no_grad():
        found = model.to("meta")(encoded, at=at.to("meta")).logits
    assert found is not None
    assert found.shape == expected.shape


def test_a_layout_without_known_lengths_asks_for_a_value() -> None:
    """So that the test above can fail."""
    row = torch.zeros(3, dtype=torch.int64)
    media = MediaEmbeddings(torch.zeros(3, 2), item=row, row=row, segment=row, branch=row).to("meta")
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        media.per_row(2)
    assert replace(media, lengths=(3,)).per_row(2).hidden.shape == (2, 3, 2)
