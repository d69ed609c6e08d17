"""The vision-language model, which joins an encoder, a connector, a fusion and a language model."""

import dataclasses
from collections.abc import Mapping
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import Batch, BeforeBlock, MediaEmbeddings, Output, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.errors import RecipeError
from sightweave.core.image_tokens import ImageTokens
from sightweave.core.types import InputLayout
from sightweave.models.connectors._base import Connector
from sightweave.models.encoders._base import Encoder
from sightweave.models.fusions._base import Fusion
from sightweave.models.image_tokenizers._base import ImageTokenizer
from sightweave.models.language_models._base import LanguageModel
from sightweave.models.nn.image_vocabulary import ImageVocabulary
from sightweave.models.pairs import refusal
from sightweave.models.paths import MediaPath, MediaPaths


class VLM(nn.Module):
    """Computes logits: encoders -> connectors -> fusion with the text inside a language model -> logits.

    Args:
        encoder: Maps pixels of images to features; None for a model that reads no images.
        connector: Maps features of images to embeddings; None if there is no encoder.
        fusion: Combines the embeddings of all media with the text.
        language_model: Maps text to logits.
        media: Encoder and connector of each further modality, by its name.
        image_tokenizer: Turns images into codes and back; None for a model that makes no images.

    Raises:
        RecipeError: the fusion acts at a place that the language model does not offer (the message names the possible
            partners), there is no encoder, an encoder has no connector, or the two do not fit.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        connector: Connector | None,
        fusion: Fusion,
        language_model: LanguageModel,
        media: Mapping[str, tuple[Encoder, Connector]] | None = None,
        image_tokenizer: ImageTokenizer | None = None,
    ) -> None:
        super().__init__()
        if not fusion.places <= language_model.offers:
            raise RecipeError(refusal(fusion, language_model))
        paths = {modality: MediaPath(*pair) for modality, pair in (media or {}).items()}
        if encoder is not None and connector is not None:
            paths = {"image": MediaPath(encoder, connector), **paths}
        elif encoder is not None or connector is not None:
            missing, given = ("connector", "encoder") if connector is None else ("encoder", "connector")
            raise RecipeError(f"the {given} of images has no {missing}; give both, or neither.")
        if not paths:
            raise RecipeError(
                "the model has no encoder; give one for images, or for another modality in media."
            )

        self.encoders = MediaPaths(paths)
        self.fusion, self.language_model = fusion, language_model
        self.image_tokenizer = image_tokenizer
        if image_tokenizer is not None and language_model.form != "classify":
            rows, columns = image_tokenizer.grid
            language_model.image_vocabulary = ImageVocabulary(
                ImageTokens(language_model.vocab_size, image_tokenizer.num_codes, rows, columns),
                dim=language_model.dim,
                code_dim=image_tokenizer.code_dim,
                is_normalised=language_model.token_embedding.norm is not None,
            )

    def forward(
        self,
        batch: Batch,
        cache: Cache | None = None,
        at: Int[Tensor, " R"] | None = None,
        *,
        with_logits: bool = True,
        with_named: bool = False,
    ) -> Output:
        """Computes logits at the flat positions `at`, by default those that predict a label (or that are classified).

        Args:
            batch: A batch on the model's device.
            cache: Keys and values of the preceding tokens.
            at: int64 R, indices into the flattened rows ``B S``.
            with_logits: If False, the output has the input of the head instead of logits: with a large vocabulary, a
                loss that applies the head itself needs far less memory (`loss.chunked_cross_entropy`).
            with_named: Whether to return all intermediate results in `Output.named`, for explanations. They stay part
                of the graph, so gradients can be taken with respect to them.
        """
        named: dict[str, Tensor] = {}
        language_model, fusion = self.language_model, self.fusion
        if batch.pictures is not None and batch.target is None:
            assert self.image_tokenizer is not None  # the stage that makes such batches needs it
            return Output(logits=None, at=None, pictures=self.image_tokenizer(batch.pictures))
        media = self.encoders.embed(batch.media) if batch.media else batch.embeddings
        words = self._words(batch, media)
        if batch.target is None:
            return Output(logits=None, at=None, media=media, region_logits=words)
        memory, target = None, batch.target
        if batch.pictures is not None:
            target = self._filled(target, batch.pictures)
        hidden = named["words"] = self._embed(target.ids)
        if batch.source is not None:
            source = fusion.input(language_model.embed(batch.source.ids), batch.source, media, None)
            memory = fusion.memory(language_model.encode(source, batch.source), media, cache)
        elif language_model.form != "encoder_decoder":
            hidden = fusion.input(hidden, target, media, cache)
        named["fused"] = hidden
        before_block = fusion.before_block(target, media, cache)
        if with_named:
            before_block = _recording(named, before_block)
        hidden = language_model.run(hidden, target, cache=cache, memory=memory, before_block=before_block)
        named["states"] = hidden

        if at is None:
            # The labels that are not filled in are at the same positions.
            at = batch.class_at if batch.class_at is not None else batch.target.predicting()
        chosen = named["pooled"] = fusion.pool(hidden.flatten(0, 1)[at], at, target, media)
        return Output(
            logits=self.head(chosen) if with_logits else None,
            at=at,
            media=media,
            region_logits=words,
            hidden=None if with_logits else chosen,
            labels=None if batch.pictures is None else _labels_after(target, at),
            named=named if with_named else {},
        )

    @torch.no_grad()
    def _filled(self, target: TokenSequence, pictures: Tensor) -> TokenSequence:
        """The tokens with the codes of pictures in the place of holes, in order."""
        vocabulary = self.language_model.image_vocabulary
        assert vocabulary is not None  # the layout allows no target images without it
        assert self.image_tokenizer is not None

        # In reduced precision, values near the border of two levels would get other codes.
        with torch.autocast(pictures.device.type, enabled=False):
            codes = self.image_tokenizer.encode(pictures.float()).flatten() + vocabulary.tokens.first

        hole = vocabulary.tokens.hole
        return dataclasses.replace(
            target,
            ids=target.ids.masked_scatter(target.ids == hole, codes),
            labels=target.labels.masked_scatter(target.labels == hole, codes),
        )

    def _embed(self, ids: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Embeddings of text tokens and image tokens."""
        vocabulary = self.language_model.image_vocabulary
        if vocabulary is None:
            return self.language_model.embed(ids)

        assert self.image_tokenizer is not None
        # Both are computed for all tokens, since selecting some would make a GPU wait for their number.
        is_image = ids >= vocabulary.tokens.first
        texts = self.language_model.embed(ids.masked_fill(is_image, 0))
        images = vocabulary.embed(ids, self.image_tokenizer.vectors)
        return torch.where(is_image[..., None], images.to(texts.dtype), texts)

    def head(self, hidden: Float[Tensor, "R D"]) -> Float[Tensor, "R V"]:
        """Logits over the vocabulary, followed by those of the image tokens, or logits over the answers."""
        text, vocabulary = self.language_model.head(hidden), self.language_model.image_vocabulary
        return text if vocabulary is None else torch.cat((text, vocabulary.head(hidden)), -1)

    @property
    def vocab_size(self) -> int:
        """Number of text tokens and image tokens."""
        vocabulary = self.language_model.image_vocabulary
        return self.language_model.vocab_size + (0 if vocabulary is None else vocabulary.tokens.size)

    @property
    def with_head(self) -> LanguageModel | Self:
        """What a loss must be given to apply the head itself: the language model, or all if there are image tokens."""
        return self.language_model if self.language_model.image_vocabulary is None else self

    def _words(self, batch: Batch, media: MediaEmbeddings | None) -> Tensor | None:
        if batch.regions is None or media is None:
            return None
        embeddings = media.embeddings if batch.regions.whole else media.embeddings[batch.regions.embedding]
        return self.language_model.words(embeddings)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model reads in addition to text, such as ``image``."""
        return self.encoders.modalities

    @property
    def encoder(self) -> Encoder:
        """The image encoder.

        Raises:
            KeyError: the model reads no images.
        """
        return self.encoders.path("image").encoder

    @property
    def connector(self) -> Connector:
        """The image connector.

        Raises:
            KeyError: the model reads no images.
        """
        return self.encoders.path("image").connector

    @property
    def layout(self) -> InputLayout:
        """The layout in which the processor must arrange the tokens for this composition."""
        vocabulary = self.language_model.image_vocabulary
        return InputLayout(
            form=self.language_model.form,
            in_sequence=self.fusion.in_sequence,
            bidirectional="all" if self.language_model.form == "classify" else self.fusion.bidirectional,
            one_position=self.fusion.one_position,
            media={modality: self.encoders.path(modality).layout for modality in self.modalities},
            image_tokens=None if vocabulary is None else vocabulary.tokens,
        )


def _labels_after(tokens: TokenSequence, at: Int[Tensor, " R"]) -> Int[Tensor, " R"]:
    """The label of the token after each position; -100 after the last one."""
    labels = torch.cat((tokens.labels.flatten(), tokens.labels.new_full((1,), -100)))
    return labels[at + 1]


def _recording(named: dict[str, Tensor], before_block: BeforeBlock | None) -> BeforeBlock:
    """Wraps `before_block` so that the input of each block is recorded, after the fusion has changed it."""

    def before(block: int, hidden: Tensor) -> Tensor:
        if before_block is not None:
            hidden = before_block(block, hidden)
        named[f"block_{block}"] = hidden
        return hidden

    return before
