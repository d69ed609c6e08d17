"""Relevancy, rollout and raw attention: their rules on small matrices."""

from __future__ import annotations

import torch

from sightweave.answers.attribution.flow import Stream
from sightweave.answers.explainers.attention import _Last
from sightweave.answers.explainers.relevancy import _Relevance, normalised
from sightweave.answers.explainers.rollout import _Mix


def stream(first: int, count: int, total: int) -> Stream:
    eye = torch.zeros(count, total)
    eye[torch.arange(count), first + torch.arange(count)] = 1
    return Stream.start(eye)


def test_rows_without_relevance_stay_zero_when_they_are_normalised() -> None:
    relevance = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 1.5], [0.0, 2.0, 1.0]])
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.25, 1.0, 0.75], [0.0, 1.0, 1.0]])
    assert torch.equal(normalised(relevance, torch.eye(3)), expected)


def test_only_positive_products_of_attention_and_gradient_count() -> None:
    tokens = stream(0, 2, 2)
    weights = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.25, 0.75], [0.0, 1.0]]])
    gradient = torch.tensor([[[2.0, -2.0], [1.0, 1.0]], [[4.0, 4.0], [-1.0, -1.0]]])
    _Relevance().attend(tokens, tokens, weights, gradient)
    assert torch.equal(tokens.relevance, torch.tensor([[2.0, 1.5], [0.5, 1.0]]))


def test_relevance_of_a_memory_enters_through_its_own_relevance() -> None:
    tokens, memory = stream(0, 1, 3), stream(1, 2, 3)
    memory.relevance[0, 2] = 3.0  # the first vector of the memory depends on the second
    _Relevance().cross(tokens, memory, torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[2.0, 4.0]]]))
    assert torch.equal(tokens.relevance, torch.tensor([[1.0, 1.0, 2.0]]))


def test_the_shares_of_rollout_sum_to_one() -> None:
    tokens, memory = stream(0, 2, 5), stream(2, 3, 5)
    rule = _Mix()
    rule.attend(tokens, tokens, torch.rand(2, 2, 2).softmax(-1), None)
    rule.cross(tokens, memory, torch.rand(2, 2, 3).softmax(-1), None)
    torch.testing.assert_close(rule.result(tokens).sum(1), torch.ones(2))


def test_raw_attention_is_that_of_the_last_layer_that_reads_each_memory() -> None:
    tokens, source, media = stream(0, 1, 4), stream(1, 1, 4), stream(2, 2, 4)
    rule = _Last()
    rule.cross(tokens, media, torch.tensor([[[0.9, 0.1]]]), None)
    rule.attend(tokens, tokens, torch.tensor([[[1.0]]]), None)
    rule.cross(tokens, source, torch.tensor([[[1.0]]]), None)
    rule.cross(tokens, media, torch.tensor([[[0.3, 0.7]]]), None)
    torch.testing.assert_close(rule.result(tokens), torch.tensor([[1.0, 1.0, 0.3, 0.7]]))
