"""Multimodal machine translation: a sentence in one language, with a picture, to another language.

Tackling Ambiguity with Images: Improved Multimodal Machine Translation and Contrastive Evaluation
(Futeral et al. 2023, arXiv:2212.10140). The picture decides what the words leave open.
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
"""Names of language codes in instructions; another code stands for itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A sentence with its picture, and its translations."""

    id: str
    images: tuple[Medium, ...]
    """What the sentence is about: one picture, several, or none."""
    source: str
    targets: tuple[str, ...]
    source_language: str
    target_language: str
    """Language codes such as ``en``."""
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
        """The task."""
        return Translation(instruction=self.instruction)


class Translation:
    """Turns sentences with pictures into samples."""

    def __init__(self, *, instruction: str) -> None:
        self.instruction = instruction

    def prompt(self, source: str, target_language: str) -> str:
        """The instruction for one sentence."""
        language = LANGUAGES.get(target_language, target_language)
        return self.instruction.replace("{language}", language).replace("{source}", source)

    def sample(self, record: Record) -> Sample:
        """The prompt and target of one record."""
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
            # Metrics read the sentence there, so no tag of the data may stand in its place.
            tags={"type": "translation", "languages": pair, **record.tags, "source": record.source},
            regions=record.regions,
        )

    def parse(self, text: str) -> str | None:
        """The translation in an answer; None where it is empty."""
        return text.strip() or None
