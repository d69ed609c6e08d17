"""The loss is that of next-token prediction: labels are shifted once, and only answers count."""

from __future__ import annotations

import torch

from sightweave.models.loss import training_loss
from sightweave.programs.checks._base import Finding, Subject, samples

_MOST = 1e-4
NEEDED = f"equal within {_MOST:g}"


def check(subject: Subject) -> Finding:
    """Compares the loss with the mean negative log-probability of the answer's tokens, computed from the ids alone."""
    if subject.is_classifier:
        return Finding(state="skip", measured="the model is a classifier")

    sample = samples(subject.processor)[1]
    encoded = subject.processor.encode(sample)
    batch = subject.batch([sample])
    assert batch.target is not None  # samples always have a target
    with torch.inference_mode():
        loss = float(training_loss(subject.model(batch), batch))

    # The answer comes last; the position before each of its tokens predicts it.
    answer = encoded.target.ids
    first = batch.target.ids.shape[1] - len(answer)
    at = torch.arange(first - 1, first - 1 + len(answer), device=subject.device)
    logprobs = subject.logits(batch, at).log_softmax(-1)
    expected = -float(logprobs[torch.arange(len(answer)), torch.tensor(answer)].mean())

    is_fine = abs(loss - expected) <= _MOST * max(1.0, abs(expected))
    return Finding(
        state="pass" if is_fine else "fail",
        measured=f"loss {loss:.5f}, by hand {expected:.5f}",
        needed=NEEDED,
    )
