"""Rewords questions and reorders their options: a model that understands the question gives the same answer.

Quantifying Language Models' Sensitivity to Spurious Features in Prompt Design (Sclar et al. 2023, arXiv:2310.11324);
Large Language Models Are Not Robust Multiple Choice Selectors (Zheng et al. 2023, arXiv:2309.03882). The frames are
fixed rules, not a model's paraphrases, so they certainly keep the meaning. A model trained from scratch that never saw
other wordings may fail on all of them, which is what this control measures. Samples without an image are excluded, as
in all controls.
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
"""Functions that put words around an unchanged prompt; the gap separates the prompt from words that follow it."""
_MARKS = "?.!\u3002\uff1f\uff01\u061f\u0964"
"""Punctuation at the end of a sentence, including Chinese, Arabic and Hindi marks."""


def reworded(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The prompts in another frame, such as ``Question: ... Answer:``, chosen at random for each sample."""
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
    """All other wordings of a prompt; a sentence to translate is unchanged and stays alone on its line."""
    # Words after the last option would be read as part of it, and words after a sentence would be translated too.
    gap = "\n" if "\n" in text or task == "translation" else " "
    bare = text if task == "translation" else _bare(text)
    framed = [frame(text, gap) for frame in FRAMES]
    return framed if bare == text else [*framed, bare]


def _bare(text: str) -> str:
    """Removes the capital at the beginning and the punctuation at the end of the first line of a text.

    Example: ``What is it?`` becomes ``what is it``.
    """
    first, line_end, rest = text.partition("\n")
    shorter = first.rstrip().rstrip(_MARKS).rstrip() or first
    is_word = shorter[1:2].islower()  # TV and "I see" keep their capitals
    return (shorter[:1].lower() + shorter[1:] if is_word else shorter) + line_end + rest


def rotated_options(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """Questions about an image that list options, with the list rotated by one position."""
    found: dict[int, Sample] = {}
    for number, sample in enumerate(samples):
        turned = rotate(sample, 1) if sample.media else None
        if turned is not None:
            found[number] = turned
    return found


def _last_text(sample: Sample) -> int | None:
    """Index of the user's last text part; None if there is none."""
    last = None
    for place, part in enumerate(sample.parts):
        if part.role == "user" and isinstance(part.content, str) and part.content:
            last = place
    return last


def _with_part(sample: Sample, place: int, part: Part) -> Sample:
    return replace(sample, parts=(*sample.parts[:place], part, *sample.parts[place + 1 :]))
