"""Samples -> Batch, with everything that it takes: tokenizer, transform, layout, answers. Saved beside the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sightweave.core import config
from sightweave.core.batch import Batch, Media, Regions
from sightweave.core.errors import CheckpointError
from sightweave.core.types import InputLayout, Medium, Region, Sample
from sightweave.data.inputs import media as media_loader
from sightweave.data.inputs import transforms
from sightweave.data.inputs.collate import Bundle, bundle, caption_targets, collate, pack, region_targets
from sightweave.data.inputs.template import Encoded, encode
from sightweave.data.inputs.tokenizer import Tokenizer

FILE_NAME = "processor.json"
_KEPT_BYTES = 64 << 20
"""Decoded pixels that a processor keeps at most."""
Words = Literal["none", "regions", "captions"]
"""Where the words for media embeddings come from, if any are asked for."""


@dataclass(frozen=True)
class Processor:
    """All that stands between samples and a model."""

    tokenizer: Tokenizer
    transform: transforms.Config
    """How pictures become tensors."""
    layout: InputLayout
    """How the model wants its tokens."""
    answers: tuple[str, ...] = ()
    """The answers to choose from, for a model that classifies."""
    max_length: int = 2048
    """Tokens of the longest bundle that a model takes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_image_transform", self.transform.build())
        object.__setattr__(self, "_word_ids", {})
        object.__setattr__(self, "_kept", {})

    def encode(self, sample: Sample) -> Encoded:
        """One sample as tokens."""
        return encode(sample, self.tokenizer, self.layout)

    def pixels(self, media: Sequence[Medium], seeds: Sequence[int] | None = None) -> torch.Tensor:
        """Media as float I 3 size size; equal keys are loaded once."""
        return self._pixels(media, seeds)[0]

    def _pixels(
        self, media: Sequence[Medium], seeds: Sequence[int] | None
    ) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        transform: transforms.ImageTransform = self._image_transform  # type: ignore[attr-defined]  # set in __post_init__
        size = (self.transform.size, self.transform.size)
        loaded: dict[str, np.ndarray] = {}
        tensors, sizes = [], []
        for index, medium in enumerate(media):
            if medium.key not in loaded:
                loaded[medium.key] = self._load(medium, size)
            pixels = loaded[medium.key]
            tensors.append(transform(pixels, seed=None if seeds is None else seeds[index]))
            sizes.append((pixels.shape[1], pixels.shape[0]))
        return torch.stack(tensors), sizes

    def _load(self, medium: Medium, size: tuple[int, int]) -> np.ndarray:
        """Decoded pixels; those of files are kept while they are few, since training meets them again."""
        kept: dict[str, np.ndarray] = self._kept  # type: ignore[attr-defined]  # set in __post_init__
        if medium.key in kept:
            return kept[medium.key]
        pixels = media_loader.load(medium, size_hint=size)
        if (
            isinstance(medium.source, Path)
            and sum(x.nbytes for x in kept.values()) + pixels.nbytes <= _KEPT_BYTES
        ):
            kept[medium.key] = pixels
        return pixels

    def batch(
        self,
        samples: Sequence[Sample | Encoded],
        *,
        share: bool = True,
        pack_to: int | None = None,
        words: Words = "none",
        seed: int | None = None,
    ) -> Batch:
        """Samples with their targets as one batch.

        Args:
            samples: Any, perhaps encoded before; those with the same leading pictures share them as branches.
            share: Whether they may.
            pack_to: Tokens of a row to pack into; None gives each bundle its own row.
            words: Whether to name words for media embeddings: from ``regions``, or from whole ``captions``.
            seed: Varies the pictures for training; None leaves them as they are.
        """
        encoded = [one if isinstance(one, Encoded) else self.encode(one) for one in samples]
        bundles = bundle(encoded, share=share)
        rows = [[one] for one in bundles] if pack_to is None else pack(bundles, pack_to)
        sizes: list[tuple[int, int]] = []
        seeds: list[int] | None = None

        def pixels(media: Sequence[Medium]) -> torch.Tensor:
            nonlocal sizes, seeds
            seeds = None if seed is None else _seeds(seed, len(media))
            tensors, sizes = self._pixels(media, seeds)
            return tensors

        batch = collate(
            rows, layout=self.layout, pad_id=self.tokenizer.pad_id, pixels=pixels, answers=self.answers
        )
        if words != "none" and sizes:
            batch.regions = self._words(_pictures(rows), sizes, seeds, words)
        return batch

    def media_batch(self, samples: Sequence[Sample], *, words: Words, seed: int | None = None) -> Batch:
        """Only the pictures of samples and the words for them: the first stage of training from nothing."""
        shown: dict[str, _Picture] = {}
        for sample in samples:
            for number, medium in enumerate(sample.media):
                shown.setdefault(medium.key, _Picture(medium)).add(sample, is_first=number == 0)
        pictures = list(shown.values())
        seeds = None if seed is None else _seeds(seed, len(pictures))
        pixels, sizes = self._pixels([picture.medium for picture in pictures], seeds)
        row = torch.arange(len(pictures))
        media = Media(pixels, row, torch.zeros_like(row), torch.zeros_like(row))
        return Batch(target=None, media={"image": media}, regions=self._words(pictures, sizes, seeds, words))

    def _words(
        self,
        pictures: Sequence[_Picture],
        sizes: Sequence[tuple[int, int]],
        seeds: Sequence[int] | None,
        words: Words,
    ) -> Regions | None:
        if words == "captions":
            return caption_targets([picture.said(self.tokenizer) for picture in pictures])
        transform: transforms.ImageTransform = self._image_transform  # type: ignore[attr-defined]  # set in __post_init__

        def middle(item: int, region: Region) -> tuple[float, float]:
            seed = None if seeds is None else seeds[item]
            left, top, right, bottom = transform.place(region.box, *sizes[item], seed=seed)
            return (left + right) / 2, (top + bottom) / 2

        regions = [(item, region) for item, picture in enumerate(pictures) for region in picture.regions]
        return region_targets(regions, layout=self.layout, place=middle, word_ids=self._ids_of_word)

    def _ids_of_word(self, word: str) -> list[int]:
        known: dict[str, list[int]] = self._word_ids  # type: ignore[attr-defined]  # set in __post_init__
        if word not in known:
            known[word] = self.tokenizer.word_ids(word)
        return known[word]

    def documents(self) -> dict[str, Any]:
        """What `load` reads, as JSON values by file name (without ending): they go into a checkpoint's folder."""
        return {"processor": self.to_plain(), "tokenizer": self.tokenizer.to_plain()}

    def to_plain(self) -> dict[str, Any]:
        """Everything but the tokenizer, as plain data."""
        return {
            "transform": config.to_plain(self.transform),
            "layout": dataclasses.asdict(self.layout),
            "answers": list(self.answers),
            "max_length": self.max_length,
        }

    @classmethod
    def load(cls, folder: Path) -> Processor:
        """Reads the files of `documents` from a folder.

        Raises:
            CheckpointError: a file is missing or is not one of them.
        """
        path = folder / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            layout = dict(values["layout"])
            layout["grid"] = tuple(layout["grid"]) if layout["grid"] else None
            fields = {key: value for key, value in values["transform"].items() if key != "kind"}
            return cls(
                tokenizer=Tokenizer.load(folder),
                transform=config.build(transforms.Config, fields, where=str(path)),
                layout=InputLayout(**layout),
                answers=tuple(values["answers"]),
                max_length=int(values["max_length"]),
            )
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file; a run's checkpoint folder holds one.") from None
        except CheckpointError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: not a processor's file: {type(error).__name__} {error}."
            ) from None


