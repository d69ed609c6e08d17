"""The same question in other words, and its options in another order: a model that understood it answers alike.

Quantifying Language Models' Sensitivity to Spurious Features in Prompt Design (Sclar et al. 2023, arXiv:2310.11324); Large
Language Models Are Not Robust Multiple Choice Selectors (Zheng et al. 2023, arXiv:2309.03882). The frames are rules and
not a model's paraphrases: what they ask stays the same for sure. A model from nothing that never met other wordings may fail
on every one, and that is what is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from sightweave.core.types import Part, Sample
from sightweave.data.tasks._options import rotate

FRAMES: tuple[Callable[[str], str], ...] = (
    lambda text: f"Question: {text} Answer:",
    lambda text: f"Please look at the picture. {text}",
    lambda text: f"{text} Please answer.",
    lambda text: f"Tell me: {text}",
)
"""Ways to put the same prompt."""


def reworded(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The same prompt in another frame of words, such as ``Question: ... Answer:``, drawn for each sample."""
    found: dict[int, Sample] = {}
    for number, sample in enumerate(samples):
        place = _last_text(sample)
        if place is None:
            continue
        part = sample.parts[place]
        draw = hashlib.sha256(f"{seed} {sample.id}".encode()).digest()[0]
        text = FRAMES[draw % len(FRAMES)](str(part.content))
        found[number] = _with_part(sample, place, replace(part, content=text))
    return found


def rotated_options(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """Questions that list their options, with the list turned by one place."""
    found: dict[int, Sample] = {}
    for number, sample in enumerate(samples):
        turned = rotate(sample, 1)
        if turned is not None:
            found[number] = turned
    return found


def _last_text(sample: Sample) -> int | None:
    """Number of the last text that the user says."""
    places = [
        place
        for place, part in enumerate(sample.parts)
        if part.role == "user" and isinstance(part.content, str) and part.content
    ]
    return places[-1] if places else None


def _with_part(sample: Sample, place: int, part: Part) -> Sample:
    return replace(sample, parts=(*sample.parts[:place], part, *sample.parts[place + 1 :]))
