"""The flow of relevance from the input to a word, along the attention of every part of a model.

Every attention of the model is recorded in one forward pass. A rule then turns each of them, in the order in which they ran,
into a change of matrices that say how much each token depends on each source. The sources are the tokens of the text and the
embeddings of media, from which connectors and encoders lead on to the places of each medium::

    places --encoder's attention--> features --connector--> embeddings --fusion, language model--> the word

Where the flow goes depends on the fusion: embeddings are tokens of the sequence (``concat``), or a memory that the blocks
(``cross_attention``), the source (``memory``) or the pooled question (``bilinear``) attend to.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sightweave.answers.attribution import places
from sightweave.answers.attribution.question import Question, Seen
from sightweave.core.batch import MediaEmbeddings
from sightweave.models.nn.attention import Attention
from sightweave.models.paths import MediaPath


@dataclass(frozen=True)
class Call:
    """One recorded attention."""

    name: str
    """Name of the module in the model."""
    weights: Tensor
    """float B H S K."""


@dataclass(frozen=True)
class Recording:
    """All attention of one forward pass, in order, with the score and the media embeddings that it gave."""

    calls: tuple[Call, ...]
    score: Tensor
    """The explained score, a scalar with a graph."""
    media: MediaEmbeddings | None

    def part(self, prefix: str) -> list[Call]:
        """The calls of the modules below one module."""
        return [one for one in self.calls if one.name.startswith(prefix)]


def record(question: Question) -> Recording:
    """Runs a question once and records all attention of our own modules; those of other libraries keep theirs."""
    calls: list[Call] = []

    def keep(name: str, weights: Tensor) -> None:
        # Weights that depend on nothing differentiable are made leaves, so that the score has a gradient for them.
        calls.append(Call(name, weights if weights.requires_grad else weights.requires_grad_()))

    modules = [(name, one) for name, one in question.model.named_modules() if isinstance(one, Attention)]
    for name, module in modules:
        module.record = functools.partial(keep, name)
    try:
        with torch.enable_grad():
            scores, output = question.forward([question.own()])
    finally:
        for _, module in modules:
            module.record = None
    return Recording(tuple(calls), scores.sum(), output.media)


@dataclass
class Stream:
    """Vectors of a model, such as the tokens of a sequence, and how much each of them depends on each source."""

    relevance: Float[Tensor, "S G"]
    """The dependence of each of S vectors on each of G sources."""
    eye: Float[Tensor, "S G"]
    """1 where a source is the vector itself."""
    seen: Float[Tensor, "S G"]
    """What the latest attention to another stream found; only some rules use it."""

    @classmethod
    def start(cls, eye: Tensor) -> Stream:
        """Vectors that depend on nothing but themselves."""
        return cls(eye.clone(), eye, torch.zeros_like(eye))

    def followed_by(self, other: Stream) -> Stream:
        """The vectors of both streams as one memory."""
        return Stream(
            torch.cat([self.relevance, other.relevance]),
            torch.cat([self.eye, other.eye]),
            torch.cat([self.seen, other.seen]),
        )


class Rule:
    """A rule of propagation: how attention changes what vectors depend on."""

    needs_gradients = False
    """Whether the rule reads the gradient of the score with respect to the attention weights."""
    enters_encoders = True
    """Whether the rule follows the attention inside encoders; if not, their features are taken as the places."""

    def attend(self, stream: Stream, keys: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Changes a stream by attention to itself, or to itself and its constant inputs.

        Args:
            stream: The vectors with the queries, S.
            keys: The vectors with the keys, K.
            weights: float H S K: the attention weights.
            gradient: float H S K: gradient of the score, if the rule needs it.
        """
        raise NotImplementedError(type(self).__name__)

    def cross(self, stream: Stream, memory: Stream, weights: Tensor, gradient: Tensor | None) -> None:
        """Changes a stream by attention to another one; the arguments are as for `attend`."""
        raise NotImplementedError(type(self).__name__)

    def result(self, stream: Stream) -> Float[Tensor, "S G"]:
        """What the vectors of a stream depend on in the end."""
        raise NotImplementedError(type(self).__name__)

    def passed_on(self, stream: Stream) -> Float[Tensor, "S G"]:
        """What the vectors of an encoder depend on, as the embeddings made from them pass it on."""
        return self.result(stream)


@dataclass(frozen=True)
class Flowed:
    """The result of a flow."""

    media: tuple[Tensor, ...]
    """float N for each medium: the values of its places, row by row."""
    words: Float[Tensor, " T"]
    """The values of the prompt's text tokens."""


