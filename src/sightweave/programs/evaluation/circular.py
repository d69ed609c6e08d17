"""Circular evaluation: asks each question once per rotation of its options, so guessing by position fails.

MMBench: Is Your Multi-modal Model an All-around Player? (Liu et al. 2023, arXiv:2307.06281), section 4. The metric
``circular_choice`` counts a question only if all of its rotations are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightweave.answers.metrics.circular_choice import TAG
from sightweave.core.types import Sample
from sightweave.data.phrasing.lettered_options import rotate


def expand(samples: Sequence[Sample]) -> list[Sample]:
    """Repeats samples with listed options once per rotation, with ids such as ``q7#2``; other samples are unchanged."""
    found: list[Sample] = []
    for sample in samples:
        for by in range(max(1, len(sample.options))):
            turned = rotate(sample, by)
            if turned is None:  # the sample lists no options
                found.append(sample)
                break

            name = sample.id if not by else f"{sample.id}#{by}"
            found.append(replace(turned, id=name, tags={**sample.tags, TAG: sample.id}))
    return found
