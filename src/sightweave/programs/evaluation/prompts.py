"""The same question in other words, and its options in another order: a model that understood it answers alike.

Quantifying Language Models' Sensitivity to Spurious Features in Prompt Design (Sclar et al. 2023, arXiv:2310.11324); Large
Language Models Are Not Robust Multiple Choice Selectors (Zheng et al. 2023, arXiv:2309.03882). The frames are rules and
not a model's paraphrases: what they ask stays the same for sure. A model from nothing that never met other wordings may fail
on every one, and that is what is measured. Samples without a picture stay out, as of all controls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from sightweave.core.types import Part, Sample
from sightweave.data.phrasing.lettered_options import rotate

FRAMES: tuple[Callable[[str, str], str], ...] = (
    lambda text, gap: f"Question: {text}{gap}Answer:",
    lambda text, gap: f"Please tell me: {text}",
    lambda text, gap: f"{text}{gap}Please answer.",
)
"""Words around a prompt, which stays whole; the gap is what stands before words that follow it."""
_MARKS = "?.!\u3002\uff1f\uff01\u061f\u0964"
"""Ends of a sentence, also in Chinese, Arabic and Hindi."""


def reworded(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The same prompt in another frame of words, such as ``Question: ... Answer:``, drawn for each sample."""
    found: dict[int, Sample] = {}
    for number, sample in enumerate(samples):
        place = _last_text(sample)
        if place is None or not sample.media:
            continue
        part = sample.parts[place]
        draw = hashlib.sha256(f"{seed} {sample.id}".encode()).digest()[0]
        ways = ways_of(str(part.content), sample.task)
        found[number] = _with_part(sample, place, replace(part, content=ways[draw % len(ways)]))
    return found


def ways_of(text: str, task: str) -> list[str]:
    """All other wordings of a prompt; a sentence to translate stays as it is, and nothing is said in its line."""
    # Words after the last option would be read as a part of it, and words after a sentence as more to translate.
    gap = "\n" if "\n" in text or task == "translation" else " "
    bare = text if task == "translation" else _bare(text)
    return [frame(text, gap) for frame in FRAMES] + ([bare] if bare != text else [])


def _bare(text: str) -> str:
    """``What is it?`` as ``what is it``; of several lines only the first changes."""
    first, line_end, rest = text.partition("\n")
    shorter = first.rstrip().rstrip(_MARKS).rstrip() or first
    is_word = shorter[1:2].islower()  # TV and "I see" keep their capitals
    return (shorter[:1].lower() + shorter[1:] if is_word else shorter) + line_end + rest


def rotated_options(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """Questions about a picture that list their options, with the list turned by one place."""
    found: dict[int, Sample] = {}
    for number, sample in enumerate(samples):
        turned = rotate(sample, 1) if sample.media else None
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
