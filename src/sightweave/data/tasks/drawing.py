"""Drawing: make an image that shows what a text describes.

Zero-Shot Text-to-Image Generation (DALL-E, Ramesh et al. 2021, arXiv:2102.12092), section 2: a text, followed by the codes
of an image. Metrics of drawings need another trained model, so there is none by default, and drawings are then not scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Check, Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, task_name


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A description and the image that it describes."""

    id: str
    images: tuple[Medium, ...]
    """Images that the prompt shows in addition to the description; usually none."""
    description: str
    """What the drawing should show."""
    target_image: Medium
    """The image to learn."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    checks: tuple[Check, ...] = ()
    """Questions about the drawing whose answers follow from the description."""


@config
class Config:
    """Settings of the drawing task."""

    instruction: str = "Draw: {description}"
    """Prompt, in which ``{description}`` is replaced by the description."""
    metrics: Metrics = ()
    """Metrics of drawn images, such as ``[{kind: drawn_attributes, judge: runs/judge}]``. The first one is the task's score;
    without any, drawings are not scored."""

    def build(self) -> Drawing:
        """Creates the task with these settings."""
        return Drawing(instruction=self.instruction)


class Drawing:
    """The drawing task: converts descriptions with images to samples whose target is an image.

    Args:
        instruction: Prompt, in which ``{description}`` is replaced.
    """

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def prompt(self, description: str) -> str:
        """The prompt for a drawing."""
        return self.instruction.replace("{description}", description)

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt and its target image."""
        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.prompt(record.description)),
                Part("assistant", record.target_image, learn=True),
            ),
            group=record.group or group_of((*record.images, record.target_image), record.id),
            tags={"type": "drawing", **record.tags},
            regions=record.regions,
            checks=record.checks,
        )

    def parse(self, text: str) -> str | None:
        """Removes white space around text in the answer, which may be empty since the image is the answer."""
        return text.strip()
