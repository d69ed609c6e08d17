"""Another picture changes the logits; the same one does not."""

from __future__ import annotations

from sightweave.programs.checks._base import Finding, Subject, ask, largest, picture

_LEAST = 1e-5
NEEDED = f"a change of {_LEAST:g} or more, as a fraction of the largest logit; none for the same image"


def check(subject: Subject) -> Finding:
    """Asks the same of three pictures, two of them equal."""
    answer = subject.processor.answers[0] if subject.processor.answers else "a red ball"
    same, again, other = (
        subject.logits(subject.batch([ask("image", picture(n), "what is in the picture ?", answer=answer)]))
        for n in (8, 8, 9)
    )
    change, noise = largest(other, same), largest(again, same)
    is_fine = change >= _LEAST and noise == 0
    return Finding(
        state="pass" if is_fine else "fail",
        measured=f"another image {change:.2g}, the same image {noise:.2g}",
        needed=NEEDED,
    )
