"""The benchmark of evaluations compares answers before it times them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import evaluate

    return evaluate


def test_every_pass_of_every_row_is_read(evaluate: Any, tmp_path: Path) -> None:
    other = {"image": "b", "answer": "blue\u2028", "logprob": -0.2}
    row = {"split": "test", "id": "q", "image": "a", "answer": "red", "logprob": -0.1}
    row["controls"] = {"shuffled_image": other}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert evaluate.said(tmp_path) == {
        ("test", "q", "image", "a"): ("red", -0.1),
        ("test", "q", "shuffled_image", "b"): ("blue\u2028", -0.2),
    }


def test_only_evaluations_that_agree_are_timed(evaluate: Any) -> None:
    key, second, third = (("test", str(number), "image", "a") for number in range(3))
    first = {key: ("red", -0.1), second: ("blue", -0.2)}
    assert evaluate.compare(first, {key: ("red", -0.1000001), third: ("green", -1.0)}) == 1
    with pytest.raises(SystemExit, match=r"'red' .* and 'blue'"):
        evaluate.compare(first, {key: ("blue", -0.1), second: ("blue", -0.2)})
    with pytest.raises(SystemExit, match="differ"):
        evaluate.compare(first, {key: ("red", -0.2), second: ("blue", -0.2)})
    with pytest.raises(SystemExit, match="only 0 of 2 and 1"):
        evaluate.compare(first, {third: ("green", -1.0)})
