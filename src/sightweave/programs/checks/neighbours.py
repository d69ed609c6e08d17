"""Padding, packing and prompts on the same picture change no logit of a sample."""

from __future__ import annotations

import torch

from sightweave.data.inputs.collate import bundle
from sightweave.programs.checks._base import Finding, Subject, largest, samples

_MOST = 1e-4
NEEDED = f"at most {_MOST:g} of the largest logit"


def check(subject: Subject) -> Finding:
    """Compares each sample alone with itself beside others: on rows of their own, as branches, and packed into one row."""
    asked = samples(subject.processor)
    encoded = [subject.processor.encode(sample) for sample in asked]
    alone = [subject.logits(subject.batch([one], share=False)) for one in encoded]
    apart, shared = bundle(encoded, share=False), bundle(encoded)
    ways = {
        "padding": [[one] for one in apart],
        "sharing": [[one] for one in shared],
        "packing": [apart],
    }
    found = {}
    for name, rows in ways.items():
        batch = subject.processor.batch_rows(rows).to(subject.device)
        logits = subject.logits(batch)
        cut = torch.split(logits, [len(one) for one in alone]) if len(logits) == sum(map(len, alone)) else ()
        pairs = zip(cut, alone, strict=False)
        found[name] = max((largest(one, other) for one, other in pairs), default=float("inf"))
    is_fine = max(found.values()) <= _MOST
    told = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
    return Finding(state="pass" if is_fine else "fail", measured=told, needed=NEEDED)
