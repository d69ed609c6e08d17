"""METEOR's formula against the scores of meteor-1.5.jar, from that program's own counts; no Java is needed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from sightweave.answers.metrics import meteor

GOLDEN = json.loads(
    gzip.decompress(Path(__file__).with_name("golden").joinpath("meteor.json.gz").read_bytes())
)


def test_every_caption_and_the_corpus_have_the_score_of_the_reference() -> None:
    rows = meteor.counts(GOLDEN["stats"])
    assert len(rows) == 500
    metric = meteor.Config().build()
    np.testing.assert_allclose(metric.total(rows), GOLDEN["each"], rtol=0, atol=1e-9)
    assert abs(metric.total(rows.sum(0)) - GOLDEN["all"]) < 1e-9
