"""The controls of an evaluation: the picture taken away, exchanged or blank, and pictures that were made worse.

A model that scores as well without the picture does not look; one that scores much worse on a slightly worse picture is
brittle. Each control is made of samples alone, so whatever answers samples can be controlled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.media import load
from sightweave.programs.evaluation.worse import WORSE

Control = Callable[[Sequence[Sample], int], list[Sample]]


def no_image(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The samples that have media, without them: what a blind model gets. The seed is not used."""
    return [
        replace(sample, parts=tuple(p for p in sample.parts if not isinstance(p.content, Medium)), regions=())
        for sample in samples
        if sample.media
    ]


def shuffled_image(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The samples that have media, each with another group's media.

    All samples of a group get the same other media, and no group keeps its own: the groups are put on a
    circle in random order, and each takes the media of the next one whose pictures differ.

    Raises:
        DataError: there are not two groups with different pictures.
    """
    sighted = [sample for sample in samples if sample.media]
    media: dict[str, tuple[Medium, ...]] = {}
    for sample in sighted:
        media.setdefault(sample.group, sample.media)
    names = list(media)
    order = np.random.default_rng(seed).permutation(len(names))
    circle = [names[i] for i in order]
    donor: dict[str, tuple[Medium, ...]] = {}
    for place, name in enumerate(circle):
        own = {medium.key for medium in media[name]}
        later = (media[circle[(place + step) % len(circle)]] for step in range(1, len(circle)))
        found = next((other for other in later if own.isdisjoint(m.key for m in other)), None)
        if found is None:
            raise DataError(
                f"shuffled_image: no other picture for group {name!r} among {len(names)} group(s); "
                "exchanging pictures needs two groups with different ones."
            )
        donor[name] = found
    return [_with_media(sample, donor[sample.group]) for sample in sighted]


def blank_image(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The samples that have media, each picture grey all over: something is there, and says nothing. No seed is used."""
    blank = Medium(_blank, "blank")
    return [_with_media(sample, (blank,)) for sample in samples if sample.media]


def _blank() -> np.ndarray:
    return np.full((64, 64, 3), 127, np.uint8)


def worse(change: str) -> Control:
    """A control that makes every picture worse in the way of `WORSE` that is named."""

    def control(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
        made: dict[str, Medium] = {}
        for sample in samples:
            for medium in sample.media:
                made.setdefault(
                    medium.key, Medium(partial(_changed, medium, change), f"{medium.key}#{change}")
                )
        return [
            _with_media(sample, tuple(made[medium.key] for medium in sample.media))
            for sample in samples
            if sample.media
        ]

    return control


def _changed(medium: Medium, change: str) -> np.ndarray:
    return WORSE[change](load(medium))


def _with_media(sample: Sample, media: tuple[Medium, ...]) -> Sample:
    """The sample with other media in the places of its own; a shorter list starts again."""
    parts: list[Part] = []
    count = 0
    for part in sample.parts:
        if isinstance(part.content, Medium):
            parts.append(replace(part, content=media[count % len(media)]))
            count += 1
        else:
            parts.append(part)
    return replace(sample, parts=tuple(parts), regions=())


CONTROLS: Mapping[str, Control] = {
    "no_image": no_image,
    "shuffled_image": shuffled_image,
    "blank_image": blank_image,
    **{name: worse(name) for name in WORSE},
}
"""By name; each gives one sample for every sample that has media, in order."""
