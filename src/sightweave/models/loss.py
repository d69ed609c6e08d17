"""The training losses: each reduces logits and labels to one number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sightweave.core.batch import Batch, Output, Regions, TokenSequence


@runtime_checkable
class WithHead(Protocol):
    """A language model, or a whole model if its head has image tokens too."""

    @property
    def vocab_size(self) -> int:
        """Number of logits V."""
        ...

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All parameters, among which are those of the head."""
        ...


@dataclass(frozen=True)
class Amounts:
    """The denominators of mean losses, for one batch or summed over all batches of an update.

    An update from several batches must divide by their total. In a mean of the batches' means, a token of a batch with
    few tokens would count more than a token of a full batch.
    """

    targets: float = 0.0
    """Sum of the weights of the tokens to learn; for classification, the number of rows."""
    words: int = 0
    """Number of regions, or of whole media, whose words are predicted."""
    pictures: int = 0
    """Number of pictures that the image tokenizer encodes and decodes."""

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(self.targets + other.targets, self.words + other.words, self.pictures + other.pictures)


def amounts(batch: Batch, *, length_power: float = 0.0, image_token_weight: float = 1.0) -> Amounts:
    """The denominators of a batch's losses, which are known before the forward pass.

    Args:
        batch: The batch.
        length_power: Weighting of tokens by the length of their answer, as in `token_loss`.
        image_token_weight: Factor of the weight of image tokens.
    """
    words = 0 if batch.regions is None else len(batch.regions.words)
    if batch.pictures is not None and batch.target is None:
        return Amounts(pictures=len(batch.pictures))
    if batch.class_scores is not None:
        return Amounts(float(len(batch.class_scores)), words)
    if batch.target is None:
        return Amounts(0.0, words)
    weights = _weights(batch, batch.target.predicting(), length_power, image_token_weight)
    return Amounts(float(weights.sum()), words)


def token_loss(
    output: Output,
    batch: Batch,
    *,
    length_power: float = 0.0,
    image_token_weight: float = 1.0,
    z_loss: float = 0.0,
    of: Amounts | None = None,
    language_model: WithHead | None = None,
) -> Float[Tensor, ""]:
    """Mean next-token cross-entropy in nats over the tokens to learn; position ``at`` predicts the label at ``at + 1``.

    Args:
        output: Logits ``R V`` at flat positions, or the input of the head at these positions.
        batch: Provides the labels, which are aligned with the tokens (not shifted).
        length_power: Each token has the weight ``1 / length ** length_power``, where length is that of its own answer:
            0 counts all tokens equally, 1 counts all answers equally, 0.5 is in between (InternVL 2.5,
            arXiv:2412.05271, section 3.2.2).
        image_token_weight: Factor of the weight of image tokens.
        z_loss: Weight of ``logsumexp(logits)^2``, which keeps logits from drifting (PaLM, arXiv:2204.02311).
        of: The denominator of the mean; None means that of this batch alone.
        language_model: Model whose head computes the logits, if the output has none.
    """
    assert output.at is not None
    assert batch.target is not None
    labels = batch.target.labels.flatten()[output.at + 1] if output.labels is None else output.labels
    weights = _weights(batch, output.at, length_power, image_token_weight)
    total = weights.sum() if of is None else of.targets
    if output.logits is None:
        assert output.hidden is not None
        assert language_model is not None
        return chunked_cross_entropy(language_model, output.hidden, labels, weights, z_loss=z_loss) / total
    losses = cross_entropies(output.logits, labels, z_loss=z_loss)
    return (losses * weights).sum() / total


