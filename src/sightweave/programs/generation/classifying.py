"""Answers prompts with a model that classifies: chooses the most likely answer from a list."""

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
    """The most likely answer of the list for each prompt; log-probabilities are relative to all answers of the list.

    Args:
        model: A model that classifies.
        batch: Prompts.
        answers: The list of answers.
        texts: For each prompt, the texts to score; an empty sequence scores none. A text outside the list has
            probability 0.
        write: Whether to return answers, or only the likelihoods of texts.
    """
    # The classifier reads the last token of each prompt.
    assert batch.target is not None  # prompts always have tokens
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
    found = []
    for row, (one, wanted) in enumerate(zip(said, texts, strict=True)):
        likelihoods = []
        for text in wanted:
            logprob = float(logprobs[row, column[text]]) if text in column else -math.inf
            likelihoods.append(Likelihood(logprob, 1))
        found.append(replace(one, likelihoods=tuple(likelihoods)))
    return found
