"""No token of an answer can attend to a later one."""

from __future__ import annotations

from dataclasses import replace

from sightweave.programs.checks._base import Finding, Subject, largest, samples

_MOST = 1e-6
NEEDED = f"earlier logits change by at most {_MOST:g}, later logits change"


def check(subject: Subject) -> Finding:
    """Changes a token in the middle of an answer, and compares the logits before and after it."""
    if subject.is_classifier:
        return Finding(state="skip", measured="the model is a classifier")

    batch = subject.batch([samples(subject.processor)[1]])
    assert batch.target is not None  # samples always have a target

    # Replace a token in the middle of the answer.
    at = batch.target.predicting()
    middle = int(at[(len(at) - 1) // 2]) + 1
    ids = batch.target.ids.clone()
    ids[0, middle] = ids[0, middle - 1] if ids[0, middle] != ids[0, middle - 1] else ids[0, middle] + 1
    changed = replace(batch, target=replace(batch.target, ids=ids))

    before, after = subject.logits(batch, at), subject.logits(changed, at)
    is_early = at < middle
    early, late = largest(after[is_early], before[is_early]), largest(after[~is_early], before[~is_early])

    is_fine = early <= _MOST and late > 0
    return Finding(
        state="pass" if is_fine else "fail", measured=f"earlier {early:.2g}, later {late:.2g}", needed=NEEDED
    )
