"""Samples -> Batch, with everything that it takes: tokenizer, transform, layout, answers. Saved beside the weights."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from sightweave.core import bounded, config
from sightweave.core.batch import Batch, Regions, TokenSequence
from sightweave.core.errors import CheckpointError, MediaError, RecipeError
from sightweave.core.types import InputLayout, Medium, MediumInfo, Region, Sample
from sightweave.data.inputs import cache as pixel_cache
from sightweave.data.inputs import media as media_loader
from sightweave.data.inputs import prompts as prompting
from sightweave.data.inputs import tiles as tiling
from sightweave.data.inputs import transforms
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.collate import (
    Bundle,
    Shown,
    bundle,
    caption_targets,
    collate,
    pack,
    region_targets,
)
from sightweave.data.inputs.pixels import PixelLoader
from sightweave.data.inputs.prompts import Prompts, Section
from sightweave.data.inputs.template import Encoded, encode
from sightweave.data.inputs.tiles import Tile, Tiles
from sightweave.data.inputs.tokenizer import Template, Tokenizer

logger = logging.getLogger(__name__)
FILE_NAME = "processor.json"
_MOST_BYTES = 64 << 20
"""Of a processor.json; its list of answers is the only long part."""
_KNOWN_SIZES = 100_000
"""Sizes of drawn pictures that a processor remembers at most."""
Words = Literal["none", "regions", "captions"]
"""Where the words for media embeddings come from, if any are asked for."""


def _without_kind(value: Any) -> Any:
    is_mapping = isinstance(value, Mapping)
    return {key: item for key, item in value.items() if key != "kind"} if is_mapping else value


@config.config
class _Saved:
    """What ``processor.json`` holds, in bounds that every real model is far inside of."""

    transform: Annotated[transforms.Config, BeforeValidator(_without_kind)]
    layout: InputLayout
    answers: tuple[str, ...]
    max_length: Annotated[int, Field(ge=1, le=1 << 24)]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 22)] | None = None
    """None in files that were written before vocabularies were padded."""
    template: Template = field(default_factory=Template)
    """Missing in files that were written before there were templates."""
    tiles: Tiles = field(default_factory=Tiles)
    """Missing in files that were written before there were tiles."""


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
    tiles: Tiles = field(default_factory=Tiles)
    """When and how far large pictures are cut."""
    cache: PixelCache | None = field(default=None, compare=False)
    """Resized pixels of this transform, used where nothing varies; it changes no bit. Not saved."""

    def __post_init__(self) -> None:
        transform = self.transform.build()
        object.__setattr__(self, "_image_transform", transform)
        object.__setattr__(self, "_word_ids", {})
        object.__setattr__(self, "_sizes", {})
        if self.cache is not None:
            mine = pixel_cache.fields_of(transform, is_whole=self._is_whole)
            if self.cache.fields != mine:
                logger.warning(
                    "%s: the cache was made with a different transform (%s) than this processor's (%s) and is "
                    "not used; write it again",
                    *(self.cache.folder, self.cache.fields, mine),
                )
                object.__setattr__(self, "cache", None)
        loader = PixelLoader(transform, is_whole=self._is_whole, cache=self.cache)
        object.__setattr__(self, "_loader", loader)

    def __reduce__(self) -> tuple[Any, ...]:
        # Loaders hold locks and kept pixels, which a copy makes anew.
        return Processor, tuple(getattr(self, one.name) for one in dataclasses.fields(self))

    @property
    def _is_whole(self) -> bool:
        """Whether pictures are decoded at full scale: for exact pixels, and since tiles are cut from them."""
        return self.transform.exact or self.tiles.max_tiles > 1

    def encode(self, sample: Sample, *, max_tiles: int | None = None, with_target: bool = True) -> Encoded:
        """One sample as tokens; of large pictures the header is read, and no pixel is decoded.

        Args:
            sample: Any.
            max_tiles: Tiles of a picture at most; None takes the processor's own number.
            with_target: Whether the answer becomes tokens too; a model that is asked needs the prompt alone.

        Raises:
            DataError: a medium in an answer, or a picture whose header cannot be read.
        """
        tiles = self.tiles if max_tiles is None else dataclasses.replace(self.tiles, max_tiles=max_tiles)
        expanded = tiling.expand(sample, side=self.transform.size, tiles=tiles, probe=self._probe)
        encoded = encode(expanded, self.tokenizer, self.layout, with_target=with_target)
        encoded.sample = sample  # as it was asked: tiles are our own affair
        return encoded

    def length(self, sample: Sample, *, max_tiles: int | None = None) -> int:
        """Tokens of a sample: its pictures, prompt and target. As `encode`, without decoding a pixel."""
        encoded = self.encode(sample, max_tiles=max_tiles)
        return len(encoded.trunk) + len(encoded.prompt) + len(encoded.target)

    def _probe(self, medium: Medium) -> MediumInfo:
        """A picture's size; that of a drawn one is remembered, since asking draws it."""
        if not callable(medium.source):
            return media_loader.probe(medium)
        known: dict[str, MediumInfo] = self._sizes  # type: ignore[attr-defined]  # set in __post_init__
        if medium.key not in known:
            if len(known) >= _KNOWN_SIZES:
                known.clear()
            known[medium.key] = media_loader.probe(medium)
        return known[medium.key]

    def pixels(
        self, media: Sequence[Medium], seeds: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> torch.Tensor:
        """Media as float I 3 size size; equal keys, and all tiles of a picture, are decoded once.

        Args:
            media: Any.
            seeds: Vary each picture; None leaves all as they are.
            pool: Threads that read and decode files; they change no bit. None does it here.
        """
        return self._load(media, seeds, pool=pool)[0]

    def _load(
        self,
        media: Sequence[Medium],
        seeds: Sequence[int] | None,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        loader: PixelLoader = self._loader  # type: ignore[attr-defined]  # set in __post_init__
        return loader(media, seeds, fixed=fixed, pool=pool)

    def write_cache(
        self, samples: Iterable[Sample], folder: Path, progress: Callable[[int], None] | None = None
    ) -> pixel_cache.Written:
        """Writes the resized pictures and tiles of samples; ``PixelCache.open(folder)`` is then this processor's cache.

        Raises:
            DataError: as `cache.write`.
        """
        transform: transforms.ImageTransform = self._image_transform  # type: ignore[attr-defined]  # set in __post_init__
        left_out: dict[str, str] = {}

        def media() -> Iterable[Medium]:
            seen: set[str] = set()
            for one in samples:
                for medium in one.media:
                    if medium.key in seen:
                        continue
                    seen.add(medium.key)
                    try:
                        yield from tiling.pieces(
                            medium, side=self.transform.size, tiles=self.tiles, probe=self._probe
                        )
                    except MediaError as error:
                        left_out[medium.key] = str(error)

        done = pixel_cache.write(transform, media(), folder, is_whole=self._is_whole, progress=progress)
        return dataclasses.replace(done, left_out={**left_out, **done.left_out})

    def batch(
        self,
        samples: Sequence[Sample | Encoded],
        *,
        share: bool = True,
        with_target: bool = True,
        pack_to: int | None = None,
        words: Words = "none",
        seed: int | None = None,
        pool: Executor | None = None,
    ) -> Batch:
        """Samples as one batch.

        Args:
            samples: Any, perhaps encoded before; those with the same leading pictures share them as branches.
            share: Whether they may.
            with_target: Whether answers are in it; without them it holds prompts. What is encoded already stays as it is.
            pack_to: Tokens of a row to pack into; None gives each bundle its own row.
            words: Whether to name words for media embeddings: from ``regions``, or from whole ``captions``.
            seed: Varies the pictures for training; None leaves them as they are. A picture is never mirrored where a
                text of any of its samples names a side, nor where it is cut into tiles.
            pool: Threads that decode pictures; they change no bit. None does it here.
        """
        encoded = self._encoded(samples, with_target=with_target)
        bundles = bundle(encoded, share=share)
        rows = [[one] for one in bundles] if pack_to is None else pack(bundles, pack_to)
        return self.batch_rows(rows, words=words, seed=seed, pool=pool)

    def batch_rows(
        self,
        rows: Sequence[Sequence[Bundle]],
        *,
        words: Words = "none",
        seed: int | None = None,
        pool: Executor | None = None,
    ) -> Batch:
        """Rows that were packed before as one batch; the other arguments as in `batch`."""
        collated = collate(rows, layout=self.layout, pad_id=self.tokenizer.pad_id, answers=self.answers)
        shown = collated.shown
        if not shown:
            return collated.batch

        # A picture that is cut into tiles is not mirrored either.
        media = [one.medium for one in shown]
        seeds = None if seed is None else _seeds(seed, media)
        samples = [encoded.sample for row in rows for one in row for encoded in one.encoded]
        fixed = self._fixed(samples, seed)
        fixed |= {tiling.whole(medium).key for medium in media if isinstance(medium.source, Tile)}
        pixels, sizes = self._load(media, seeds, fixed, pool)
        batch = collated.with_pixels(pixels)
        if words != "none":
            batch.regions = self._words(shown, sizes, seeds, words, fixed)
        return batch

    def media_batch(
        self,
        samples: Sequence[Sample],
        *,
        words: Words,
        seed: int | None = None,
        pool: Executor | None = None,
    ) -> Batch:
        """Only the pictures of samples and the words for them: the first stage of training from nothing.

        Arguments as in `batch`.
        """
        known: dict[str, Shown] = {}
        for sample in samples:
            for number, medium in enumerate(sample.media):
                one = known.setdefault(medium.key, Shown(medium))
                one.samples.append(sample)
                one.leads.append(number == 0)
        shown = list(known.values())
        shown_media = [one.medium for one in shown]
        seeds = None if seed is None else _seeds(seed, shown_media)
        fixed = self._fixed(samples, seed)
        pixels, sizes = self._load(shown_media, seeds, fixed, pool)
        row = torch.arange(len(shown))
        keys = tuple(medium.key for medium in shown_media)
        media = prompting.pictures(pixels, row, keys)
        regions = self._words(shown, sizes, seeds, words, fixed)
        return Batch(target=None, media=media, regions=regions)

    def prompts(self, samples: Sequence[Sample | Encoded], *, section: Section = "whole") -> Prompts:
        """Prompts, one a row, as a model reads them before it writes; their pictures are named and not yet decoded.

        Args:
            samples: Any, perhaps encoded before; their targets are not looked at.
            section: What of each is read: the ``whole``, the ``trunk`` of pictures in front, or the ``rest`` behind it.
        """
        return prompting.prompts(
            self._encoded(samples, with_target=False),
            pad_id=self.tokenizer.pad_id,
            section=section,
            with_begin=self.layout.form == "encoder_decoder",
        )

    def continuations(self, ids: Sequence[Sequence[int]], starts: Sequence[int]) -> TokenSequence:
        """Rows of plain text behind what was read before, padded on the right.

        Args:
            ids: Of each row, at least one.
            starts: Position of each row's first token.
        """
        return prompting.texts(ids, starts, pad_id=self.tokenizer.pad_id)

    def _encoded(self, samples: Sequence[Sample | Encoded], *, with_target: bool) -> list[Encoded]:
        return [
            one if isinstance(one, Encoded) else self.encode(one, with_target=with_target) for one in samples
        ]

    def _fixed(self, samples: Sequence[Sample], seed: int | None) -> frozenset[str]:
        """Keys of the pictures that may not be mirrored, since a text says what is on their left or right."""
        if seed is None or not self.transform.flip:
            return frozenset()
        told = (one for one in samples if any(transforms.names_side(text) for text in _texts(one)))
        return frozenset(medium.key for one in told for medium in one.media)

    def _words(
        self,
        shown: Sequence[Shown],
        sizes: Sequence[tuple[int, int]],
        seeds: Sequence[int] | None,
        words: Words,
        fixed: frozenset[str],
    ) -> Regions | None:
        if words == "captions":
            return caption_targets([_words_of(one, self.tokenizer) for one in shown])
        transform: transforms.ImageTransform = self._image_transform  # type: ignore[attr-defined]  # set in __post_init__

        def middle(item: int, region: Region) -> tuple[float, float]:
            seed = None if seeds is None else seeds[item]
            may_flip = shown[item].medium.key not in fixed
            left, top, right, bottom = transform.place(region.box, *sizes[item], seed=seed, may_flip=may_flip)
            return (left + right) / 2, (top + bottom) / 2

        regions = [(item, region) for item, one in enumerate(shown) for region in _regions_of(one)]
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
            "tiles": config.to_plain(self.tiles),
            "template": config.to_plain(self.tokenizer.template),
            "vocab_size": self.tokenizer.vocab_size,
        }

    @classmethod
    def load(cls, folder: Path) -> Processor:
        """Reads the files of `documents` from a folder.

        Raises:
            CheckpointError: a file is missing or is not one of them.
        """
        path = folder / FILE_NAME
        if not path.exists():
            raise CheckpointError(f"{path}: file not found; a run's checkpoint folder contains one.")
        where = f"{path}: not a processor file"
        try:
            values = bounded.parsed(path, most=_MOST_BYTES)
        except bounded.UnreadableError as error:
            raise CheckpointError(f"{where}: {error}") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{where}: expected a JSON object (got {type(values).__name__}).")
        known = {one.name for one in dataclasses.fields(_Saved)}
        try:
            saved = config.build(_Saved, {k: v for k, v in values.items() if k in known}, where=where)
        except RecipeError as error:
            raise CheckpointError(str(error)) from None
        return cls(
            tokenizer=Tokenizer.load(folder, saved.template, saved.vocab_size),
            transform=saved.transform,
            layout=saved.layout,
            answers=saved.answers,
            max_length=saved.max_length,
            tiles=saved.tiles,
        )


def _seeds(seed: int, media: Sequence[Medium]) -> list[int]:
    """One for each medium; a tile has that of its thumbnail, so that both are lit alike."""
    seeds: list[int] = []
    for index, medium in enumerate(media):
        seeds.append(seeds[-1] if isinstance(medium.source, Tile) and seeds else seed * 65_537 + index)
    return seeds


def _texts(sample: Sample) -> Iterator[str]:
    """Everything that is said about a sample's pictures."""
    yield from (part.content for part in sample.parts if isinstance(part.content, str))
    yield from (*sample.options, *sample.references)
    yield from (word for region in sample.regions for word in region.words)


def _words_of(shown: Shown, tokenizer: Tokenizer) -> list[int]:
    """Ids of what captions say of a medium, or of all answers where it has none."""
    captions = [sample.target for sample in shown.samples if sample.is_caption]
    texts = captions or [sample.target for sample in shown.samples]
    return [index for text in texts for index in tokenizer.encode(text)]


def _regions_of(shown: Shown) -> tuple[Region, ...]:
    """Those of the last sample that has any; a sample's regions are those of its first medium."""
    pairs = zip(shown.samples, shown.leads, strict=True)
    known = [sample.regions for sample, leads in pairs if leads and sample.regions]
    return known[-1] if known else ()
