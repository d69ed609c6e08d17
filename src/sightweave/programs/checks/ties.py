"""A tied output head is the table of token embeddings, and follows changes of the table."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sightweave.programs.checks._base import Finding, Subject, largest

_MOST = 1e-5
NEEDED = f"logits follow the table within {_MOST:g}"


def check(subject: Subject) -> Finding:
    """Changes the token embedding for a moment, and compares the head's logits with hidden states times the table."""
    if not getattr(subject.parts.language_model, "tie_embeddings", False) or subject.is_classifier:
        return Finding(state="skip", measured="the head has its own weights")

    language_model = subject.model.language_model
    table = language_model.token_embedding.table.weight
    before = table.detach().clone()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, language_model.dim, generator=generator).to(subject.device)
    change = torch.randn(table.shape, generator=generator).to(table) * before.std()

    try:
        with torch.no_grad():
            table.add_(change)
            logits, expected = language_model.head(hidden), F.linear(hidden, table)
            # A head may divide all its logits by the same number.
            scale = float((logits * expected).sum() / (expected * expected).sum())
            difference = largest(logits, scale * expected)
    finally:
        with torch.no_grad():
            table.copy_(before)

    return Finding(
        state="pass" if difference <= _MOST else "fail",
        measured=f"difference {difference:.2g}",
        needed=NEEDED,
    )
