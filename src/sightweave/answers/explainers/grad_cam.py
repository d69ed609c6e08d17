"""Grad-CAM: the last feature maps of a convolutional encoder, weighted by their gradients.

Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization (Selvaraju et al. 2016, arXiv:1610.02391),
section 3. It explains media only, and only those that a convolutional encoder reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sightweave.answers.attribution.question import Question, Seen
from sightweave.answers.explainers._base import Attribution
from sightweave.core.config import config


@config
class Config:
    """Grad-CAM has no options."""

    def build(self) -> GradCam:
        """Builds the method."""
        return GradCam()


class GradCam:
    """The positive part of ``sum_k a_k A_k``, in which A_k are feature maps and a_k the means of their gradients."""

    def refusal(self, question: Question) -> str:
        """Why there are no feature maps; empty if there are."""
        if not question.media:
            return "the prompt has no media"
        for modality in question.batch.media:
            encoder = question.model.encoders.path(modality).encoder
            if any(_is_attention(one) for one in encoder.modules()):
                return f"the encoder {type(encoder).__name__} is not convolutional"
            if len({one.values.shape for one in question.media if one.modality == modality}) > 1:
                return f"the prompt has media of different sizes, which {modality} encodes in several calls"
        for seen, maps in zip(question.media, _maps(question)[0], strict=True):
            if maps is None:
                return f"the encoder has no feature maps on the grid {' x '.join(map(str, seen.shape))} of {seen.name!r}"
        return ""

    def attribute(self, question: Question) -> Attribution:
        """The class activation map of each medium, without a unit."""
        found, score = _maps(question)
        maps = [one for one in found if one is not None]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(score, maps, allow_unused=True)

        media = []
        for one, gradient in zip(maps, gradients, strict=True):
            values = one.detach().flatten(1)  # C N
            if gradient is None:
                media.append(values.new_zeros(values.shape[1]))
                continue
            weights = gradient.flatten(1).mean(1)
            media.append((weights @ values).clamp(min=0))
        return Attribution(media, None, unit="activation, not negative")


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "attn" in name


def _maps(question: Question) -> tuple[list[Tensor | None], Tensor]:
    """The last feature maps of each medium, C *places, which are part of the graph of the score.

    The maps are the outputs of the last module whose outputs have the shape of the encoder's grid.
    """
    last: dict[str, list[Tensor]] = {}
    handles = []
    for modality in question.batch.media:
        path = question.model.encoders.path(modality)
        shape = next(one.shape for one in question.media if one.modality == modality)

        def keep(
            module: object, given: object, output: object, modality: str = modality, shape: object = shape
        ) -> object:
            if not isinstance(output, Tensor) or output.shape[2:] != shape:
                return None
            # Each medium gets a tensor of its own, so that the graph leads through it.
            pieces = [one if one.requires_grad else one.requires_grad_() for one in output.unbind()]
            last[modality] = pieces
            return torch.stack(pieces)

        handles += [
            one.register_forward_hook(keep) for one in path.encoder.modules() if one is not path.encoder
        ]
    try:
        with torch.enable_grad():
            score = question.scores([question.own()]).sum()
    finally:
        for handle in handles:
            handle.remove()

    return [_map_of(question.media, number, last) for number in range(len(question.media))], score


def _map_of(media: list[Seen], number: int, last: dict[str, list[Tensor]]) -> Tensor | None:
    modality = media[number].modality
    if modality not in last:
        return None
    return last[modality][sum(one.modality == modality for one in media[:number])]
