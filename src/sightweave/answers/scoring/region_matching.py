"""Shared by metrics of text regions: the regions of an answer and of a reference, and which are in the same place."""

from __future__ import annotations

from collections.abc import Sequence

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion, parse_regions, read_regions
from sightweave.core.types import Sample

Pairs = list[tuple[int, int]]


def answer_regions(answer: str | None) -> tuple[TextRegion, ...]:
    """The regions in an answer; invalid ones, and lines that are not regions, are left out."""
    return parse_regions(answer or "").regions


def reference_regions(name: str, samples: Sequence[Sample]) -> list[tuple[TextRegion, ...]]:
    """The regions in the first reference of each sample; none if the reference is plain text.

    Args:
        name: Name of the metric for messages.
        samples: The samples.

    Raises:
        DataError: A reference has an invalid region, or no sample has regions.
    """
    found: list[tuple[TextRegion, ...]] = []
    for sample in samples:
        reference = sample.references[0]
        has_regions = reference.lstrip().startswith("[")
        found.append(read_regions(reference, f"{name}: reference of {sample.id!r}") if has_regions else ())

    if samples and not any(found):
        raise DataError(
            f"{name}: none of {len(samples)} sample(s) has text regions in its reference; "
            "use this metric for in-image translation, or for reading with places."
        )
    return found


def texts_of(answer: str | None) -> tuple[str, ...]:
    """The texts of an answer in their order: those of its regions, or else its lines; folded for comparison."""
    found = parse_regions(answer or "")
    texts = [region.text for region in found.regions] or (answer or "").splitlines()
    folded = [ratios.fold(text, ignore_case=False) for text in texts]
    return tuple(text for text in folded if text)


def overlap(one: TextRegion, other: TextRegion) -> float:
    """Intersection over union of two boxes before they are turned, 0 to 1."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (_area(one) + _area(other) - common)


def _area(region: TextRegion) -> float:
    left, top, right, bottom = region.box
    return (right - left) * (bottom - top)


def matched(answer: Sequence[TextRegion], reference: Sequence[TextRegion], threshold: float) -> Pairs:
    """Pairs of indices of regions in the same place, those with the largest overlap first.

    Each region is in at most one pair, and the overlap of a pair is at least `threshold`.
    """
    candidates = []
    for number, one in enumerate(answer):
        for place, other in enumerate(reference):
            shared = overlap(one, other)
            if shared >= threshold:
                candidates.append((-shared, number, place))

    pairs: Pairs = []
    for _, number, place in sorted(candidates):
        if number not in [first for first, _ in pairs] and place not in [second for _, second in pairs]:
            pairs.append((number, place))
    return pairs
