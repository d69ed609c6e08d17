"""Visual question answering: a question about the picture, a short answer.

VQA: Visual Question Answering (Agrawal et al. 2015, arXiv:1505.00468).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A picture, a question and its answers."""

    id: str
    images: tuple[Medium, ...]
    """What is asked about: one picture, several, or none."""
    question: str
    answers: tuple[str, ...]
    """All of them; the first is learnt."""
    options: tuple[str, ...] = ()
    """The answers that are possible at all, where they are few."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """All answers that people gave, as often as they gave them; empty means `answers`."""
    regions: tuple[Region, ...] = ()


@config
class Config:
    """How questions are asked and scored."""

    instruction: str = "{question}"
    """``{question}`` is replaced by the record's question."""
    metrics: tuple[str, ...] = ("exact_match",)
    """Files in ``answers/metrics``."""

    def build(self) -> Vqa:
        """The task."""
        return Vqa(instruction=self.instruction)


class Vqa:
    """Turns questions into samples, and answers into short answers."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def sample(self, record: Record) -> Sample:
        """The prompt and target of one record."""
        return Sample(
            id=record.id,
            task="vqa",
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.instruction.replace("{question}", record.question)),
                Part("assistant", record.answers[0] if record.answers else "", learn=True),
            ),
            references=record.references or record.answers,
            group=record.group or group_of(record.images, record.id),
            tags={"type": "question", **record.tags},
            options=record.options,
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """The short answer in an answer; None where it is empty."""
        return text.strip().rstrip(".").rstrip() or None
