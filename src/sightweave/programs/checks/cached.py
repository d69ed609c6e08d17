"""Decoding several prompts at once with a cache gives the same results as decoding each one alone without a cache."""

from __future__ import annotations

from sightweave.core.types import Sample
from sightweave.data.inputs.template import Stretch
from sightweave.programs import generation
from sightweave.programs.checks._base import Finding, Subject, samples

_TOKENS = 6
NEEDED = "equal answers, and likelihoods within 0.001"


def check(subject: Subject) -> Finding:
    """Generates a few tokens greedily in both ways, and compares likelihoods of the samples' own answers."""
    if subject.is_classifier:
        return Finding(state="skip", measured="the model is a classifier")

    asked = samples(subject.processor)
    options = generation.Options(max_tokens=_TOKENS)
    targets = [[sample.target] for sample in asked]
    with_cache = generation.generate(subject.model, subject.processor, asked, options, targets)

    equal, off = 0, 0.0
    for one, sample in zip(with_cache, asked, strict=True):
        equal += one.text == _greedy(subject, sample)
        off = max(off, abs(one.likelihoods[0].logprob - _likelihood(subject, sample)))

    is_fine = equal == len(asked) and off <= 1e-3
    return Finding(
        state="pass" if is_fine else "fail",
        measured=f"{equal} of {len(asked)} answers equal, likelihoods differ by {off:.2g}",
        needed=NEEDED,
    )


def _greedy(subject: Subject, sample: Sample) -> str:
    """The greedy answer, with a full forward pass for each token."""
    tokenizer = subject.processor.tokenizer
    said: list[int] = []

    while len(said) < _TOKENS:
        encoded = subject.processor.encode(sample)
        encoded.target = Stretch()
        encoded.target.add([*said, tokenizer.end_id], learn=True)
        token = int(subject.logits(subject.batch([encoded]))[-1].argmax())
        if token == tokenizer.end_id:
            break
        said.append(token)

    return tokenizer.decode(said)


def _likelihood(subject: Subject, sample: Sample) -> float:
    """Log-probability of the sample's own answer, from one full forward pass."""
    encoded = subject.processor.encode(sample)
    logprobs = subject.logits(subject.batch([encoded])).log_softmax(-1)
    chosen = zip(logprobs[-len(encoded.target) :], encoded.target.ids, strict=True)
    return sum(float(row[token]) for row, token in chosen)