def refusal(question: Question, recording: Recording) -> str:
    """Why relevance cannot flow through a model, as the end of a sentence; empty if it can."""
    model = question.model
    if not recording.part("language_model."):
        return (
            f"the attention weights of {type(model.language_model).__name__} cannot be recorded, because its blocks are "
            "those of another library"
        )
    if not question.media:
        return ""

    reason = _refusal_of_media(question, recording)
    if reason:
        return reason
    fusion, name = model.fusion, type(model.fusion).__name__
    if fusion.in_sequence or recording.part("fusion."):
        return ""
    if "memory" in fusion.places and _reads_media(question, recording):
        return ""
    return f"the fusion {name} joins media and text without attention"


def _refusal_of_media(question: Question, recording: Recording) -> str:
    for modality in question.batch.media:
        path = question.model.encoders.path(modality)
        own = [one for one in question.media if one.modality == modality]
        if len({one.grid for one in own}) > 1 and _calls_of_path(recording, path, question):
            return f"the prompt has media of different sizes, which {modality} encodes in several calls"

        connector, calls = path.connector, _calls_of_path(recording, path, question, "connector")
        if connector.out_grid(own[0].grid) is None and not calls:
            return f"the connector {type(connector).__name__} mixes all places without attention that can be recorded"
    return ""


def _reads_media(question: Question, recording: Recording) -> bool:
    """Whether the decoder attends to the embeddings of media beside the source."""
    assert recording.media is not None
    assert question.batch.source is not None
    both = question.batch.source.ids.shape[1] + len(recording.media.item)
    calls = [one for one in recording.calls if one.name.endswith("memory_attention")]
    return bool(calls) and calls[0].weights.shape[-1] == both


def _calls_of_path(recording: Recording, path: MediaPath, question: Question, part: str = "") -> list[Call]:
    """The calls of an encoder and its connector, or of one of the two."""
    name = next(name for name, one in question.model.named_modules() if one is path)
    return recording.part(f"{name}.{part}")


def flow(question: Question, recording: Recording, rule: Rule) -> Flowed:
    """What the predictions of the explained tokens depend on: each place of each medium and each text token of the prompt.

    Args:
        question: The question.
        recording: Its attention; `refusal` has found no reason against it.
        rule: How attention changes what vectors depend on.
    """
    return _Flow(question, recording, rule).run()


