"""The likeliest token, with its own log-probability."""

from __future__ import annotations

import torch

from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Draws

DRAWS = Draws.of(0, [["row"]] * 3)


def test_the_likeliest_is_chosen_and_ties_go_to_the_lowest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 2.0, 0.0]])
    method = greedy.Config().build(end_id=0)
    choice = method.choose(logits, torch.zeros(2, dtype=torch.bool), DRAWS.at(0))
    assert choice.ids.tolist() == [1, 0]
    torch.testing.assert_close(choice.logprobs, logits.log_softmax(-1).gather(1, choice.ids[:, None])[:, 0])
    assert method.best(torch.zeros(2), torch.ones(2)).tolist() == [0, 1]


def test_half_precision_gives_full_precision_chances() -> None:
    logits = torch.randn(3, 50).bfloat16()
    choice = greedy.Config().build(end_id=0).choose(logits, torch.zeros(3, dtype=torch.bool), DRAWS)
    assert choice.logprobs.dtype == torch.float32
