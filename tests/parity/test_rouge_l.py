"""ROUGE-L against pycocoevalcap: 2,400 captions and their mean."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from sightweave.answers.metrics import rouge_l
from sightweave.core.types import Sample

GOLDEN = json.loads(
    gzip.decompress(Path(__file__).with_name("golden").joinpath("rouge_l.json.gz").read_bytes())
)


def test_every_caption_has_the_score_of_the_reference() -> None:
    samples = [
        Sample(id=str(number), task="captioning", parts=(), references=tuple(references))
        for number, (_, references) in enumerate(GOLDEN["texts"])
    ]
    metric = rouge_l.Config().build()
    rows = metric.rows([answer for answer, _ in GOLDEN["texts"]], samples)
    assert len(rows) == 2400
    np.testing.assert_allclose(metric.total(rows), GOLDEN["each"], rtol=0, atol=1e-9)
    assert abs(metric.total(rows.sum(0)) - GOLDEN["all"]) < 1e-9
