"""Visual reasoning: a question whose answer needs several steps, which are written before the answer.

Chain-of-Thought Prompting Elicits Reasoning in Large Language Models (Wei et al. 2022, arXiv:2201.11903).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.phrasing.lettered_options import answered, with_listing
from sightweave.data.phrasing.stated_answers import enclosed, last_stated
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An image, a question, the steps to its answer, and the answer."""

    id: str
    images: tuple[Medium, ...]
    """Images that the question is about: one, several, or none."""
    question: str
    answers: tuple[str, ...]
    """All answers; the first is the training target."""
    rationale: str = ""
    """Steps to the answer in natural language; empty means that the target is the answer alone."""
    options: tuple[str, ...] = ()
    """Options of a multiple-choice question."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """Answers of all annotators, including duplicates; empty means `answers`."""
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Prompt, answer format and metrics of reasoning."""

    instruction: str = "{question}"
    """Prompt; ``{question}`` is replaced by the record's question."""
    marker: str = "Answer:"
    """Text between the steps and the answer. The answer is what follows its last occurrence.

    Without it, an answer in another usual form is recognised, such as one after ``the answer is``."""
    list_options: bool = False
    """Whether to list a record's options below the question, each with a letter."""
    answer_with: Literal["text", "letter"] = "text"
    """Form of the training target if options are listed: the option's text or its letter. Both are scored as correct."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Kinds in ``answers/metrics``, or mappings with their fields; the first one is the score."""

    def build(self) -> Reasoning:
        """Makes the task."""
        return Reasoning(
            instruction=self.instruction,
            marker=self.marker,
            list_options=self.list_options,
            answer_with=self.answer_with,
        )


class Reasoning:
    """Turns reasoning records into samples, and answers with steps into answers."""

    def __init__(
        self,
        *,
        instruction: str,
        marker: str,
        list_options: bool = False,
        answer_with: Literal["text", "letter"] = "text",
    ) -> None:
        self.instruction = instruction
        self.marker = marker
        self.list_options, self.answer_with = list_options, answer_with

    def sample(self, record: Record) -> Sample:
        """Makes a sample of one record, with prompt and target."""
        prompt = self.instruction.replace("{question}", record.question)
        answer = record.answers[0] if record.answers else ""
        references = record.references or record.answers
        if self.list_options:
            prompt = with_listing(prompt, record.options)
            answer, references = answered(answer, references, record.options, self.answer_with)
        target = f"{record.rationale} {self.marker} {answer}".strip() if answer else ""

        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", prompt),
                Part("assistant", target, learn=True),
            ),
            references=trimmed(references),
            group=record.group or group_of(record.images, record.id),
            tags={"type": "question", **record.tags},
            options=record.options,
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        r"""The answer after the last marker, without a box or tag around it.

        Without the marker, the last answer in another usual form, such as ``The answer is 3`` or ``\boxed{3}``. None if
        there is no answer.
        """
        steps, found, answer = text.rpartition(self.marker)
        if not found:
            return last_stated(text)

        if steps.endswith("**"):  # the marker is bold, and the closing asterisks are not part of the answer
            answer = answer.strip().removeprefix("**")
        return enclosed(answer) or answer.strip() or None