class _Flow:
    def __init__(self, question: Question, recording: Recording, rule: Rule) -> None:
        self.question, self.recording, self.rule = question, recording, rule
        tensors = [one.weights for one in recording.calls]
        gradients: Sequence[Tensor | None] = [None] * len(tensors)
        if rule.needs_gradients:
            found = torch.autograd.grad(recording.score, tensors, allow_unused=True)
            gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(tensors, found, strict=True)]
        self.gradients = {id(one): g for one, g in zip(recording.calls, gradients, strict=True)}

        # The sources: tokens of the target, tokens of the source, and embeddings of media.
        source = question.batch.source
        self.num_targets = question.target.ids.shape[1]
        self.num_sources = 0 if source is None else source.ids.shape[1]
        self.num_media = 0 if recording.media is None else len(recording.media.item)

        is_mixed = question.model.fusion.in_sequence
        first_media = self.num_targets + self.num_sources
        self.media = Stream.start(self._eye(first_media, self.num_media))
        self.target = Stream.start(self._eye(0, self.num_targets))
        self.source = Stream.start(self._eye(self.num_targets, self.num_sources))
        if is_mixed:
            mixed = self.target if source is None else self.source
            item = (question.target if source is None else source).item[0]
            eye = mixed.eye.clone()
            eye[item >= 0] = self.media.eye
            setattr(self, "target" if source is None else "source", Stream.start(eye))

    def _eye(self, first: int, count: int) -> Tensor:
        """1 for the sources from `first` on; count G."""
        device = self.question.device
        eye = torch.zeros(count, self.num_targets + self.num_sources + self.num_media, device=device)
        eye[torch.arange(count), first + torch.arange(count)] = 1
        return eye.to(self.recording.score.dtype)

    def run(self) -> Flowed:
        for call in self.recording.calls:
            if call.name.startswith("language_model.encoder_blocks."):
                self._attend(self.source, call)
            elif call.name.endswith(".memory_attention"):
                is_joined = call.weights.shape[-1] == self.num_sources + self.num_media and self.num_media
                memory = self.source.followed_by(self.media) if is_joined else self.source
                self._cross(self.target, memory, call)
            elif call.name.startswith("language_model."):
                self._attend(self.target, call)
            elif call.name.startswith("fusion."):
                self._fuse(call)

        rows = self.rule.result(self.target)[self.question.at]
        row = rows.mean(0)
        first = self.num_targets if self.num_sources else 0
        first_media = self.num_targets + self.num_sources
        return Flowed(self._to_places(row[first_media:]), row[first + self.question.text_at])

    def _attend(self, stream: Stream, call: Call) -> None:
        gradient = self.gradients[id(call)]
        self.rule.attend(stream, stream, call.weights[0].detach(), None if gradient is None else gradient[0])

    def _cross(self, stream: Stream, memory: Stream, call: Call) -> None:
        gradient = self.gradients[id(call)]
        self.rule.cross(stream, memory, call.weights[0].detach(), None if gradient is None else gradient[0])

    def _fuse(self, call: Call) -> None:
        """Follows the attention of a fusion to the media."""
        places_of_fusion = self.question.model.fusion.places
        if "pool" not in places_of_fusion:
            self._cross(self.source if "memory" in places_of_fusion else self.target, self.media, call)
            return

        # Only the classified tokens attend to the media: R H 1 K.
        def full(values: Tensor) -> Tensor:
            whole = values.new_zeros(values.shape[1], self.num_targets, values.shape[3])
            return whole.index_copy(1, self.question.at, values[:, :, 0].transpose(0, 1))

        gradient = self.gradients[id(call)]
        weights = full(call.weights.detach())
        self.rule.cross(self.target, self.media, weights, None if gradient is None else full(gradient))

    def _to_places(self, values: Float[Tensor, " E"]) -> tuple[Tensor, ...]:
        """Values of the places of each medium, from those of its embeddings."""
        question, found = self.question, {}
        for modality, media in question.batch.media.items():
            numbers = media.item.tolist()
            for index, number in enumerate(numbers):
                found[number] = self._places_of(
                    modality, index, question.media[number], self._own(values, number)
                )
        return tuple(found[number] for number in sorted(found))

    def _own(self, values: Tensor, number: int) -> Tensor:
        """Values of the embeddings of one medium."""
        assert self.recording.media is not None
        return values[self.recording.media.item == number]

    def _places_of(
        self, modality: str, index: int, seen: Seen, values: Float[Tensor, " Q"]
    ) -> Float[Tensor, " N"]:
        """Values of the places of one medium, which is the `index`-th of its modality."""
        path = self.question.model.encoders.path(modality)
        connector_calls = _calls_of_path(self.recording, path, self.question, "connector")
        encoder_calls = _calls_of_path(self.recording, path, self.question, "encoder")

        out_grid = path.connector.out_grid(seen.grid)
        if out_grid is not None:
            features = values @ places.spread(seen.grid, out_grid).to(values)
        else:
            features = values @ self._queries(connector_calls, index, seen.num_places, len(values))
        return features @ self._encoded(encoder_calls, index, seen.num_places, features)

    def _queries(
        self, calls: Sequence[Call], index: int, num_features: int, count: int
    ) -> Float[Tensor, "Q N"]:
        """What the queries of a resampler depend on; each attends to the features and, as a rule, to all queries."""
        eye = torch.eye(num_features + count).to(calls[0].weights)
        features, queries = Stream.start(eye[:num_features]), Stream.start(eye[num_features:])
        for call in calls:
            gradient = self.gradients[id(call)]
            keys = features.followed_by(queries)
            length = call.weights.shape[-1]
            keys = Stream(keys.relevance[:length], keys.eye[:length], keys.seen[:length])
            own = None if gradient is None else gradient[index]
            self.rule.attend(queries, keys, call.weights[index].detach(), own)
        return self.rule.passed_on(queries)[:, :num_features]

    def _encoded(self, calls: Sequence[Call], index: int, count: int, like: Tensor) -> Float[Tensor, "N N"]:
        """What the features of an encoder depend on, with class tokens before them left out.

        The identity for an encoder without attention over all its places, whose features are taken as the places.
        """
        whole = [one for one in calls if one.weights.shape[2] == one.weights.shape[3] >= count]
        if not self.rule.enters_encoders:
            whole = []
        length = max((one.weights.shape[2] for one in whole), default=count)
        stream = Stream.start(torch.eye(length).to(like))
        for call in whole:
            if call.weights.shape[2] == length:
                gradient = self.gradients[id(call)]
                own = None if gradient is None else gradient[index]
                self.rule.attend(stream, stream, call.weights[index].detach(), own)

        extra = length - count
        return self.rule.passed_on(stream)[extra:, extra:]
