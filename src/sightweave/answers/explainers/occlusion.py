"""Occlusion: how much the score falls when a place or a word is replaced.

Visualizing and Understanding Convolutional Networks (Zeiler and Fergus 2013, arXiv:1311.2901), section 4.2. Words of the
prompt are occluded too, one token at a time. The method needs neither gradients nor attention, so it explains every model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sightweave.answers.attribution.question import Inputs, Question
from sightweave.answers.explainers._base import BASELINES, Attribution, Baseline
from sightweave.core.config import config
from sightweave.core.errors import RecipeError


@config
class Config:
    """Options of occlusion."""

    window: tuple[int, ...] = (1,)
    """Size of the occluded window in places along each axis; a single number holds for all axes."""
    stride: tuple[int, ...] = (1,)
    """Distance between neighbouring windows in places along each axis; a single number holds for all axes."""
    baseline: Baseline = "grey"
    """Filling of a window: grey (from a blank medium) or mean (the mean of the medium's features)."""
    batch_size: int = 32
    """Number of occluded inputs in one forward pass; it does not change the result."""

    def build(self) -> Occlusion:
        """Builds the method."""
        return Occlusion(
            window=self.window, stride=self.stride, baseline=self.baseline, batch_size=self.batch_size
        )


class Occlusion:
    """Replaces one window after another; a place's value is the mean fall of the score over all windows that cover it.

    Windows at the lower and right edges may reach over them, so that all places are covered.

    Args:
        window: Size of the window along each axis, in places.
        stride: Distance between windows along each axis, in places.
        baseline: ``grey`` or ``mean``.
        batch_size: Number of inputs in one forward pass.

    Raises:
        ValueError: a size is below 1, or a stride is larger than its window, so that places would be left out.
    """

    def __init__(
        self,
        *,
        window: Sequence[int] = (1,),
        stride: Sequence[int] = (1,),
        baseline: Baseline = "grey",
        batch_size: int = 32,
    ) -> None:
        sizes = [*window, *stride, batch_size]
        if min(sizes) < 1 or not window or not stride:
            raise ValueError(
                f"occlusion: window, stride and batch_size must be 1 or more (got {tuple(window)}, {tuple(stride)} and "
                f"{batch_size})."
            )
        for size, step in zip(*_alike(window, stride), strict=True):
            if step > size:
                raise ValueError(
                    f"occlusion: stride {tuple(stride)} is larger than window {tuple(window)}, so some places would "
                    "never be occluded; choose a smaller stride."
                )
        self.window, self.stride = tuple(window), tuple(stride)
        self.baseline, self.batch_size = baseline, batch_size

    def refusal(self, question: Question) -> str:
        """Every model can be asked again."""
        return ""

    def attribute(self, question: Question) -> Attribution:
        """The fall of the score for each place and token, in nats.

        Raises:
            RecipeError: the window or the stride has another number of axes than a medium.
        """
        with torch.no_grad():
            return self._attribute(question)

    def _attribute(self, question: Question) -> Attribution:
        own = question.own()
        (before,) = question.scores([own]).double()
        are_features = self.baseline == "mean"
        whole, absent = question.own(are_features=are_features), question.absent(are_features=are_features)

        # Media: the mean fall over the windows that cover each place.
        media: list[Tensor] = []
        for number, seen in enumerate(question.media):
            masks = self._masks(seen.shape, seen.name)
            inputs = (_without(question, whole, absent, number, mask) for mask in masks)
            falls = before - self._scores(question, inputs)
            cover = torch.stack(masks).flatten(1).to(falls)
            media.append((falls @ cover / cover.sum(0)).to(whole.media[number].dtype))

        # Words: the media stay as they are, so they need not be encoded again.
        features = question.own(are_features=True)
        falls = before - self._scores(question, _without_each_word(question, features))
        return Attribution(media, falls.float(), unit="nats", baseline=BASELINES[self.baseline])

    def _masks(self, shape: Sequence[int], name: str) -> list[Bool[Tensor, "*places"]]:
        """The places that each window covers.

        Raises:
            RecipeError: the window or the stride has another number of axes.
        """
        for what, sizes in (("window", self.window), ("stride", self.stride)):
            if len(sizes) not in (1, len(shape)):
                raise RecipeError(
                    f"occlusion: {what} {sizes} has {len(sizes)} axes, but the places of {name!r} have {len(shape)} "
                    f"({' x '.join(map(str, shape))}); give one number per axis, or one for all."
                )
        window, stride = _alike(self.window, self.stride, len(shape))

        starts = []
        for length, size, step in zip(shape, window, stride, strict=True):
            count = -(-max(0, length - size) // step) + 1
            starts.append([step * index for index in range(count)])

        masks = []
        for corner in itertools.product(*starts):
            mask = torch.zeros(tuple(shape), dtype=torch.bool)
            mask[tuple(slice(at, at + size) for at, size in zip(corner, window, strict=True))] = True
            masks.append(mask)
        return masks

    def _scores(self, question: Question, inputs: Iterator[Inputs]) -> Float[Tensor, " n"]:
        found: list[Tensor] = []
        while chunk := list(itertools.islice(inputs, self.batch_size)):
            found.append(question.scores(chunk).double())
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def _alike(*sizes: Sequence[int] | int) -> list[tuple[int, ...]]:
    """Sizes along the same number of axes: that of the longest, or that of a number at the end."""
    given = [one for one in sizes if not isinstance(one, int)]
    axes = next((one for one in sizes if isinstance(one, int)), max(map(len, given)))
    return [tuple(one) * axes if len(one) == 1 else tuple(one) for one in given]


def _without(question: Question, whole: Inputs, absent: Inputs, number: int, mask: Tensor) -> Inputs:
    """The inputs without some places of one medium."""
    seen, kept, filling = question.media[number], whole.media[number], absent.media[number]
    is_out = mask.flatten().to(kept.device)
    if whole.are_features:
        filled = torch.where(is_out[:, None], filling, kept)
    else:
        filled = torch.where(is_out[seen.cells.to(kept.device)], filling, kept)

    media = [filled if index == number else one for index, one in enumerate(whole.media)]
    return Inputs(media, whole.words, whole.are_features)


def _without_each_word(question: Question, whole: Inputs) -> Iterator[Inputs]:
    """The inputs without one token of the prompt, for each token."""
    for index in range(len(question.words)):
        words = question.words.clone()
        words[index] = question.mean_word
        yield Inputs(whole.media, words, whole.are_features)
