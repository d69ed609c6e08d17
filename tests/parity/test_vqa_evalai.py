"""Against the challenge's answers, as facebookresearch/mmf makes them comparable, on made-up answers."""

from __future__ import annotations

from parity._golden import assert_equal, golden, scores

from sightweave.answers.metrics import vqa_evalai


def test_every_score_is_the_scorers() -> None:
    cases = golden("vqa_evalai")["cases"]
    assert len(cases) == 4990
    assert_equal(scores(vqa_evalai.Config().build(), cases), [case["score"] for case in cases], cases)
