"""Conversation: turns of a user and an assistant, with images anywhere in them.

Visual Instruction Tuning (Liu et al. 2023, arXiv:2304.08485). Every answer is a training target; the last one is scored.
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
    """``system``, ``user`` or ``assistant``."""
    content: tuple[str | int, ...]
    """Texts and, in their place among these, the numbers of the record's images, from 0."""
    learn: bool = True
    """Whether an assistant turn is a training target."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A conversation with its images."""

    id: str
    images: tuple[Medium, ...]
    """All images, each used in exactly one turn."""
    turns: tuple[Turn, ...]
    """All turns; the last one is the assistant's (for training) or the user's (to be answered)."""
    references: tuple[str, ...] = ()
    """Reference answers to the last question; empty means the last assistant turn."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """System prompt and metrics of conversations."""

    instruction: str = ""
    """System prompt for conversations without one of their own; empty means none."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Kinds in ``answers/metrics``, or mappings with their fields; the first one is the score."""

    def build(self) -> Conversation:
        """Makes the task."""
        return Conversation(instruction=self.instruction)


class Conversation:
    """Turns conversations into samples."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """Makes a sample of one record, with prompt and target."""
        parts: list[Part] = []
        if self.instruction and all(turn.role != "system" for turn in record.turns):
            parts.append(Part("system", self.instruction))
        for turn in record.turns:
            learn = turn.role == "assistant" and turn.learn
            for piece in turn.content:
                content = record.images[piece] if isinstance(piece, int) else piece
                parts.append(Part(turn.role, content, learn=learn))

        # The answer to score is the last assistant turn, which is empty if the last turn is the user's.
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
        """The answer without white space at its ends; None if it is empty."""
        return text.strip() or None
