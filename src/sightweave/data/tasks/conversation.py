"""Conversation: alternating turns of a user and an assistant, with images anywhere in the user's turns.

Visual Instruction Tuning (Liu et al. 2023, arXiv:2304.08485). All assistant turns are training targets; the last one is
scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """Author of the turn: ``system``, ``user`` or ``assistant``."""
    content: tuple[str | int, ...]
    """Texts and images in order; an image is given as its index in the record's images."""
    learn: bool = True
    """Whether an assistant turn is a training target."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A conversation with its images."""

    id: str
    images: tuple[Medium, ...]
    """All images, each used in exactly one turn."""
    turns: tuple[Turn, ...]
    """All turns. The last one is an assistant turn for training, or a user turn that a model is to answer."""
    references: tuple[str, ...] = ()
    """Reference answers to the last question; empty means that the last assistant turn is the reference."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the conversation task."""

    instruction: str = ""
    """System prompt for conversations that have none of their own; empty adds none."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Conversation:
        """Creates the task with these settings."""
        return Conversation(instruction=self.instruction)


class Conversation:
    """The conversation task: converts conversations to samples.

    Args:
        instruction: System prompt for conversations that have none of their own; empty adds none.
    """

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references."""
        parts: list[Part] = []
        if self.instruction and all(turn.role != "system" for turn in record.turns):
            parts.append(Part("system", self.instruction))
        for turn in record.turns:
            learn = turn.role == "assistant" and turn.learn
            for piece in turn.content:
                content = record.images[piece] if isinstance(piece, int) else piece
                parts.append(Part(turn.role, content, learn=learn))

        # The last assistant turn is scored. If the last turn is the user's, add an empty one for the answer.
        last_turn = record.turns[-1] if record.turns else None
        answer = ""
        if last_turn is not None and last_turn.role == "assistant":
            answer = "".join(piece for piece in last_turn.content if isinstance(piece, str))
        else:
            parts.append(Part("assistant", "", learn=True))

        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=tuple(parts),
            references=trimmed(record.references or ((answer,) if answer else ())),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "conversation", **record.tags},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """Removes white space around the answer; None if nothing is left."""
        return text.strip() or None