def cross_entropies(
    logits: Float[Tensor, "R V"], labels: Int[Tensor, " R"], *, z_loss: float = 0.0
) -> Float[Tensor, " R"]:
    """Cross-entropy of each row in nats, computed in fp32 or better; 0 where the label is negative.

    With a large vocabulary the logits are the largest tensor of a training step, and torch's cross-entropy holds up to
    four tensors of that size at once. This function holds only the logits and their gradient, and processes a few rows
    at a time.

    Args:
        logits: Logits in any precision; the gradient has the same precision.
        labels: Index into V.
        z_loss: Weight of ``logsumexp(logits)^2``.
    """
    losses: Tensor = _CrossEntropies.apply(logits, labels, z_loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return losses


_LOSS_LOGITS = 1 << 20
"""Number of logits to process at once: 4 MB in fp32, which fits into a processor's cache."""


def _chunks(rows: int, size: int) -> list[slice]:
    """Slices of the rows, each with at most `size` rows."""
    return [slice(start, start + size) for start in range(0, rows, max(1, size))]


def _precise(x: Tensor) -> Tensor:
    """Converts a tensor to fp32, unless it is fp64."""
    return x if x.dtype == torch.float64 else x.float()


class _CrossEntropies(torch.autograd.Function):
    """Cross-entropies that store the logits and one number per row for the backward pass, but no softmax."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, z_loss: float) -> Tensor:
        """The losses of all rows."""
        totals = logits.new_empty(len(logits), dtype=_precise(logits[:0]).dtype)
        for rows in _chunks(len(logits), _LOSS_LOGITS // logits.shape[1]):
            totals[rows] = _precise(logits[rows]).logsumexp(-1)
        ctx.save_for_backward(logits, labels, totals)
        ctx.z_loss = z_loss
        at_label = _precise(logits.gather(1, labels.clamp(min=0)[:, None])[:, 0])
        losses = totals - at_label + z_loss * totals.square() if z_loss else totals - at_label
        return losses.where(labels >= 0, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the logits: softmax minus the one-hot label, times the gradient of each row's loss."""
        logits, labels, totals = ctx.saved_tensors
        gradient = _precise(gradient).where(labels >= 0, 0.0)
        factor = gradient * (1 + 2 * ctx.z_loss * totals)
        found = torch.empty_like(logits)
        for rows in _chunks(len(logits), _LOSS_LOGITS // logits.shape[1]):
            share = (_precise(logits[rows]) - totals[rows, None]).exp_().mul_(factor[rows, None])
            share.scatter_add_(1, labels[rows].clamp(min=0)[:, None], -gradient[rows, None])
            found[rows] = share
        return found, None, None


_HEAD_LOGITS = 1 << 23
"""Number of logits that the head computes at once: 32 MB in fp32. Smaller chunks would make its matrix products
slow."""


def is_chunked(batch: Batch, vocab_size: int) -> bool:
    """Whether a batch has so many target tokens that its loss should apply the head in chunks."""
    if batch.target is None or batch.class_scores is not None:
        return False
    return len(batch.target.predicting()) * vocab_size > 2 * _HEAD_LOGITS


def chunked_cross_entropy(
    language_model: WithHead,
    hidden: Float[Tensor, "R D"],
    labels: Int[Tensor, " R"],
    weights: Float[Tensor, " R"],
    *,
    z_loss: float = 0.0,
) -> Float[Tensor, ""]:
    """The weighted sum of the cross-entropies of the head's logits, computed for a few rows at a time.

    The gradient of each chunk is computed right after its loss, so that nothing is computed twice. It is exact; only
    the order of summation differs from that for all logits at once.

    Args:
        language_model: Model whose head is applied.
        hidden: Input of the head.
        labels: Index into V; rows with a negative label have no loss.
        weights: Factor of each row's loss.
        z_loss: Weight of ``logsumexp(logits)^2``.
    """
    # Inside the function below gradients are always disabled, so it cannot determine itself whether they are needed.
    needs_gradient = torch.is_grad_enabled()
    parameters = [one for one in language_model.parameters() if one.requires_grad and needs_gradient]
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        hidden, labels, weights, z_loss, language_model.head, language_model.vocab_size, *parameters
    )
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """A chunked loss that stores the gradients of the hidden states and of the head's parameters in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        labels: Tensor,
        weights: Tensor,
        z_loss: float,
        head: Callable[[Tensor], Tensor],
        vocab_size: int,
        *parameters: Tensor,
    ) -> Tensor:
        """The loss; also computes its gradients if any are needed."""
        is_wanted = any(ctx.needs_input_grad)
        of_hidden = torch.empty_like(hidden)
        of_parameters: list[Tensor | None] = [None] * len(parameters)
        loss = hidden.new_zeros((), dtype=_precise(hidden[:0]).dtype)
        for rows in _chunks(len(hidden), _HEAD_LOGITS // vocab_size):
            with torch.set_grad_enabled(is_wanted):
                chunk = hidden[rows].detach().requires_grad_(is_wanted)
                losses = cross_entropies(head(chunk), labels[rows], z_loss=z_loss)
                share = (losses * weights[rows]).sum()
            loss += share.detach()
            if is_wanted:
                of_hidden[rows], *found = torch.autograd.grad(share, [chunk, *parameters], allow_unused=True)
                of_parameters = list(map(_sum, of_parameters, found))
        ctx.save_for_backward(of_hidden, *of_parameters)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The stored gradients, multiplied by the gradient of the loss."""
        of_hidden, *of_parameters = (None if one is None else one * gradient for one in ctx.saved_tensors)
        return (of_hidden, None, None, None, None, None, *of_parameters)


def _sum(total: Tensor | None, more: Tensor | None) -> Tensor | None:
    """Adds two gradients, either of which may be None; not in place, because two parameters may share a gradient tensor."""
    if total is None or more is None:
        return more if total is None else total
    return total + more


def _weights(
    batch: Batch, at: Int[Tensor, " R"], length_power: float, image_token_weight: float
) -> Float[Tensor, " R"]:
    """For each position, the weight of the token after it, by the length of its answer and by its kind."""
    assert batch.target is not None
    weights = _length_weights(batch.target, at, length_power)
    if batch.image_tokens is None or image_token_weight == 1:
        return weights
    is_image = batch.target.labels.flatten()[at + 1] >= batch.image_tokens.first
    return weights.where(~is_image, weights * image_token_weight)


def _length_weights(tokens: TokenSequence, at: Int[Tensor, " R"], length_power: float) -> Float[Tensor, " R"]:
    """The weights by length: they depend on the number of tokens to learn in the same row, segment and branch."""
    if not length_power:
        return torch.ones(len(at), device=at.device)
    row = at // tokens.ids.shape[1]
    segment, branch = tokens.segment.flatten()[at], tokens.branch.flatten()[at]

    # One number for each answer: finding equal numbers is far faster than finding equal columns.
    answer = (row * (tokens.segment.max() + 1) + segment) * (tokens.branch.max() + 1) + branch
    _, own, counts = torch.unique(answer, return_inverse=True, return_counts=True)
    weights: Tensor = counts[own].float().pow(-length_power)
    return weights


def answer_loss(output: Output, batch: Batch, *, of: Amounts | None = None) -> Float[Tensor, ""]:
    """Sigmoid cross-entropy against each answer's score, summed over answers (Teney et al. 2017, arXiv:1708.02711).

    Args:
        output: Logits ``B A``.
        batch: Provides the score of each answer.
        of: The denominator of the mean; None means that of this batch alone.
    """
    assert output.logits is not None
    assert batch.class_scores is not None
    loss = F.binary_cross_entropy_with_logits(output.logits.float(), batch.class_scores, reduction="sum")
    return loss / (len(batch.class_scores) if of is None else of.targets)


def word_loss(output: Output, regions: Regions, *, of: Amounts | None = None) -> Float[Tensor, ""]:
    """Sigmoid cross-entropy of words for each region, or for each whole medium.

    A bag of words is scored against the token embeddings themselves, so that vision and language share one table. For a
    whole medium, the score of a word is the smooth maximum over the medium's embeddings (multiple-instance learning, as
    in From Captions to Visual Concepts and Back, Fang et al. 2014, arXiv:1411.4952), so no boxes are needed.

    Args:
        output: Provides the word logits of regions or of all embeddings.
        regions: The words to predict.
        of: The denominator of the mean; None means the number of regions or media in this batch.
    """
    assert output.region_logits is not None
    assert output.media is not None
    logits = output.region_logits.float()
    if regions.whole:
        logits = _smooth_maximum(torch.unflatten(logits, 0, (len(regions.words), -1)))
    targets = torch.zeros(len(logits), logits.shape[1] + 1, device=logits.device)
    targets.scatter_(1, regions.words.where(regions.words >= 0, logits.shape[1]), 1.0)
    bias = _BACKGROUND_BIAS
    loss = F.binary_cross_entropy_with_logits(logits - bias, targets[:, :-1], reduction="sum")
    return loss / max(1, len(logits) if of is None else of.words)


_BACKGROUND_BIAS = 4.0
"""Subtracted from the word logits, so that predictions start near the low rate at which a word is present."""


def _smooth_maximum(logits: Float[Tensor, "I Q V"]) -> Float[Tensor, "I V"]:
    return logits.logsumexp(1)


def picture_loss(
    output: Output, batch: Batch, *, edge_weight: float = 0.0, of: Amounts | None = None
) -> Float[Tensor, ""]:
    """Mean absolute error of pictures that were encoded and decoded by the image tokenizer, in shares of the value range.

    The error of edges is that of the differences between neighbouring pixels, down and across. It keeps outlines and
    letters sharp, which count for little in the error of pixels.

    Args:
        output: Provides the decoded pictures.
        batch: Provides the pictures.
        edge_weight: Weight of the error of edges.
        of: The denominator of the mean; None means the number of pictures in this batch.
    """
    assert output.pictures is not None
    assert batch.pictures is not None
    error = output.pictures.float() - batch.pictures.float()

    # The difference of two edges is the edge of the difference.
    losses = error.abs().mean((1, 2, 3))
    if edge_weight:
        down, across = error.diff(dim=2).abs().mean((1, 2, 3)), error.diff(dim=3).abs().mean((1, 2, 3))
        losses = losses + edge_weight * (down + across)
    return losses.sum() / max(1, len(losses) if of is None else of.pictures)


def training_loss(
    output: Output,
    batch: Batch,
    *,
    region_weight: float = 0.0,
    length_power: float = 0.0,
    image_token_weight: float = 1.0,
    z_loss: float = 0.0,
    edge_weight: float = 0.0,
    of: Amounts | None = None,
    language_model: WithHead | None = None,
) -> Float[Tensor, ""]:
    """The loss of one batch: tokens or answers if there is a target, plus words if the batch has regions.

    The loss of a batch that has only pictures is that of the image tokenizer.

    Args:
        output: Output of the model.
        batch: The batch.
        region_weight: Weight of the word loss.
        length_power: Weighting of tokens by the length of their answer, as in `token_loss`.
        image_token_weight: Factor of the weight of image tokens.
        z_loss: Weight of ``logsumexp(logits)^2``.
        edge_weight: Weight of the error of edges, as in `picture_loss`.
        of: The denominators of all batches of an update together; the losses of these batches then add up to their
            mean.
        language_model: Model whose head computes the logits, if the output has none.
    """
    if output.pictures is not None:
        return picture_loss(output, batch, edge_weight=edge_weight, of=of)

    parts: list[Tensor] = []
    if batch.class_scores is not None:
        parts.append(answer_loss(output, batch, of=of))
    elif output.logits is not None or output.hidden is not None:
        parts.append(
            token_loss(
                output,
                batch,
                length_power=length_power,
                image_token_weight=image_token_weight,
                z_loss=z_loss,
                of=of,
                language_model=language_model,
            )
        )
    if batch.regions is not None and output.region_logits is not None and len(batch.regions.words):
        weight = region_weight if parts else 1.0
        if weight:
            parts.append(weight * word_loss(output, batch.regions, of=of))
    # The stage trains on regions only, but this batch has none: return a loss of 0 that has a gradient.
    if not parts:
        assert output.media is not None
        return 0.0 * output.media.embeddings.float().sum()
    return torch.stack(parts).sum()
