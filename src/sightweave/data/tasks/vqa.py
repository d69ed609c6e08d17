"""Visual question answering: questions about an image that have short answers.

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
    """A question about images, with its answers."""

    id: str
    images: tuple[Medium, ...]
    """Images that the question is about, if any."""
    question: str
    answers: tuple[str, ...]
    """All acceptable answers; the first one is the training target."""
    options: tuple[str, ...] = ()
    """Options of a multiple-choice question, or all possible answers if there are only a few."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """Reference answers of all annotators, including duplicates; empty means that `answers` are the references."""
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the visual question answering task."""

    instruction: str = "{question}"
    """Prompt; ``{question}`` is replaced by the record's question."""
    list_options: bool = False
    """Whether to list the options below the question, each with a letter."""
    answer_with: Literal["text", "letter"] = "text"
    """Training target if options are listed: the text or the letter of the correct option. Both are scored as correct."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Vqa:
        """Creates the task with these settings."""
        return Vqa(
            instruction=self.instruction,
            list_options=self.list_options,
            answer_with=self.answer_with,
        )


class Vqa:
    """The question answering task: converts records to samples, and a model's replies to short answers.

    Args:
        instruction: Prompt, in which ``{question}`` is replaced by the record's question.
        list_options: Whether to list the options below the question, each with a letter.
        answer_with: Training target if options are listed: ``text`` or ``letter`` of the correct option.
    """

    def __init__(
        self, *, instruction: str, list_options: bool = False, answer_with: Literal["text", "letter"] = "text"
    ) -> None:
        self.instruction = instruction
        self.list_options, self.answer_with = list_options, answer_with

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references."""
        prompt = self.instruction.replace("{question}", record.question)
        answer = record.answers[0] if record.answers else ""
        references = record.references or record.answers
        if self.list_options:
            prompt = with_listing(prompt, record.options)
            answer, references = answered(answer, references, record.options, self.answer_with)

        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", prompt),
                Part("assistant", answer, learn=True),
            ),
            references=trimmed(references),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "question", **record.tags},
            options=record.options,
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """The answer without white space at its ends; None if it is empty.

        A final full stop is kept, as in references; each metric decides whether to ignore it.
        """
        return text.strip() or None
