"""Gradients of the explained score with respect to the values or features of media and the embeddings of words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from sightweave.answers.attribution import places
from sightweave.answers.attribution.question import Inputs, Question


def tensors(inputs: Inputs) -> list[Tensor]:
    """The tensors of inputs: one for each medium, followed by the embeddings of words."""
    assert inputs.words is not None  # those of `Question.own` and `Question.absent` have them
    return [*inputs.media, inputs.words]


def with_tensors(inputs: Inputs, given: Sequence[Tensor]) -> Inputs:
    """A copy of inputs with other tensors, in the order of `tensors`."""
    return dataclasses.replace(inputs, media=list(given[:-1]), words=given[-1])


def slopes(question: Question, inputs: Inputs) -> list[Tensor]:
    """The gradient of the score with respect to each of the tensors; zeros for those on which it does not depend."""
    return summed_slopes(question, [inputs], [1.0])


def summed_slopes(question: Question, points: Sequence[Inputs], weights: Sequence[float]) -> list[Tensor]:
    """The weighted sum of the gradients at several points, which are read in one pass."""
    leaves: list[list[Tensor]] = []
    inputs: list[Inputs] = []
    for point in points:
        leaves.append([one.detach().clone().requires_grad_() for one in tensors(point)])
        inputs.append(with_tensors(point, leaves[-1]))

    with torch.enable_grad():
        score = question.scores(inputs) @ torch.tensor(list(weights)).to(question.words)
    flat = [one for leaf in leaves for one in leaf]
    found = torch.autograd.grad(score, flat, allow_unused=True)

    count = len(leaves[0])
    sums = []
    for place in range(count):
        total = torch.zeros_like(leaves[0][place])
        for one in found[place::count]:
            total = total if one is None else total + one
        sums.append(total)
    return sums


def products(gradients: Sequence[Tensor], own: Inputs, absent: Inputs) -> list[Tensor]:
    """Each gradient times the difference between the input and the baseline."""
    both = zip(gradients, tensors(own), tensors(absent), strict=True)
    return [gradient * (here - there) for gradient, here, there in both]


def by_place(question: Question, values: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Sums the values of each place and each word.

    Args:
        question: The question.
        values: Values of each medium, C *size or N Dv, followed by those of the words, T D.

    Returns:
        float N for each medium, and float T.
    """
    media = []
    for seen, one in zip(question.media, values[:-1], strict=True):
        is_value = one.shape == seen.values.shape
        media.append(places.sum_by_cell(one, seen.cells, seen.num_places) if is_value else one.sum(-1))
    return media, values[-1].sum(-1)
