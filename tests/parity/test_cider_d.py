"""CIDEr-D against pycocoevalcap: 20 corpora of 120 captions each, every caption and every mean."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import cider_d
from sightweave.core.types import Sample

GOLDEN = json.loads(
    gzip.decompress(Path(__file__).with_name("golden").joinpath("cider_d.json.gz").read_bytes())
)


@pytest.mark.parametrize("number", range(20))
def test_every_caption_of_a_corpus_has_the_score_of_the_reference(number: int, tmp_path: Path) -> None:
    size = GOLDEN["size"]
    texts = GOLDEN["texts"][number * size : (number + 1) * size]
    assert len(texts) == size == 120
    samples = [
        Sample(id=str(place), task="captioning", parts=(), references=tuple(references))
        for place, (_, references) in enumerate(texts)
    ]
    answers = [answer for answer, _ in texts]
    metric = cider_d.Config().build()
    rows = metric.rows(answers, samples)
    np.testing.assert_allclose(metric.total(rows), GOLDEN["each"][number], rtol=0, atol=1e-9)
    assert abs(metric.total(rows.sum(0)) - GOLDEN["corpora"][number]) < 1e-9
    path = tmp_path / "frequencies.json"
    cider_d.frequencies_of(samples).save(path)
    frozen = cider_d.Config(df_path=str(path)).build()
    np.testing.assert_array_equal(frozen.rows(answers[:3], samples[:3]), rows[:3])
