"""Each question once for every rotation of its options: who guesses by place does not guess all of them.

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
    """Samples that list options become one for each rotation, with ids such as ``q7#2``; others stay as they are."""
    found: list[Sample] = []
    for sample in samples:
        for by in range(max(1, len(sample.options))):
            turned = rotate(sample, by)
            if turned is None:
                found.append(sample)
                break
            name = sample.id if not by else f"{sample.id}#{by}"
            found.append(replace(turned, id=name, tags={**sample.tags, TAG: sample.id}))
    return found
