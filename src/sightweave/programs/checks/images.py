"""A different image (or other medium) changes the logits; the same one does not."""

from __future__ import annotations

from sightweave.programs.checks._base import Finding, Subject, ask, largest

_LEAST = 1e-5
NEEDED = f"a change of {_LEAST:g} or more, as a fraction of the largest logit; none for the same image"


def check(subject: Subject) -> Finding:
    """Asks the same question about three media of each modality, two of which are equal."""
    answer = subject.processor.answers[0] if subject.processor.answers else "a red ball"
    is_fine, measured = True, []
    for modality, loader in subject.processor.loaders.items():
        logits = []
        for number in (8, 8, 9):
            sample = ask("image", loader.example(number), "what is in the picture ?", answer=answer)
            logits.append(subject.logits(subject.batch([sample])))

        same, again, other = logits
        change, noise = largest(other, same), largest(again, same)
        is_fine = is_fine and change >= _LEAST and noise == 0
        measured.append(f"another {modality} {change:.2g}, the same {modality} {noise:.2g}")
    return Finding(state="pass" if is_fine else "fail", measured="; ".join(measured), needed=NEEDED)
