"""Against the authors' scorer (GT-Vision-Lab/VQA), on made-up answers."""

from __future__ import annotations

from parity._golden import assert_equal, golden, scores

from sightweave.answers.metrics import vqa_official


def test_every_score_is_the_scorers() -> None:
    cases = golden("vqa_official")["cases"]
    assert len(cases) == 5190
    assert_equal(scores(vqa_official.Config().build(), cases), [case["score"] for case in cases], cases)
