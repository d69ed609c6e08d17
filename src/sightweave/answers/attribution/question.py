"""The explained question: a prompt, the score of a word of its answer, and forward passes with changed inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sightweave.answers.attribution import places
from sightweave.answers.attribution.twin import twin
from sightweave.core.batch import Batch, Features, Output, TokenSequence
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded
from sightweave.models.vlm import VLM

_TABLE_ROWS = 1 << 13
"""Rows of the embedding table that are averaged at once."""


@dataclass(frozen=True)
class Wanted:
    """One token of the answer whose choice is explained."""

    number: int
    """Index of the token in the answer; 0 for a class."""
    id: int
    """Id of the token, or index of the class."""
    against: int | None = None
    """Id of the token, or index of the class, with which it is compared; None compares it with all others."""


@dataclass(frozen=True)
class Seen:
    """One medium of the prompt as the encoder sees it."""

    name: str
    """Key of the medium."""
    modality: str
    values: Tensor
    """float C *size: input of the encoder."""
    blank: Tensor
    """float C *size: the same input for a medium without content, such as a grey image."""
    grid: places.Grid
    """Times, rows and columns of its features."""
    stride: tuple[int, ...]
    """Number of values per place along each axis; empty if the grid divides each axis evenly."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its map."""
        return places.map_shape(self.grid, self.values.dim() - 1)

    @functools.cached_property
    def cells(self) -> Int[Tensor, "*size"]:
        """Index of the place of each value, the same for all channels."""
        return places.cell_of_values(self.values.shape[1:], self.shape, self.stride)

    @property
    def num_places(self) -> int:
        """Number N of places, which is that of its features."""
        return self.grid[0] * self.grid[1] * self.grid[2]


@dataclass(frozen=True)
class Inputs:
    """Inputs of one forward pass: what may be changed to see what it matters."""

    media: Sequence[Tensor]
    """For each medium its values, C *size, or its features, N Dv."""
    words: Tensor | None = None
    """float T D: embeddings of the prompt's text tokens; None means their own."""
    are_features: bool = False
    """Whether `media` are features rather than values."""


