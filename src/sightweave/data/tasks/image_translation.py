"""In-image translation: translate the words in an image into another language, with the help of the whole image.

The answer has one line per sign: its place and colours, its words, and their translation, in the plain-text form of regions
(``core/text_regions.py``), such as ``[120 45 310 80 ink=#ffffff ground=#003060] bat => Fledermaus``. The writer ``rendered``
draws it. PATIMT-Bench (arXiv:2509.12278) has the same parts: boxes, source texts and translations.

With ``patch_size``, the answer goes on with a square picture for each sign, which shows the sign with its new words. A model
with an image tokenizer learns to write them, and the writer ``image_tokens`` sets them into the image.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import UInt8
from pydantic import PositiveInt

from sightweave.core.config import config
from sightweave.core.text_regions import TextRegion, format_regions, read_regions
from sightweave.core.types import Medium, Part, Region, Sample, group_of
from sightweave.data.inputs import image_files
from sightweave.data.phrasing.languages import LANGUAGES
from sightweave.data.tasks._base import Metrics, Writer, scored_by, task_name, trimmed, written_by
from sightweave.rendering.patches import cut_out

_UNKNOWN = "und"
"""Code of a language that is not known, in ISO 639-2."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An image with words, and the same image with the words in another language."""

    id: str
    images: tuple[Medium, ...]
    """The image with the source words."""
    signs: tuple[str, ...]
    """Plain-text form of each text region, such as ``[120 45 310 80] bat => Fledermaus``, in reading order. Empty if they
    are not known, as for an image to ask about."""
    target_language: str
    """Code of the target language, such as ``de``."""
    source_language: str = ""
    """Code of the source language, such as ``en``; empty if it is not known or the signs differ in it."""
    target_image: Medium | None = None
    """The image with the translated words, of the same size, if there is one."""
    group: str = ""
    split: str = "train"
    tags: Mapping[str, str] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()


@config
class Config:
    """Settings of the in-image translation task."""

    instruction: str = "Translate the sign into {language}."
    """Prompt; ``{language}`` is replaced by the target language's name, or its code."""
    write_source: bool = True
    """Whether the answer contains the source words too, so that the model reads before it translates."""
    patch_size: PositiveInt | None = None
    """Side in pixels of the pictures of the new signs that follow the text, for a model with an image tokenizer of this
    ``image_size``; None for answers that are only text."""
    metrics: Metrics = field(default_factory=scored_by("region_match", "structure_bleu", "box_f1"))
    """Metrics: names of kinds in ``answers/metrics``, or mappings with their settings. The first one is the task's score."""
    writer: Writer = field(default_factory=written_by("rendered"))
    """Writer whose images the metrics of images score in an evaluation: a kind in ``answers/writers``, or a mapping with
    its settings."""

    def build(self) -> ImageTranslation:
        """Creates the task with these settings."""
        return ImageTranslation(
            instruction=self.instruction, write_source=self.write_source, patch_size=self.patch_size
        )


class ImageTranslation:
    """The in-image translation task: converts records to samples.

    Args:
        instruction: Prompt, in which ``{language}`` is replaced.
        write_source: Whether the answer contains the source words too.
        patch_size: Side in pixels of the pictures of the new signs that follow the text; None for none.
    """

    def __init__(self, *, instruction: str, write_source: bool = True, patch_size: int | None = None) -> None:
        self.instruction, self.write_source, self.patch_size = instruction, write_source, patch_size

    def prompt(self, target_language: str) -> str:
        """The prompt for translating the words in an image into a language, given by its code."""
        language = LANGUAGES.get(target_language, target_language)
        return self.instruction.replace("{language}", language)

    def sample(self, record: Record) -> Sample:
        """Converts a record to a sample with its prompt, training target and references.

        Raises:
            DataError: A sign of the record is not in the plain-text form of regions.
        """
        found: tuple[TextRegion, ...] = ()
        if record.signs:
            found = read_regions("\n".join(record.signs), f"signs of record {record.id!r}")
        written = found if self.write_source else tuple(replace(one, source="") for one in found)
        answer = format_regions(written)

        pair = f"{record.source_language or _UNKNOWN}-{record.target_language}"
        tags = {"type": "image translation", "languages": pair, **record.tags}
        sources = [one.source for one in found]
        if found and all(sources):
            # Metrics read the words in the image from this tag, to score a copy of them.
            tags["source"] = format_regions(replace(one, text=one.source, source="") for one in found)

        return Sample(
            id=record.id,
            task=task_name(__name__),
            parts=(
                *(Part("user", image) for image in record.images),
                Part("user", self.prompt(record.target_language)),
                Part("assistant", answer, learn=True),
                *(Part("assistant", patch, learn=True) for patch in self._patches(record, found)),
            ),
            references=trimmed((answer,) if answer else ()),
            group=record.group or group_of(record.images, record.id),
            tags=tags,
            regions=record.regions,
            target_image=record.target_image,
        )

    def _patches(self, record: Record, regions: Sequence[TextRegion]) -> list[Medium]:
        """A picture of each sign with its new words, if they are wanted and known."""
        target, side = record.target_image, self.patch_size
        if target is None or side is None:
            return []
        return [
            Medium(
                functools.partial(_patch, target, region, side),
                f"{target.key}/{format_regions([region])}/{side}",
            )
            for region in regions
        ]

    def parse(self, text: str) -> str | None:
        """Removes white space around the answer; None if nothing is left."""
        return text.strip() or None


def _patch(image: Medium, region: TextRegion, side: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a region as a square, of ``side`` x ``side`` pixels."""
    return np.asarray(cut_out(image_files.picture(image), region, side))
