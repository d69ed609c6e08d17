"""Visual reasoning: a question whose answer needs steps; the steps are said before the answer.

Chain-of-Thought Prompting Elicits Reasoning in Large Language Models (Wei et al. 2022, arXiv:2201.11903).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A picture, a question, the steps to its answer, and the answer."""

    id: str
    images: tuple[Medium, ...]
    """What is asked about: one picture, several, or none."""
    question: str
    answers: tuple[str, ...]
    rationale: str = ""
    """The steps, as a person would say them; empty means that the answer is learnt alone."""
    options: tuple[str, ...] = ()
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """All answers that people gave, as often as they gave them; empty means `answers`."""
    regions: tuple[Region, ...] = ()


@config
class Config:
    """How reasoning is asked and scored."""

    instruction: str = "{question}"
    """``{question}`` is replaced by the record's question."""
    marker: str = "Answer:"
    """What stands between the steps and the answer; what follows its last occurrence decides."""
    metrics: tuple[str, ...] = ("exact_match",)
    """Files in ``answers/metrics``."""

    def build(self) -> Reasoning:
        """The task."""
        return Reasoning(instruction=self.instruction, marker=self.marker)


class Reasoning:
    """Turns reasoning records into samples, and answers with steps into answers."""

    def __init__(self, *, instruction: str, marker: str) -> None:
        self.instruction = instruction
        self.marker = marker

    def sample(self, record: Record) -> Sample:
        """The prompt and target of one record."""
        answer = record.answers[0] if record.answers else ""
        target = f"{record.rationale} {self.marker} {answer}".strip() if answer else ""
        return Sample(
            id=record.id,
            task="reasoning",
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.instruction.replace("{question}", record.question)),
                Part("assistant", target, learn=True),
            ),
            references=record.references or record.answers,
            group=record.group or group_of(record.images, record.id),
            tags={"type": "question", **record.tags},
            options=record.options,
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """What follows the last marker; None where there is no marker or nothing after it."""
        _, found, answer = text.rpartition(self.marker)
        return (answer.strip().rstrip(".").rstrip() or None) if found else None
