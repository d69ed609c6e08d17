"""BLEU-1 to BLEU-4 against pycocoevalcap: 2,400 captions, 20 corpora of them, and all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import bleu
from sightweave.core.types import Sample

GOLDEN = json.loads(gzip.decompress(Path(__file__).with_name("golden").joinpath("bleu.json.gz").read_bytes()))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_caption_and_every_corpus_has_the_score_of_the_reference(n: int) -> None:
    samples = [
        Sample(id=str(number), task="captioning", parts=(), references=tuple(references))
        for number, (_, references) in enumerate(GOLDEN["texts"])
    ]
    metric = bleu.Config(n=n).build()
    rows = metric.rows([answer for answer, _ in GOLDEN["texts"]], samples)
    assert len(rows) == 2400
    np.testing.assert_allclose(
        metric.total(rows), GOLDEN["each"][n - 1], rtol=0, atol=1e-9 if n < 4 else 4e-9
    )
    # Two of the references are Chinese: ours cuts them into characters, which moves a BLEU-4 of 6e-9 by 4e-9.
    off = np.abs(metric.total(rows) - GOLDEN["each"][n - 1]) > 1e-9
    assert [GOLDEN["texts"][row][1] for row in np.flatnonzero(off)] == [["\u65e5\u672c"]] * (2 * (n == 4))
    corpora = metric.total(rows.reshape(-1, GOLDEN["size"], rows.shape[1]).sum(1))
    np.testing.assert_allclose(corpora, [each[n - 1] for each in GOLDEN["corpora"]], rtol=0, atol=1e-9)
    assert abs(metric.total(rows.sum(0)) - GOLDEN["all"][n - 1]) < 1e-9
