"""A head that is to be the table of token embeddings is that table, and stays it."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sightweave.programs.checks._base import Finding, Subject, largest

_MOST = 1e-5
NEEDED = f"logits follow the table within {_MOST:g}"


def check(subject: Subject) -> Finding:
    """Changes the table, and asks the head."""
    if not getattr(subject.parts.language_model, "tie_embeddings", False) or subject.is_classifier:
        return Finding(state="skip", measured="the head has its own weights")
    language_model = subject.model.language_model
    table = language_model.token_embedding.table.weight
    before = table.detach().clone()
    hidden = torch.randn(3, language_model.dim, generator=torch.Generator().manual_seed(0)).to(subject.device)
    try:
        with torch.no_grad():
            table.add_(
                torch.randn(table.shape, generator=torch.Generator().manual_seed(1)).to(table) * table.std()
            )
            logits, expected = language_model.head(hidden), F.linear(hidden, table)
            # A head may divide all its logits by one number.
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
