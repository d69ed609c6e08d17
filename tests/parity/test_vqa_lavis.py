"""Against salesforce/LAVIS's scorer, on made-up answers."""

from __future__ import annotations

from parity._golden import assert_equal, golden, scores

from sightweave.answers.metrics import vqa_lavis


def test_every_score_is_the_scorers() -> None:
    cases = golden("vqa_lavis")["cases"]
    assert len(cases) == 5190
    assert_equal(scores(vqa_lavis.Config().build(), cases), [case["score"] for case in cases], cases)
