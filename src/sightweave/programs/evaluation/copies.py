"""Detects images that occur under several names, so that they count as one image.

Questions about the same image are not independent of each other, so statistics draw whole images. A dataset that
contains each photograph twenty times contains no more evidence than one that contains it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightweave.core.types import Sample
from sightweave.data.inputs.modalities import contents


def merged(samples: Sequence[Sample]) -> list[Sample]:
    """Merges all groups that show the same images into the first of these groups; returns the changed samples."""
    content = contents(medium for sample in samples for medium in sample.media)
    shown: dict[str, set[str]] = {}
    for sample in samples:
        shown.setdefault(sample.group, set()).update(content[medium] for medium in sample.media)

    # The first group that shows exactly these images gives its name to all others.
    owner: dict[frozenset[str], str] = {}
    names: dict[str, str] = {}
    for group, pictures in shown.items():
        # groups without images cannot be compared and stay as they are
        names[group] = owner.setdefault(frozenset(pictures), group) if pictures else group

    found = []
    for sample in samples:
        group = names[sample.group]
        found.append(sample if group == sample.group else replace(sample, group=group))
    return found
