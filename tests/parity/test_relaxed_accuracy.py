"""Against the scorer of ChartQA that most tools share, as lmms-eval has it."""

from __future__ import annotations

from parity._golden import assert_equal, golden, scores

from sightweave.answers.metrics import relaxed_accuracy


def test_every_answer_is_right_or_wrong_as_there() -> None:
    cases = golden("relaxed_accuracy")["cases"]
    assert len(cases) == 2496
    assert_equal(scores(relaxed_accuracy.Config().build(), cases), [case["score"] for case in cases], cases)
