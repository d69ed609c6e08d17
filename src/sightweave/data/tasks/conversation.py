"""Conversation: turns of a user and an assistant, with pictures anywhere in them.

Visual Instruction Tuning (Liu et al. 2023, arXiv:2304.08485). Every answer is learnt; the last one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: tuple[str | int, ...]
    """Texts, and numbers of the record's pictures where they stand, from 0."""
    learn: bool = True
    """Whether an assistant's words are learnt."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Turns, with the pictures that they speak of."""

    id: str
    images: tuple[Medium, ...]
    """All pictures, each of which one turn names."""
    turns: tuple[Turn, ...]
    """The last one may be the assistant's (to learn from) or the user's (to be answered)."""
    references: tuple[str, ...] = ()
    """Other right answers to the last question; empty means the last turn alone."""
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
        """The task."""
        return Conversation(instruction=self.instruction)


class Conversation:
    """Turns conversations into samples."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """The prompt and target of one record."""
        parts: list[Part] = []
        if self.instruction and all(turn.role != "system" for turn in record.turns):
            parts.append(Part("system", self.instruction))
        for turn in record.turns:
            learn = turn.role == "assistant" and turn.learn
            parts += [
                Part(turn.role, record.images[one] if isinstance(one, int) else one, learn=learn)
                for one in turn.content
            ]
        if not record.turns or record.turns[-1].role != "assistant":
            parts.append(Part("assistant", "", learn=True))
        last = "".join(p for p in record.turns[-1].content if isinstance(p, str)) if record.turns else ""
        said = (last,) if last and record.turns[-1].role == "assistant" else ()
        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=tuple(parts),
            references=trimmed(record.references or said),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "conversation", **record.tags},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """What was said; None where it is empty."""
        return text.strip() or None