def _seeds(seed: int, count: int) -> list[int]:
    return [seed * 65_537 + index for index in range(count)]


@dataclass(slots=True)
class _Picture:
    """A medium of the batch with what its samples know of it."""

    medium: Medium
    regions: tuple[Region, ...] = ()
    captions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def add(self, sample: Sample, *, is_first: bool) -> None:
        """Takes what a sample says; its regions are those of its first medium."""
        if is_first and sample.regions:
            self.regions = sample.regions
        (self.captions if sample.task == "captioning" else self.answers).append(sample.target)

    def said(self, tokenizer: Tokenizer) -> list[int]:
        """Ids of what its captions say, or of all answers where it has none."""
        return [i for text in self.captions or self.answers for i in tokenizer.encode(text)]


def _pictures(rows: Sequence[Sequence[Bundle]]) -> list[_Picture]:
    """Every medium of a batch, in its order there."""
    pictures: list[_Picture] = []
    for one in (one for row in rows for one in row):
        trunk = [_Picture(medium) for medium in one.encoded[0].trunk_media]
        own: list[_Picture] = []
        for encoded in one.encoded:
            branch = [_Picture(medium) for medium in encoded.branch_media]
            for number, picture in enumerate(trunk + branch):
                picture.add(encoded.sample, is_first=number == 0)
            own += branch
        pictures += trunk + own
    return pictures
