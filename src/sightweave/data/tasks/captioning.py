"""Image captioning: describe what the image shows.

Show and Tell: A Neural Image Caption Generator (Vinyals et al. 2015, arXiv:1411.4555).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An image and its captions."""

    id: str
    images: tuple[Medium, ...]
    """Images to describe: one, several, or none."""
    captions: tuple[str, ...]
    """All captions; the first is the training target (datasets may have one record per caption)."""
    prompt: str = ""
    """Prompt of this record; empty means the task's instruction."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Prompt and metrics of captioning."""

    instruction: str = "Describe the image."
    """User prompt for records without a prompt of their own."""
    metrics: Metrics = field(default_factory=scored_by("exact_match", "cider_d", "bleu", "rouge_l"))
    """Kinds in ``answers/metrics``, or mappings with their fields; the first one is the score."""

    def build(self) -> Captioning:
        """Makes the task."""
        return Captioning(instruction=self.instruction)


class Captioning:
    """Turns captioning records into samples, and answers into captions."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """Makes a sample of one record, with prompt and target."""
        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", record.prompt or self.instruction),
                Part("assistant", record.captions[0] if record.captions else "", learn=True),
            ),
            references=trimmed(record.captions),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "caption", **record.tags},
            regions=record.regions,
            is_caption=True,
        )

    def parse(self, text: str) -> str | None:
        """The caption without white space at its ends; None if it is empty."""
        return text.strip() or None
