"""Reading the words in an image: what signs say, and where they are.

The answer is the text of each sign on a line of its own, or, if places are asked for, the regions in their plain-text form
(``core/text_regions.py``). TextVQA (Singh et al. 2019, arXiv:1904.08920) asks questions that need reading; here, the text
itself is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.text_regions import TextRegion, format_regions, read_regions
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An image and the texts in it."""

    id: str
    images: tuple[Medium, ...]
    """The image."""
    signs: tuple[str, ...]
    """Plain-text form of each text region, such as ``[120 45 310 80] Exit``, in reading order. Empty if they
    are not known, as for an image to ask about."""
    with_places: bool = False
    """Whether the answer contains the places of the texts."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the reading task."""

    instruction: str = "What does the sign say?"
    """Prompt if only the text is asked for."""
    places_instruction: str = "What does the sign say, and where is it?"
    """Prompt if places are asked for too."""
    metrics: Metrics = field(default_factory=scored_by("region_match", "chrf", "box_f1"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Reading:
        """Creates the task with these settings."""
        return Reading(instruction=self.instruction, places_instruction=self.places_instruction)


class Reading:
    """The reading task: converts records to samples, and a model's replies to texts.

    Args:
        instruction: Prompt if only the text is asked for.
        places_instruction: Prompt if places are asked for too.
    """

    def __init__(self, *, instruction: str, places_instruction: str) -> None:
        self.instruction, self.places_instruction = instruction, places_instruction

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references.

        Raises:
            DataError: A sign of the record is not in the plain-text form of regions.
        """
        found: tuple[TextRegion, ...] = ()
        if record.signs:
            found = read_regions("\n".join(record.signs), f"signs of record {record.id!r}")
        texts = [one.text.replace("\n", " ") for one in found]
        answer = format_regions(found) if record.with_places else "\n".join(texts)
        kind = "text and places" if record.with_places else "text"
        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.places_instruction if record.with_places else self.instruction),
                Part("assistant", answer, learn=True),
            ),
            references=trimmed((answer,) if answer else ()),
            group=record.group or group_of(record.images, record.id),
            tags={"type": kind, **record.tags},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """Removes white space around the text; None if nothing is left."""
        return text.strip() or None
