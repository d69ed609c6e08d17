"""The processor, which converts samples to batches for a model; it is saved next to the model's weights."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field

from sightweave.core import bounded, catalog, config
from sightweave.core.batch import Batch, Regions, TokenSequence
from sightweave.core.errors import CheckpointError, MediaError, RecipeError
from sightweave.core.types import InputLayout, Medium, Region, Sample
from sightweave.data.inputs import cache as pixel_cache
from sightweave.data.inputs import modalities, transforms
from sightweave.data.inputs import prompts as prompting
from sightweave.data.inputs import tiles as tiling
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.collate import (
    Bundle,
    Collated,
    Shown,
    bundle,
    caption_targets,
    collate,
    pack,
    region_targets,
)
from sightweave.data.inputs.media import image
from sightweave.data.inputs.media._base import Loaded, Loader
from sightweave.data.inputs.prompts import Prompts, Section
from sightweave.data.inputs.template import Encoded, encode
from sightweave.data.inputs.tiles import Tile, Tiles
from sightweave.data.inputs.tokenizer import Template, Tokenizer

logger = logging.getLogger(__name__)
FILE_NAME = "processor.json"
_MOST_BYTES = 64 << 20
"""Maximum size of a processor.json in bytes; only its list of answers can be long."""
Words = Literal["none", "regions", "captions"]
"""Source of the words for media embeddings, if any are required."""


def _with_media(value: Any) -> Any:
    """Converts a layout from an earlier version, in which images were the only modality, to the present form."""
    if not isinstance(value, Mapping) or "tokens_per_image" not in value:
        return value
    plain = dict(value)
    plain["media"] = {"image": {"tokens": plain.pop("tokens_per_image"), "grid": plain.pop("grid", None)}}
    return plain


@config.config
class _Saved:
    """The contents of ``processor.json``, with limits that no real model exceeds."""

    layout: Annotated[InputLayout, BeforeValidator(_with_media)]
    transform: Annotated[transforms.Config | None, BeforeValidator(config.without_kind)] = None
    """Image transform; None for a model that reads no images."""
    media: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of modalities other than images, by modality."""
    answers: tuple[str, ...]
    max_length: Annotated[int, Field(ge=1, le=1 << 24)]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 22)] | None = None
    """Padded vocabulary size; missing in files of earlier versions, which did not pad it."""
    template: Template = field(default_factory=Template)
    """Template of the prompts; missing in files of earlier versions."""
    tiles: Tiles = field(default_factory=Tiles)
    """Tiling of large images; missing in files of earlier versions."""
    pictures: Annotated[transforms.Config | None, BeforeValidator(config.without_kind)] = None
    """Transform of the images for the image tokenizer; None for a model that has none."""


