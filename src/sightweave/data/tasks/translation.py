"""Multimodal machine translation: a sentence with an image, from one language to another.

Tackling Ambiguity with Images: Improved Multimodal Machine Translation and Contrastive Evaluation
(Futeral et al. 2023, arXiv:2212.10140). The image resolves what the words leave ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightweave.core.config import config
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.tasks._base import Metrics, scored_by, task_name, trimmed

LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "zh": "Chinese",
    "cs": "Czech",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "ru": "Russian",
    "ar": "Arabic",
    "hi": "Hindi",
    "bn": "Bengali",
    "ja": "Japanese",
    "ko": "Korean",
    "tr": "Turkish",
}
"""Names of languages in instructions, by code; any other code is used as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A sentence with its image, and its translations."""

    id: str
    images: tuple[Medium, ...]
    """Images that the sentence is about: one, several, or none."""
    source: str
    """Sentence to translate."""
    targets: tuple[str, ...]
    """All translations; the first is the training target."""
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
    """Prompt and metrics of translation."""

    instruction: str = "Translate into {language}: {source}"
    """Prompt; ``{language}`` and ``{source}`` are replaced."""
    metrics: Metrics = field(default_factory=scored_by("exact_match", "sacre_bleu", "chrf", "contrastive"))
    """Kinds in ``answers/metrics``, or mappings with their fields; the first one is the score."""

    def build(self) -> Translation:
        """Makes the task."""
        return Translation(instruction=self.instruction)


class Translation:
    """Turns sentences with images into samples."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def prompt(self, source: str, target_language: str) -> str:
        """The prompt for one sentence."""
        language = LANGUAGES.get(target_language, target_language)
        return self.instruction.replace("{language}", language).replace("{source}", source)

    def sample(self, record: Record) -> Sample:
        """Makes a sample of one record, with prompt and target."""
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
            # Metrics read the sentence from the tag source, so a tag of the data must not replace it.
            tags={"type": "translation", "languages": pair, **record.tags, "source": record.source},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """The translation without white space at its ends; None if it is empty."""
        return text.strip() or None