class Question:
    """A prompt with its answer, whose chosen tokens are explained.

    Args:
        model: The model; it is not changed.
        processor: The model's own processor.
        encoded: The prompt and the answer as tokens; a classifier reads the prompt only.
        wanted: Tokens whose choice is explained.
    """

    def __init__(self, model: VLM, processor: Processor, encoded: Encoded, wanted: Sequence[Wanted]) -> None:
        self.model, self.processor, self.encoded, self.wanted = twin(model), processor, encoded, wanted
        self.device = next(model.parameters()).device
        self.batch: Batch = processor.batch([encoded]).to(self.device)
        assert self.batch.target is not None  # prompts always have tokens
        self.target: TokenSequence = self.batch.target
        self.is_classifier = self.batch.class_at is not None

        at = self.batch.class_at if self.batch.class_at is not None else self.target.predicting()
        self.at = at[torch.tensor([one.number for one in wanted], device=at.device)]
        """int64 R: positions in the target that predict the wanted tokens."""
        prompt = self.target if self.batch.source is None else self.batch.source
        length = len(encoded.trunk) + len(encoded.prompt)
        self.text_at: Tensor = (prompt.item[0, :length] < 0).nonzero().squeeze(1)
        """int64 T: positions of the prompt's text tokens, in the source of an encoder-decoder or in the target."""
        self.text_ids: Tensor = prompt.ids[0, self.text_at]
        """int64 T: ids of the prompt's text tokens."""
        self.media = self._seen()

    def _seen(self) -> list[Seen]:
        media = [*self.encoded.trunk_media, *self.encoded.branch_media]
        found: dict[int, Seen] = {}
        for modality, numbers_and_media in self.batch.media.items():
            loader, encoder = self.processor.loaders[modality], self.model.encoders.path(modality).encoder
            numbers = numbers_and_media.item.tolist()
            blanks = loader.load([loader.blank(media[number]) for number in numbers]).values
            for number, values, blank in zip(numbers, numbers_and_media.values, blanks, strict=True):
                found[number] = Seen(
                    name=media[number].key,
                    modality=modality,
                    values=values,
                    blank=blank.to(self.device),
                    grid=encoder.grid(values.shape[1:]) if encoder.stride else encoder.grid(),
                    stride=encoder.stride,
                )
        return [found[number] for number in sorted(found)]

    @property
    def tokens(self) -> tuple[str, ...]:
        """Text of each of the prompt's text tokens; special tokens by name, and parts of characters as they are written."""
        tokenizer, found = self.processor.tokenizer, []
        for one in self.text_ids.tolist():
            said = tokenizer.token_bytes(one)
            try:
                text = said.decode("utf-8")
            except UnicodeDecodeError:
                text = ""
            found.append(text or tokenizer.token(one))
        return tuple(found)

    @functools.cached_property
    def words(self) -> Float[Tensor, "T D"]:
        """Embeddings of the prompt's text tokens, before positions are added."""
        with torch.no_grad():
            return self.model.language_model.token_embedding(self.text_ids)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    @functools.cached_property
    def mean_word(self) -> Float[Tensor, " D"]:
        """The mean of the embeddings of all tokens that the tokenizer knows, which stands for an absent word."""
        num_tokens = self.processor.tokenizer.vocab_size
        total = torch.zeros(self.words.shape[1], dtype=torch.float64, device=self.device)
        with torch.no_grad():
            for start in range(0, num_tokens, _TABLE_ROWS):
                ids = torch.arange(start, min(start + _TABLE_ROWS, num_tokens), device=self.device)
                total += self.model.language_model.token_embedding(ids).double().sum(0)
        return (total / num_tokens).to(self.words.dtype)

    @functools.cached_property
    def features(self) -> list[Tensor]:
        """The features of each medium, N Dv."""
        with torch.no_grad():
            return [
                self.model.encoders.path(one.modality).encoder(one.values[None]).values[0]
                for one in self.media
            ]

    def own(self, *, are_features: bool = False) -> Inputs:
        """The inputs as they are."""
        media = self.features if are_features else [one.values for one in self.media]
        return Inputs(media, self.words, are_features)

    def absent(self, *, are_features: bool = False) -> Inputs:
        """The inputs that stand for absence: blank media or mean features, and the mean embedding for each word.

        Args:
            are_features: Whether media are replaced by the mean of their own features rather than by blank media.
        """
        if are_features:
            media = [one.mean(0, keepdim=True).expand_as(one) for one in self.features]
        else:
            media = [one.blank for one in self.media]
        return Inputs(media, self.mean_word.expand_as(self.words), are_features)

    def scores(self, inputs: Sequence[Inputs]) -> Float[Tensor, " n"]:
        """The explained score for each of n inputs, which are read in one forward pass.

        Gradients reach the tensors of the inputs.
        """
        return self.forward(inputs)[0]

    def forward(self, inputs: Sequence[Inputs]) -> tuple[Float[Tensor, " n"], Output]:
        """The explained score for each of n inputs, and the model's output for all of them in one batch."""
        num_rows, width = len(inputs), self.target.ids.shape[1]
        rows = torch.arange(num_rows, device=self.device)
        at = (rows[:, None] * width + self.at).flatten()
        batch = self._batch(inputs)

        with _words_replaced(self, [one.words for one in inputs]):
            output: Output = self.model(batch, at=at)
        assert output.logits is not None
        return self.score(torch.unflatten(output.logits, 0, (num_rows, len(self.wanted)))), output

    def probabilities(self, inputs: Sequence[Inputs]) -> Float[Tensor, " n"]:
        """The probability of all explained tokens for each of n inputs, which are read in one forward pass."""
        output = self.forward(inputs)[1]
        assert output.logits is not None
        ids = torch.tensor([one.id for one in self.wanted], device=self.device)
        logprobs = torch.unflatten(output.logits.float().log_softmax(-1), 0, (len(inputs), len(ids)))
        return logprobs.gather(2, ids.expand(len(inputs), -1)[..., None]).sum((1, 2)).exp()

    def score(self, logits: Float[Tensor, "n R V"]) -> Float[Tensor, " n"]:
        """The explained score from the logits that predict the wanted tokens.

        The score is the sum of the log-odds of the tokens or, where a token is compared with another, of the difference of
        their logits. In contrast to probabilities, neither loses its gradient if the model is certain.
        """
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        total = logits.new_zeros(len(logits))
        for place, one in enumerate(self.wanted):
            chosen = logits[:, place, one.id]
            if one.against is not None:
                total = total + chosen - logits[:, place, one.against]
                continue
            is_chosen = torch.zeros_like(logits[:, place], dtype=torch.bool)
            is_chosen[:, one.id] = True
            total = total + chosen - logits[:, place].masked_fill(is_chosen, -torch.inf).logsumexp(-1)
        return total

    def _batch(self, inputs: Sequence[Inputs]) -> Batch:
        """The question's batch, once for each of the inputs, with their media."""
        num_rows, num_media = len(inputs), len(self.media)
        media = {}
        numbers_of: Mapping[str, list[int]] = {
            modality: one.item.tolist() for modality, one in self.batch.media.items()
        }
        for modality, one in self.batch.media.items():
            given = [each.media[number] for each in inputs for number in numbers_of[modality]]
            grids = [self.media[number].grid for _ in inputs for number in numbers_of[modality]]
            offset = torch.arange(num_rows, device=self.device).repeat_interleave(len(one.item))
            media[modality] = dataclasses.replace(
                one,
                values=_stacked(given),
                features=_as_features(given, grids) if inputs[0].are_features else None,
                item=one.item.repeat(num_rows) + offset * num_media,
                row=offset,
                segment=one.segment.repeat(num_rows),
                branch=one.branch.repeat(num_rows),
                keys=(),
                rows=tuple(offset.tolist()),
            )

        return Batch(
            target=_repeated(self.target, num_rows, num_media),
            media=media,
            source=None if self.batch.source is None else _repeated(self.batch.source, num_rows, num_media),
        )


