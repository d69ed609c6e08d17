"""Visual question answering: a question about the picture, a short answer.

VQA: Visual Question Answering (Agrawal et al. 2015, arXiv:1505.00468).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.phrasing.lettered_options import answered, with_listing
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


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
    """Prompt and metrics of visual question answering."""

    instruction: str = "{question}"
    """Prompt; ``{question}`` is replaced by the record's question."""
    list_options: bool = False
    """Whether to list a record's options below the question, each with a letter."""
    answer_with: Literal["text", "letter"] = "text"
    """Form of the training target if options are listed: the option's text or its letter. Both are scored as correct."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Kinds in ``answers/metrics``, or mappings with their fields; the first one is the score."""

    def build(self) -> Vqa:
        """The task."""
        return Vqa(
            instruction=self.instruction,
            list_options=self.list_options,
            answer_with=self.answer_with,
        )


class Vqa:
    """Turns questions into samples, and answers into short answers."""

    def __init__(
        self, *, instruction: str, list_options: bool = False, answer_with: Literal["text", "letter"] = "text"
    ) -> None:
        self.instruction = instruction
        self.list_options, self.answer_with = list_options, answer_with

    def sample(self, record: Record) -> Sample:
        """The prompt and target of one record."""
        asked = self.instruction.replace("{question}", record.question)
        answer = record.answers[0] if record.answers else ""
        references = record.references or record.answers
        if self.list_options:
            asked = with_listing(asked, record.options)
            answer, references = answered(answer, references, record.options, self.answer_with)
        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", asked),
                Part("assistant", answer, learn=True),
            ),
            references=trimmed(references),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "question", **record.tags},
            options=record.options,
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """The answer as it was given, without white space at its ends; None where it is empty.

        A full stop stays: references are not cut either, and each metric decides what an ending counts.
        """
        return text.strip() or None
