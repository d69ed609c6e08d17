"""Copies of one picture under several names count as one picture.

Questions about the same picture are not independent of each other, so statistics draw whole pictures. A dataset that
holds each photograph twenty times holds no more evidence for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightweave.core.types import Sample
from sightweave.data.inputs.modalities import contents


def merged(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, with one group for all groups that show the same pictures: the first one's name."""
    media = [medium for sample in samples for medium in sample.media]
    content = contents(media)
    shown: dict[str, set[str]] = {}
    for sample in samples:
        shown.setdefault(sample.group, set()).update(content[medium] for medium in sample.media)

    owner: dict[frozenset[str], str] = {}
    names: dict[str, str] = {}
    for group, pictures in shown.items():
        # Without a picture there is nothing to compare: such a group stays what it is.
        names[group] = owner.setdefault(frozenset(pictures), group) if pictures else group
    return [
        sample if names[sample.group] == sample.group else replace(sample, group=names[sample.group])
        for sample in samples
    ]