def _stacked(values: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return torch.stack(list(values)) if len({one.shape for one in values}) == 1 else tuple(values)


def _as_features(values: Sequence[Tensor], grids: Sequence[places.Grid]) -> Features | tuple[Features, ...]:
    if len(set(grids)) == 1:
        return Features(torch.stack(list(values)), grids[0])
    return tuple(Features(one[None], grid) for one, grid in zip(values, grids, strict=True))


def _repeated(tokens: TokenSequence, num_rows: int, num_media: int) -> TokenSequence:
    """The tokens of one row, repeated for rows with media of their own."""
    fields: dict[str, Any] = {}
    for one in dataclasses.fields(tokens):
        value = getattr(tokens, one.name)
        fields[one.name] = value.repeat(num_rows, 1) if isinstance(value, Tensor) else value

    offset = torch.arange(num_rows, device=tokens.item.device)[:, None] * num_media
    fields["item"] = torch.where(fields["item"] < 0, fields["item"], fields["item"] + offset)
    return dataclasses.replace(tokens, **fields)


@contextmanager
def _words_replaced(question: Question, words: Sequence[Tensor | None]) -> Iterator[None]:
    """Replaces the embeddings of the prompt's text tokens in one forward pass of the question's own model.

    Args:
        question: The question.
        words: float T D for each row; if one is None, nothing is replaced.
    """
    given = [one for one in words if one is not None]
    if len(given) < len(words):
        yield
        return

    # A model first embeds the tokens that it writes; an encoder-decoder then embeds its source.
    replaced_call = 0 if question.batch.source is None else 1
    calls = count()

    def replace(module: object, ids: object, embedded: Tensor) -> Tensor:
        if next(calls) != replaced_call:
            return embedded
        return embedded.index_copy(1, question.text_at, torch.stack(given).to(embedded.dtype))

    handle = question.model.language_model.token_embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