@dataclass(frozen=True)
class Processor:
    """Converts samples to batches for a model, with its tokenizer, media loaders, layout and list of answers."""

    tokenizer: Tokenizer
    transform: transforms.Config | None
    """Image transform; None for a model that reads no images."""
    layout: InputLayout
    """Token layout that the model expects."""
    answers: tuple[str, ...] = ()
    """Answers to choose from, for a model that classifies answers."""
    max_length: int = 2048
    """Maximum number of tokens in a bundle."""
    tiles: Tiles = field(default_factory=Tiles)
    """Settings for splitting large images into tiles."""
    cache: PixelCache | None = field(default=None, compare=False)
    """Cache of images resized by this transform, used if there is no augmentation. It does not change results and is not
    saved."""
    media: Mapping[str, Any] = field(default_factory=dict)
    """``Config`` of each modality other than images, by modality."""
    pictures: transforms.Config | None = None
    """Transform of the images for the image tokenizer; None for a model that has none."""
    loaders: Mapping[str, Loader] = field(init=False, repr=False, compare=False)
    """Loader of each modality."""

    def __post_init__(self) -> None:
        loaders: dict[str, Loader] = {}
        if self.transform is not None:
            images = image.Config(transform=self.transform, tiles=self.tiles)
            loaders["image"] = loader = images.build()
            if self.cache is not None:
                object.__setattr__(self, "cache", _fitting(self.cache, loader))
                loaders["image"] = images.build(self.cache)
        for modality, settings in self.media.items():
            loaders[modality] = settings.build()
        object.__setattr__(self, "loaders", loaders)
        object.__setattr__(self, "_word_ids", {})

    def __reduce__(self) -> tuple[Any, ...]:
        # Loaders hold locks and cached pixels, so a copy creates its own.
        return Processor, tuple(getattr(self, one.name) for one in dataclasses.fields(self) if one.init)

    @property
    def images(self) -> image.Loader:
        """The image loader.

        Raises:
            RecipeError: The model reads no images.
        """
        found = self.loaders.get("image")
        if not isinstance(found, image.Loader):
            raise RecipeError(f"the model reads {', '.join(self.loaders)}, and no images.")
        return found

    def encode(self, sample: Sample, *, max_tiles: int | None = None, with_target: bool = True) -> Encoded:
        """Encodes a sample as tokens; media are not decoded, and their headers are read only if needed.

        Args:
            sample: Any sample.
            max_tiles: Maximum number of tiles per image; None uses the processor's own setting.
            with_target: Whether to encode the answer too; generation needs only the prompt.

        Raises:
            DataError: A medium is in an answer, has a modality that the model does not read, or has an unreadable header.
        """
        modalities.refuse_unknown(sample.media, self.loaders, f"sample {sample.id!r}")
        has_images = "image" in self.loaders
        expanded = self.images.expand(sample, max_tiles=max_tiles) if has_images else sample

        encoded = encode(
            expanded, self.tokenizer, self.layout, with_target=with_target, num_tokens=self.num_tokens
        )
        encoded.sample = sample  # the caller's own, without tiles
        return encoded

    def length(self, sample: Sample, *, max_tiles: int | None = None) -> int:
        """Number of tokens of a sample: media, prompt and target. Arguments and errors are as for `encode`."""
        encoded = self.encode(sample, max_tiles=max_tiles)
        return len(encoded.trunk) + len(encoded.prompt) + len(encoded.target)

    def num_tokens(self, medium: Medium) -> int:
        """Number of tokens (embeddings) of a medium, determined from its header if it depends on the medium's size.

        Raises:
            MediaError: The header cannot be read.
        """
        layout = self.layout.media[medium.modality]
        if not layout.stride:
            return layout.tokens
        return layout.num_tokens(self.loaders[medium.modality].size(medium))

    def load_media(
        self,
        media: Sequence[Medium],
        seeds: Sequence[int] | None = None,
        *,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> dict[str, tuple[list[int], Loaded]]:
        """Loads media as input for their encoders.

        Args:
            media: Media of any modalities. Media with equal keys, and all tiles of an image, are decoded once.
            seeds: Augmentation seed of each medium; None turns augmentation off.
            fixed: Keys of media that must not be mirrored.
            pool: Threads that read and decode files, which do not change the result; None uses this thread.

        Returns:
            For each modality, the indices of its media in `media`, and their loaded values.

        Raises:
            MediaError: A medium cannot be read.
        """
        found = {}
        for modality, numbers in modalities.by_modality(media).items():
            those = [media[number] for number in numbers]
            own_seeds = None if seeds is None else [seeds[number] for number in numbers]
            loaded = self.loaders[modality].load(those, own_seeds, fixed=fixed, pool=pool)
            found[modality] = (numbers, loaded)
        return found

    def pixels(
        self, media: Sequence[Medium], seeds: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> torch.Tensor:
        """Loads images as float I 3 size size; arguments and errors are as for `load_media`."""
        values = self.images.load(media, seeds, pool=pool).values
        assert isinstance(values, torch.Tensor)  # images have one size
        return values

    def picture_batch(
        self, samples: Sequence[Sample], *, seed: int | None = None, pool: Executor | None = None
    ) -> Batch:
        """Makes a batch of only the images of samples, for the image tokenizer; each image is used once.

        Args:
            samples: Samples, of which at least one has an image.
            seed: Random seed of the data augmentation; None turns augmentation off.
            pool: Threads that decode images, which do not change the result; None decodes in this thread.

        Raises:
            MediaError: An image cannot be read.
            RecipeError: The model has no image tokenizer.
        """
        distinct: dict[str, Medium] = {}
        for sample in samples:
            for medium in pictures_of(sample):
                distinct.setdefault(medium.identity, medium)
        images = list(distinct.values())
        seeds = None if seed is None else _seeds(seed, images)

        pixels = self.load_pictures(images, seeds, fixed=self._fixed(samples, seed), pool=pool)
        return Batch(target=None, pictures=pixels)

    def load_pictures(
        self,
        images: Sequence[Medium],
        seeds: Sequence[int] | None = None,
        *,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> torch.Tensor:
        """Loads images for the image tokenizer as float I 3 size size, RGB from 0 to 1; arguments are as for `load_media`.

        Raises:
            MediaError: An image cannot be read.
            RecipeError: The model has no image tokenizer.
        """
        if not images:
            return torch.zeros(0)
        if self.pictures is None:
            raise RecipeError(
                "the model has no image tokenizer; set model.image_tokenizer, such as {kind: fsq}."
            )

        loader = image.Config(transform=self.pictures).build()
        values = loader.load(images, seeds, fixed=fixed, pool=pool).values
        assert isinstance(values, torch.Tensor)  # images have one size

        # Undo the normalisation.
        mean, std = torch.tensor(self.pictures.mean), torch.tensor(self.pictures.std)
        return values * std[:, None, None] + mean[:, None, None]

    def write_cache(
        self,
        samples: Iterable[Sample],
        folder: Path,
        progress: Callable[[int], None] | None = None,
        *,
        share: tuple[int, int] = (0, 1),
    ) -> pixel_cache.Written:
        """Writes a pixel cache with the resized images and tiles of samples; media of other modalities are skipped.

        Args:
            samples: Samples whose images are cached.
            folder: Folder of the cache, to be opened with ``PixelCache.open(folder)``.
            progress: Called with 1 for each image and tile.
            share: Numbers (i, n): of every n images, the one with number i is written.

        Returns:
            The number of images written, and the images that could not be read.

        Raises:
            DataError: As for `cache.write`.
            RecipeError: The model reads no images.
        """
        images = self.images
        left_out: dict[str, str] = {}
        rank, size = share

        def media() -> Iterable[Medium]:
            seen: set[str] = set()
            for one in samples:
                for medium in one.media:
                    if medium.key in seen or medium.modality != "image":
                        continue
                    seen.add(medium.key)
                    if (len(seen) - 1) % size != rank:
                        continue
                    try:
                        yield from images.pieces(medium)
                    except MediaError as error:
                        left_out[medium.key] = str(error)

        done = pixel_cache.write(
            images.transform, media(), folder, is_whole=images.is_whole, progress=progress
        )
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
        """Converts samples to one batch.

        Args:
            samples: Samples, encoded or not. Samples that start with the same images form a bundle that shares them.
            share: Whether samples may share images.
            with_target: Whether to include the answers; does not affect samples that are already encoded.
            pack_to: Number of tokens per row if bundles are packed; None gives each bundle its own row.
            words: Source of the words for media embeddings: ``regions``, whole ``captions``, or ``none``.
            seed: Random seed of the data augmentation; None turns augmentation off. An image is never mirrored if a text of
                any of its samples mentions left or right, or if it is cut into tiles.
            pool: Threads that decode images, which do not change the result; None decodes in this thread.

        Raises:
            DataError: As for `encode`, or a medium cannot be read.
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
        """Converts rows of bundles, which are already packed, to one batch; the other arguments are as for `batch`."""
        collated = collate(rows, layout=self.layout, pad_id=self.tokenizer.pad_id, answers=self.answers)
        if collated.pictures:
            # Target images are never augmented: a model would learn to make changed ones.
            collated.batch.pictures = self.load_pictures(collated.pictures, pool=pool)
        shown = collated.shown
        if not shown:
            return collated.batch

        media = [one.medium for one in shown]
        seeds = None if seed is None else _seeds(seed, media)
        samples: list[Sample] = []
        for row in rows:
            for one in row:
                samples += [encoded.sample for encoded in one.encoded]

        # Images that are cut into tiles must not be mirrored either.
        cut = {tiling.whole(medium).key for medium in media if isinstance(medium.source, Tile)}
        fixed = self._fixed(samples, seed) | cut

        loaded = self.load_media(media, seeds, fixed=fixed, pool=pool)
        batch = collated.with_media(loaded)
        if words != "none":
            batch.regions = self._words(shown, loaded, seeds, words, fixed)
        return batch

    def media_batch(
        self,
        samples: Sequence[Sample],
        *,
        words: Words,
        seed: int | None = None,
        pool: Executor | None = None,
    ) -> Batch:
        """Makes a batch of only the media of samples and the words for them, for the first stage of training from scratch.

        Arguments are as for `batch`.
        """
        known: dict[str, Shown] = {}
        for sample in samples:
            for number, medium in enumerate(sample.media):
                one = known.setdefault(medium.identity, Shown(medium, row=len(known)))
                one.samples.append(sample)
                one.leads.append(number == 0)

        shown = list(known.values())
        media = [one.medium for one in shown]
        seeds = None if seed is None else _seeds(seed, media)
        fixed = self._fixed(samples, seed)

        loaded = self.load_media(media, seeds, fixed=fixed, pool=pool)
        batch = Collated(Batch(target=None), shown).with_media(loaded)
        batch.regions = self._words(shown, loaded, seeds, words, fixed)
        return batch

    def prompts(self, samples: Sequence[Sample | Encoded], *, section: Section = "whole") -> Prompts:
        """Converts samples to prompts for generation, one per row; their media are listed but not loaded.

        Args:
            samples: Samples, encoded or not; their targets are ignored.
            section: Part of each prompt: the ``whole``, the ``trunk`` of leading media, or the ``rest`` after the trunk.
        """
        return prompting.prompts(
            self._encoded(samples, with_target=False),
            pad_id=self.tokenizer.pad_id,
            section=section,
            with_begin=self.layout.form == "encoder_decoder",
        )

    def continuations(self, ids: Sequence[Sequence[int]], starts: Sequence[int]) -> TokenSequence:
        """Makes rows of text tokens that continue earlier input, padded on the right.

        Args:
            ids: Token ids of each row; at least one per row.
            starts: Position id of each row's first token.
        """
        return prompting.texts(ids, starts, pad_id=self.tokenizer.pad_id)

    def _encoded(self, samples: Sequence[Sample | Encoded], *, with_target: bool) -> list[Encoded]:
        return [
            one if isinstance(one, Encoded) else self.encode(one, with_target=with_target) for one in samples
        ]

    def _fixed(self, samples: Sequence[Sample], seed: int | None) -> frozenset[str]:
        """Keys of the media that must not be mirrored, because a text about them mentions left or right."""
        if seed is None or (self.transform is not None and not self.transform.flip):
            return frozenset()

        keys: set[str] = set()
        for sample in samples:
            if any(transforms.names_side(text) for text in _texts(sample)):
                keys.update([medium.key for medium in sample.media])
        return frozenset(keys)

    def _words(
        self,
        shown: Sequence[Shown],
        loaded: Mapping[str, tuple[list[int], Loaded]],
        seeds: Sequence[int] | None,
        words: Words,
        fixed: frozenset[str],
    ) -> Regions | None:
        if words == "captions":
            return caption_targets([_words_of(one, self.tokenizer) for one in shown])
        if "image" not in loaded:  # other modalities have no regions
            return None

        images, (numbers, read) = self.images, loaded["image"]
        sizes = dict(zip(numbers, read.sizes, strict=True))

        def middle(item: int, region: Region) -> tuple[float, float]:
            seed = None if seeds is None else seeds[item]
            may_flip = shown[item].medium.key not in fixed
            left, top, right, bottom = images.transform.place(
                region.box, *sizes[item], seed=seed, may_flip=may_flip
            )
            return (left + right) / 2, (top + bottom) / 2

        counts = [self.num_tokens(one.medium) for one in shown]
        starts = list(accumulate(counts, initial=0))
        regions = [(item, region) for item in numbers for region in _regions_of(shown[item])]
        return region_targets(
            regions, starts=starts, layout=self.layout, place=middle, word_ids=self._ids_of_word
        )

    def _ids_of_word(self, word: str) -> list[int]:
        known: dict[str, list[int]] = self._word_ids  # type: ignore[attr-defined]  # set in __post_init__
        if word not in known:
            known[word] = self.tokenizer.word_ids(word)
        return known[word]

    def documents(self) -> dict[str, Any]:
        """The files to store in a checkpoint for `load`: JSON values by file name without suffix."""
        return {"processor": self.to_plain(), "tokenizer": self.tokenizer.to_plain()}

    def to_plain(self) -> dict[str, Any]:
        """The processor's settings, without the tokenizer's vocabulary, as plain data."""
        return {
            "transform": None if self.transform is None else config.to_plain(self.transform),
            "media": {modality: config.to_plain(one) for modality, one in self.media.items()},
            "layout": dataclasses.asdict(self.layout),
            "answers": list(self.answers),
            "max_length": self.max_length,
            "tiles": config.to_plain(self.tiles),
            "pictures": None if self.pictures is None else config.to_plain(self.pictures),
            "template": config.to_plain(self.tokenizer.template),
            "vocab_size": self.tokenizer.vocab_size,
        }

    @classmethod
    def load(cls, folder: Path, *, allowed: Container[str] | None = frozenset()) -> Processor:
        """Loads a processor from a folder that contains the files of `documents`.

        Args:
            folder: The folder, which need not be trusted.
            allowed: Dotted paths of user modules that may be imported as modalities; None allows any.

        Raises:
            CheckpointError: A file is missing or invalid.
            RecipeError: A modality is a user module that is not allowed.
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
            pictures=saved.pictures,
            media={name: settings_of(name, values, allowed) for name, values in saved.media.items()},
        )


def pictures_of(sample: Sample) -> list[Medium]:
    """Images of a sample on which an image tokenizer is trained: those of its answer, or if it has none, those it shows."""
    return [medium for medium in sample.pictures or sample.media if medium.modality == "image"]


def settings_of(modality: str, values: Mapping[str, Any], allowed: Container[str] | None = None) -> Any:
    """Builds the ``Config`` of a modality.

    Args:
        modality: A kind in ``data/inputs/media``, or the dotted path of a user's own module.
        values: Fields of the ``Config``; a field ``kind`` is ignored.
        allowed: Dotted paths that may be imported; None allows any.

    Raises:
        RecipeError: The modality is unknown or not allowed, or its fields are invalid.
    """
    kind = catalog.config_class(modalities.FAMILY, modality, allowed=allowed)
    fields = {name: value for name, value in values.items() if name != "kind"}
    return config.build(kind, fields, where=f"inputs.media.{modality}")


def _fitting(cache: PixelCache, loader: image.Loader) -> PixelCache | None:
    """Returns the cache if it was written with the loader's transform; otherwise logs a warning and returns None."""
    mine = pixel_cache.fields_of(loader.transform, is_whole=loader.is_whole)
    if cache.fields == mine:
        return cache

    logger.warning(
        "%s: the cache was made with a different transform (%s) than this processor's (%s) and is not used; write it again",
        *(cache.folder, cache.fields, mine),
    )
    return None


def _seeds(seed: int, media: Sequence[Medium]) -> list[int]:
    """An augmentation seed for each medium; a tile has the seed of its thumbnail, so that their colours match."""
    seeds: list[int] = []
    for index, medium in enumerate(media):
        seeds.append(seeds[-1] if isinstance(medium.source, Tile) and seeds else seed * 65_537 + index)
    return seeds


def _texts(sample: Sample) -> Iterator[str]:
    """Yields all texts of a sample: its parts, options, references and words of regions."""
    yield from (part.content for part in sample.parts if isinstance(part.content, str))
    yield from (*sample.options, *sample.references)
    yield from (word for region in sample.regions for word in region.words)


def _words_of(shown: Shown, tokenizer: Tokenizer) -> list[int]:
    """Token ids of a medium's captions, or of all answers of its samples if it has no caption."""
    captions = [sample.target for sample in shown.samples if sample.is_caption]
    texts = captions or [sample.target for sample in shown.samples]

    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text)
    return ids


def _regions_of(shown: Shown) -> tuple[Region, ...]:
    """Regions of a medium, from the last sample that has it as its first medium and has regions."""
    found: tuple[Region, ...] = ()
    for sample, leads in zip(shown.samples, shown.leads, strict=True):
        if leads and sample.regions:
            found = sample.regions
    return found
