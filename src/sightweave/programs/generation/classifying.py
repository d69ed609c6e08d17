"""Prompts -> the likeliest answer of a list, by a model that classifies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from sightweave.core.batch import Batch
from sightweave.core.types import Likelihood, Prediction
from sightweave.models.vlm import VLM


@torch.inference_mode()
def classified(
    model: VLM,
    batch: Batch,
    answers: Sequence[str],
    texts: Sequence[Sequence[str]] = (),
    *,
    write: bool = True,
) -> list[Prediction]:
    """The likeliest answer of the list; its log-probability is that of the answer among all.

    Args:
        model: One that classifies.
        batch: Prompts.
        answers: The list.
        texts: Of each prompt those to judge, or empty for all. A text that is not in the list has no probability.
        write: Whether the likeliest is wanted, or only what is judged.
    """
    assert batch.target is not None  # prompts are tokens
    rows, width = batch.target.ids.shape
    at = torch.arange(rows, device=batch.target.ids.device) * width + batch.target.valid.sum(1) - 1
    logprobs = model(batch, at=at).logits.float().log_softmax(-1)

    said = [Prediction("", finish="none")] * rows
    if write:
        best, index = logprobs.max(-1)
        pairs = zip(best.tolist(), index.tolist(), strict=True)
        said = [Prediction(answers[number], logprob=logprob, tokens=1) for logprob, number in pairs]
    if not texts:
        return said

    column = {answer: number for number, answer in enumerate(answers)}

    def likelihood(row: int, text: str) -> Likelihood:
        return Likelihood(float(logprobs[row, column[text]]) if text in column else -math.inf, 1)

    judged = [tuple(likelihood(row, text) for text in each) for row, each in enumerate(texts)]
    return [replace(one, likelihoods=each) for one, each in zip(said, judged, strict=True)]
