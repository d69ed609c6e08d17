"""Multimodal machine translation: translate a sentence with the help of an image, which resolves ambiguous words.

Tackling Ambiguity with Images: Improved Multimodal Machine Translation and Contrastive Evaluation
(Futeral et al. 2023, arXiv:2212.10140).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.phrasing import languages
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed

LANGUAGES = languages.LANGUAGES
"""Names of languages in prompts, by language code; any other code is inserted unchanged."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A sentence with its image, and its translations."""

    id: str
    images: tuple[Medium, ...]
    """Images that the sentence is about, if any."""
    source: str
    """Sentence to translate."""
    targets: tuple[str, ...]
    """All acceptable translations; the first one is the training target."""
    source_language: str
    """Code of the source language, such as ``en``."""
    target_language: str
    """Code of the target language, such as ``de``."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the translation task."""

    instruction: str = "Translate into {language}: {source}"
    """Prompt; ``{language}`` is replaced by the target language's name, and ``{source}`` by the sentence."""
    metrics: Metrics = field(default_factory=scored_by("exact_match", "sacre_bleu", "chrf", "contrastive"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""

    def build(self) -> Translation:
        """Creates the task with these settings."""
        return Translation(instruction=self.instruction)


class Translation:
    """The translation task: converts sentences with images to samples.

    Args:
        instruction: Prompt, in which ``{language}`` and ``{source}`` are replaced.
    """

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def prompt(self, source: str, target_language: str) -> str:
        """The prompt for translating a sentence into a language, given by its code."""
        language = LANGUAGES.get(target_language, target_language)
        return self.instruction.replace("{language}", language).replace("{source}", source)

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references."""
        pair = f"{record.source_language}-{record.target_language}"

        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.prompt(record.source, record.target_language)),
                Part("assistant", record.targets[0] if record.targets else "", learn=True),
            ),
            references=trimmed(record.targets),
            group=record.group or group_of(record.images, record.id),
            # Metrics read the source sentence from this tag, so a dataset's own tag of that name must not replace it.
            tags={"type": "translation", "languages": pair, **record.tags, "source": record.source},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """Removes white space around the translation; None if nothing is left."""
        return text.strip() or None
