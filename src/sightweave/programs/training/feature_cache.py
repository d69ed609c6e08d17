"""Cache for the features of a frozen encoder, for stages without augmentation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sightweave.core.batch import Batch, Features
from sightweave.core.device import Precision
from sightweave.models.encoders._base import Encoder


class FeatureCache:
    """Keeps features in memory by the key of the image, up to a size.

    Nothing is evicted: training repeats the images in epochs, and the least recently used image is the one needed next.

    Args:
        encoder: The encoder, frozen and in evaluation mode.
        precision: Device and number format.
        most: Maximum size in bytes.
    """

    def __init__(self, encoder: Encoder, precision: Precision, most: int) -> None:
        self.encoder, self.precision, self.most = encoder, precision, most
        self.bytes = 0
        """Size in bytes."""
        self._values: dict[str, Tensor] = {}

    @torch.no_grad()
    def fill(self, batch: Batch) -> Batch:
        """The batch with the features of its images, on the device."""
        media = batch.media.get("image")
        if media is None or not media.keys:
            return batch
        media = media.to(self.precision.device)
        place = {key: index for index, key in enumerate(media.keys) if key not in self._values}
        new: dict[str, Tensor] = {}
        if place:
            with self.precision.autocast():
                values = self.encoder(media.pixels[list(place.values())]).values
            new = dict(zip(place, values, strict=True))
            for key, value in new.items():
                if self.bytes + value.nbytes <= self.most:
                    self._values[key] = value.clone()
                    self.bytes += value.nbytes
        features = torch.stack([new[key] if key in new else self._values[key] for key in media.keys])
        filled = replace(media, features=Features(features, self.encoder.grid()))
        return replace(batch, media={**batch.media, "image": filled})
