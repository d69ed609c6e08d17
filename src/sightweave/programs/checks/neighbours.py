"""Padding, packing and other prompts about the same image change no logit of a sample."""

from __future__ import annotations

import torch

from sightweave.data.inputs.collate import bundle
from sightweave.programs.checks._base import Finding, Subject, largest, samples

_MOST = 1e-4
NEEDED = f"at most {_MOST:g} of the largest logit"


def check(subject: Subject) -> Finding:
    """Compares each sample alone with the same sample in a batch: in its own row, as a branch, and packed with others."""
    asked = samples(subject.processor)
    encoded = [subject.processor.encode(sample) for sample in asked]
    alone = [subject.logits(subject.batch([one], share=False)) for one in encoded]

    apart, shared = bundle(encoded, share=False), bundle(encoded)
    ways = {
        "padding": [[one] for one in apart],
        "sharing": [[one] for one in shared],
        "packing": [apart],
    }
    lengths = [len(one) for one in alone]
    found = {}
    for name, rows in ways.items():
        batch = subject.processor.batch_rows(rows).to(subject.device)
        logits = subject.logits(batch)
        if len(logits) != sum(lengths):
            found[name] = float("inf")
            continue
        pairs = zip(torch.split(logits, lengths), alone, strict=True)
        found[name] = max(largest(one, other) for one, other in pairs)

    is_fine = max(found.values()) <= _MOST
    told = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
    return Finding(state="pass" if is_fine else "fail", measured=told, needed=NEEDED)
