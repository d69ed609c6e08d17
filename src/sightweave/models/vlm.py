"""The vision-language model: the only place where the parts meet."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sightweave.core.batch import Batch, Media, MediaEmbeddings, Output
from sightweave.core.cache import Cache
from sightweave.core.errors import RecipeError
from sightweave.core.types import InputLayout
from sightweave.models.connectors._base import Connector
from sightweave.models.encoders._base import Encoder
from sightweave.models.fusions._base import Fusion
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.pairs import refusal


class MediaPath(nn.Module):
    """An encoder and its connector: from decoded media of one modality to embeddings as wide as the language model."""

    def __init__(self, encoder: Encoder, connector: Connector) -> None:
        super().__init__()
        self.encoder, self.connector = encoder, connector

    def forward(self, media: Media) -> MediaEmbeddings:
        """Encodes each medium; item i is the i-th of the batch."""
        features = self.encoder(media.pixels) if media.features is None else media.features
        embeddings = self.connector(features)  # I Q D
        count = embeddings.shape[1]
        item = torch.arange(len(embeddings), device=embeddings.device)
        spread = [x.repeat_interleave(count) for x in (item, media.row, media.segment, media.branch)]
        return MediaEmbeddings(embeddings.flatten(0, 1), *spread)


class VLM(nn.Module):
    """Image encoder -> connector -> fusion with the text inside a language model -> logits.

    Args:
        encoder: Pixels to features.
        connector: Features to embeddings.
        fusion: Where they enter the text.
        language_model: Text to logits.

    Raises:
        RecipeError: the fusion acts where the language model offers no place; the legal partners are named.
    """

    def __init__(
        self, encoder: Encoder, connector: Connector, fusion: Fusion, language_model: LanguageModel
    ) -> None:
        super().__init__()
        if not fusion.places <= language_model.offers:
            raise RecipeError(refusal(fusion, language_model))
        self.encoders = nn.ModuleDict({"image": MediaPath(encoder, connector)})
        self.fusion, self.language_model = fusion, language_model

    def forward(
        self,
        batch: Batch,
        cache: Cache | None = None,
        at: Int[Tensor, " R"] | None = None,
        *,
        with_logits: bool = True,
    ) -> Output:
        """Logits at the flat positions `at`, by default those that predict a label (or that are classified).

        Without logits, what the head would read is given instead: with a large vocabulary, a loss that applies the head
        itself needs far less memory (`loss.chunked_cross_entropy`).
        """
        language_model, fusion = self.language_model, self.fusion
        media = self.encoders["image"](batch.media["image"]) if "image" in batch.media else batch.embeddings
        words = self._words(batch, media)
        if batch.target is None:
            return Output(logits=None, at=None, media=media, region_logits=words)
        memory, target = None, batch.target
        hidden = language_model.embed(target.ids)
        if batch.source is not None:
            source = fusion.input(language_model.embed(batch.source.ids), batch.source, media, None)
            memory = fusion.memory(language_model.encode(source, batch.source), media, cache)
        elif language_model.form != "encoder_decoder":
            hidden = fusion.input(hidden, target, media, cache)
        before_block = fusion.before_block(target, media, cache)
        hidden = language_model.run(hidden, target, cache=cache, memory=memory, before_block=before_block)
        at = at if at is not None else batch.class_at if batch.class_at is not None else target.predicting()
        chosen = fusion.pool(hidden.flatten(0, 1)[at], at, target, media)
        if not with_logits:
            return Output(logits=None, at=at, media=media, region_logits=words, hidden=chosen)
        return Output(logits=language_model.head(chosen), at=at, media=media, region_logits=words)

    def _words(self, batch: Batch, media: MediaEmbeddings | None) -> Tensor | None:
        if batch.regions is None or media is None:
            return None
        embeddings = media.embeddings if batch.regions.whole else media.embeddings[batch.regions.embedding]
        return self.language_model.words(embeddings)

    @property
    def encoder(self) -> Encoder:
        """The image encoder."""
        return self.encoders["image"].encoder  # type: ignore[return-value]  # ModuleDict forgets the type

    @property
    def connector(self) -> Connector:
        """The image connector."""
        return self.encoders["image"].connector  # type: ignore[return-value]  # ModuleDict forgets the type

    @property
    def layout(self) -> InputLayout:
        """How the processor must lay tokens out for this composition."""
        grid = self.encoder.grid()
        places = self.connector.out_grid(grid)
        return InputLayout(
            form=self.language_model.form,
            in_sequence=self.fusion.in_sequence,
            bidirectional="all" if self.language_model.form == "classify" else self.fusion.bidirectional,
            one_position=self.fusion.one_position,
            tokens_per_image=self.connector.num_tokens(grid),
            grid=places and (places[1], places[2]),
        )
