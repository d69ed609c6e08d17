"""Against the organisers' scorer of DocVQA and InfographicVQA, and facebookresearch/mmf's of ST-VQA."""

from __future__ import annotations

from parity._golden import assert_equal, golden, scores

from sightweave.answers.metrics import anls


def test_every_score_is_the_organisers() -> None:
    cases = golden("anls")["cases"]
    assert len(cases) == 2372
    assert_equal(scores(anls.Config().build(), cases), [case["score"] for case in cases], cases)


def test_every_score_of_texts_without_extra_spaces_is_mmfs() -> None:
    cases = [case for case in golden("anls")["cases"] if case["mmf"] is not None]
    assert len(cases) == 1412
    assert_equal(scores(anls.Config().build(), cases), [case["mmf"] for case in cases], cases)
