"""Image captioning: describe an image in words.

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
    """Images to describe."""
    captions: tuple[str, ...]
    """All captions; the first one is the training target. Datasets may also have a record for each caption."""
    prompt: str = ""
    """The record's own prompt; if it is empty, the task's instruction is used."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the captioning task."""

    instruction: str = "Describe the image."
    """Prompt for records that have none of their own."""
    metrics: Metrics = field(default_factory=scored_by("exact_match", "cider_d", "bleu", "rouge_l"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Captioning:
        """Creates the task with these settings."""
        return Captioning(instruction=self.instruction)


class Captioning:
    """The captioning task: converts records to samples, and a model's replies to captions.

    Args:
        instruction: Prompt for records that have none of their own.
    """

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references."""
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
        """Removes white space around the caption; None if nothing is left."""
        return text.strip() or None
