"""Visual reasoning: questions that are answered in several steps, written out before the final answer.

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
    """A question about images, with its answer and the reasoning steps that lead to it."""

    id: str
    images: tuple[Medium, ...]
    """Images that the question is about, if any."""
    question: str
    answers: tuple[str, ...]
    """All acceptable answers; the first one is the training target."""
    rationale: str = ""
    """Reasoning steps in natural language; if empty, the training target is only the answer."""
    options: tuple[str, ...] = ()
    """Options of a multiple-choice question."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """Reference answers of all annotators, including duplicates; empty means that `answers` are the references."""
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the reasoning task."""

    instruction: str = "{question}"
    """Prompt; ``{question}`` is replaced by the record's question."""
    marker: str = "Answer:"
    """Text between the steps and the answer; the answer is the text after its last occurrence.

    In a reply without this text, answers in other usual forms are recognised, such as after ``the answer is``."""
    list_options: bool = False
    """Whether to list the options below the question, each with a letter."""
    answer_with: Literal["text", "letter"] = "text"
    """Training target if options are listed: the text or the letter of the correct option. Both are scored as correct."""
    metrics: Metrics = field(default_factory=scored_by("exact_match"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Reasoning:
        """Creates the task with these settings."""
        return Reasoning(
            instruction=self.instruction,
            marker=self.marker,
            list_options=self.list_options,
            answer_with=self.answer_with,
        )


class Reasoning:
    """The reasoning task: converts records to samples, and extracts final answers from replies with steps.

    Args:
        instruction: Prompt, in which ``{question}`` is replaced by the record's question.
        marker: Text between the steps and the answer.
        list_options: Whether to list the options below the question, each with a letter.
        answer_with: Training target if options are listed: ``text`` or ``letter`` of the correct option.
    """

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
        """Converts a record to a sample with its prompt, training target and references."""
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
        r"""Extracts the answer after the last marker, without a box or tag around it.

        If the text has no marker, the last answer in another usual form is returned, such as that of ``The answer is 3`` or
        ``\boxed{3}``. None if there is no answer.
        """
        steps, found, answer = text.rpartition(self.marker)
        if not found:
            return last_stated(text)

        if steps.endswith("**"):  # the marker is in bold; its closing asterisks are not part of the answer
            answer = answer.strip().removeprefix("**")
        return enclosed(answer) or answer.strip() or None
