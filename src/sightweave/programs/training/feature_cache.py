"""Features of a frozen encoder, computed once for each picture: for stages in which nothing varies the pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sightweave.core.batch import Batch, Features
from sightweave.core.device import Precision
from sightweave.models.encoders._base import Encoder


class FeatureCache:
    """Keeps features in memory by the picture's key, up to a size.

    What is full stays full: training goes round and round, and a cache that throws out what was used longest ago would
    throw out just what comes next.

    Args:
        encoder: Frozen, in evaluation mode.
        precision: As the rest of the model computes.
        most: Bytes that are kept at most.
    """

    def __init__(self, encoder: Encoder, precision: Precision, most: int) -> None:
        self.encoder, self.precision, self.most = encoder, precision, most
        self.bytes = 0
        """Bytes that are kept."""
        self._values: dict[str, Tensor] = {}

    @torch.no_grad()
    def fill(self, batch: Batch) -> Batch:
        """The batch with the features of its pictures, on the device that computes."""
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
