"""Features of frozen encoders, computed once for each medium: for stages in which nothing varies the media."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from sightweave.core.batch import Batch, Features, Media
from sightweave.core.device import Precision
from sightweave.models.paths import MediaPaths


class FeatureCache:
    """Keeps features in memory by the medium's key, up to a size.

    A full cache stays as it is: training cycles through the data, and a cache that drops the least recently used would
    throw out just what comes next.

    Args:
        encoders: Frozen, in evaluation mode.
        precision: The precision of the rest of the model.
        most: Maximum number of bytes that are kept.
    """

    def __init__(self, encoders: MediaPaths, precision: Precision, most: int) -> None:
        self.encoders, self.precision, self.most = encoders, precision, most
        self.bytes = 0
        """Bytes that are kept."""
        self._kept: dict[tuple[str, str], Features] = {}

    def fill(self, batch: Batch) -> Batch:
        """The batch with the features of its media, on the compute device."""
        if not batch.media:
            return batch
        filled = {modality: self._filled(modality, media) for modality, media in batch.media.items()}
        return replace(batch, media=filled)

    @torch.no_grad()
    def _filled(self, modality: str, media: Media) -> Media:
        if not media.keys:
            return media
        media = media.to(self.precision.device)

        # A medium that the batch shows twice is encoded once.
        new: dict[str, int] = {}
        for number, key in enumerate(media.keys):
            if (modality, key) not in self._kept:
                new.setdefault(key, number)
        made = self._encoded(modality, media, new)
        for key, features in made.items():
            size = features.values.nbytes
            if self.bytes + size <= self.most:
                own = Features(features.values.clone(), features.grid)
                self._kept[modality, key] = own
                self.bytes += size

        found = [made[key] if key in made else self._kept[modality, key] for key in media.keys]
        grids = {one.grid for one in found}
        if len(grids) > 1:
            return replace(media, features=tuple(found))
        return replace(media, features=Features(torch.cat([one.values for one in found]), *grids))

    def _encoded(self, modality: str, media: Media, numbers: Mapping[str, int]) -> dict[str, Features]:
        """Features of some media by their keys; those of one size are encoded together, except on the CPU.

        There the last bit of a feature may depend on the size of its batch, and so on what is cached already. A resumed
        training starts with an empty cache, and must compute the same features.
        """
        alike: dict[tuple[int, ...], list[str]] = {}
        for key, number in numbers.items():
            alike.setdefault(tuple(media.values[number].shape), []).append(key)
        if self.precision.device.type == "cpu":
            alike = {(number,): [key] for number, key in enumerate(numbers)}

        encoder = self.encoders.path(modality).encoder
        made = {}
        for keys in alike.values():
            values = torch.stack([media.values[numbers[key]] for key in keys])
            with self.precision.autocast():
                features = encoder(values)
            for key, one in zip(keys, features.values, strict=True):
                made[key] = Features(one[None], features.grid)
        return made
