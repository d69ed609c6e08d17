"""Answers many samples: in rooms (groups of prompts that share images), and in batches that fit into memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.answers.writers._base import Completing, Writer
from sightweave.core.device import side_by_side
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded, TrunkKey
from sightweave.models.vlm import VLM
from sightweave.programs.budget import Budget, Shape, halves, or_none
from sightweave.programs.generation.classifying import classified
from sightweave.programs.generation.draws import draws_of
from sightweave.programs.generation.likelihood import judged
from sightweave.programs.generation.media import MediaMemory, with_media
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.pictures import PictureDecoder, PictureSession, check_decoders
from sightweave.programs.generation.rooms import Room, rooms_of
from sightweave.programs.generation.rows import Written
from sightweave.programs.generation.session import Session, Trunks
from sightweave.programs.generation.stopping import Limits, before_stop
from sightweave.programs.generation.writing import written

_NOTHING = Prediction("", finish="none")


@torch.inference_mode()
def generate(
    model: VLM,
    processor: Processor,
    samples: Sequence[Sample],
    options: Options | None = None,
    texts: Sequence[Sequence[str]] = (),
    *,
    limits: Sequence[Limits] = (),
    progress: Callable[[int], None] | None = None,
    memory: MediaMemory | None = None,
) -> list[Prediction]:
    """Answers all samples, in order, and scores given texts as their answers; each prompt is read only once for both.

    Args:
        model: The model, which is in evaluation mode during the call.
        processor: The model's own processor.
        samples: Prompts; their targets are ignored.
        options: Length and decoding method.
        texts: For each sample, the texts to score; an empty sequence scores none.
        limits: Limits of each sample, instead of those in `options`; an empty sequence uses those for all samples.
        progress: Called with the number of new answers, possibly from another thread, but never from two at once.
        memory: Caches the embeddings of images for later calls with the same model; None caches nothing.

    Returns:
        One prediction per sample.

    Raises:
        DataError: there is not one list of texts, or not one limit, per sample.
        BackendError: a single prompt needs more memory than there is.
    """
    options = options or Options()
    _check_length("list(s) of texts", texts, samples)
    _check_length("limit(s)", limits, samples)
    limits = limits or [options.limits] * len(samples)

    was_training = model.training
    model.eval()
    try:
        # Samples for which nothing is generated or scored are not read.
        asked = [n for n in range(len(samples)) if limits[n].max_tokens or (texts and texts[n])]
        if progress is not None and len(asked) < len(samples):
            progress(len(samples) - len(asked))

        device = next(model.parameters()).device
        reader = Reader(model, processor, options, memory)
        decoder = reader.decoder()
        answering = _Answering(
            reader=reader,
            encoded={n: processor.encode(samples[n], with_target=False) for n in asked},
            texts=texts,
            limits=limits,
            width=decoder.width,
            draws=draws_of(decoder, options.seed, samples),
            budget=_budget(model, options, batches=torch.get_num_threads() if device.type == "cpu" else 1),
            progress=progress,
        )
        rooms = rooms_of(model, answering.encoded, options.batch_size, answering.budget)
        for _ in side_by_side(answering.room, rooms, device):
            pass
        return [answering.answers.get(n, _NOTHING) for n in range(len(samples))]
    finally:
        model.train(was_training)


def _check_length(what: str, given: Sequence[object], samples: Sequence[Sample]) -> None:
    """Rejects a list that is neither empty nor of the same length as the samples.

    Raises:
        DataError: the lengths differ.
    """
    if given and len(given) != len(samples):
        raise DataError(
            f"generate: {len(given)} {what} for {len(samples)} sample(s); give one for each, in order."
        )


def _budget(model: VLM, options: Options, *, batches: int) -> Budget:
    """The limits of a batch if `batches` of them are decoded at the same time."""
    device = next(model.parameters()).device
    return Budget(
        Shape.of(model.language_model),
        device,
        rows=options.batch_size,
        tokens=options.max_batch_tokens,
        batches=batches,
    )


@dataclass
class _Answering:
    """One call of `generate`: its prompts, and the answers so far.

    If memory runs out for a batch, the batch is halved.
    """

    reader: Reader
    encoded: Mapping[int, Encoded]
    """Encoded prompts, by the number of their sample."""
    texts: Sequence[Sequence[str]]
    limits: Sequence[Limits]
    """Limits of each sample."""
    width: int
    """Rows per prompt."""
    draws: Draws
    """Random numbers of the rows of all samples."""
    budget: Budget
    progress: Callable[[int], None] | None
    answers: dict[int, Prediction] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def room(self, room: Room) -> None:
        """Answers the prompts of a room; images that they share are read first."""
        prefix = None
        if room.shares:
            prompts = [self.encoded[n] for n in room.numbers]
            prefix = or_none(lambda: self.reader.prefix(prompts))
            if prefix is None:  # out of memory
                self.budget.halve()
                for half in room.halves(self.encoded):
                    self.room(half)
                return

        for alike in self._alike(room.order(self.encoded)):
            width = self.width * (2 if self.reader.is_guided else 1)
            for chunk in self.budget.batches(alike, lambda n: self._lengths(n, room.shares), width):
                self.chunk(chunk, prefix)

    def _alike(self, order: Sequence[int]) -> list[list[int]]:
        """Groups prompts that may be answered together, each group in the given order.

        Prompts with texts to score are read in a slower way than others, and beam search needs one maximum of tokens.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for number in order:
            is_judged = bool(self.texts and self.texts[number])
            most = self.limits[number].max_tokens
            kind = (not is_judged, most == 0, most if self.width > 1 else 0)
            groups.setdefault(kind, []).append(number)
        return [groups[kind] for kind in sorted(groups)]

    def _lengths(self, number: int, shares: bool) -> tuple[int, int]:
        """Number of tokens of a prompt with its answer, and how many of them are processed at once."""
        trunk, prompt = len(self.encoded[number].trunk), len(self.encoded[number].prompt)
        return trunk + prompt + self.limits[number].max_tokens, prompt if shares else trunk + prompt

    def chunk(self, numbers: list[int], prefix: Prefix | None) -> None:
        """Answers some prompts of a room together."""
        prompts = [self.encoded[n] for n in numbers]
        wanted = _Wanted(
            texts=[tuple(self.texts[n]) if self.texts else () for n in numbers],
            limits=[self.limits[n] for n in numbers],
            draws=self.draws.select(_rows_of(numbers, self.width)),
        )
        made = or_none(lambda: self.reader.answer(prompts, wanted, prefix, self.budget))
        if made is None:  # out of memory
            if not self.budget.halve() and len(numbers) == 1:
                raise _too_large(prompts[0], wanted.limits[0])
            for half in halves(numbers):
                self.chunk(half, prefix)
            return

        with self.lock:  # rooms may be answered concurrently
            self.answers.update(zip(numbers, made, strict=True))
            if self.progress is not None:
                self.progress(len(numbers))


@dataclass(frozen=True)
class _Wanted:
    """What to generate and to score for the prompts of one batch."""

    texts: Sequence[Sequence[str]]
    """Texts to score for each prompt."""
    limits: Sequence[Limits]
    """Limits of each prompt; either all of them allow tokens or none does."""
    draws: Draws
    """Random numbers of each row."""


def _rows_of(numbers: Sequence[int], width: int) -> Tensor:
    """Indices of the rows of some prompts, where each prompt has `width` rows."""
    return (torch.tensor(numbers, dtype=torch.int64)[:, None] * width + torch.arange(width)).flatten()


def _too_large(one: Encoded, limits: Limits) -> BackendError:
    length = len(one.trunk) + len(one.prompt)
    return BackendError(
        f"out of memory on sample {one.sample.id!r} alone ({length} tokens, max_tokens {limits.max_tokens}); "
        "free some memory, shorten the prompt, or lower max_tokens."
    )


@dataclass(frozen=True)
class Prefix:
    """Images that were read once, to be continued by all prompts that share them."""

    trunks: Trunks
    number: Mapping[TrunkKey, int]
    """Index of the trunk that holds a prompt's images."""

    def rows_of(self, encoded: Sequence[Encoded]) -> Tensor:
        """Index of the trunk that each row of a batch continues, int64."""
        return torch.tensor([self.number[one.trunk_key] for one in encoded])


@dataclass(frozen=True)
class Reader:
    """Reads encoded prompts into a session and generates predictions for them."""

    model: VLM
    processor: Processor
    options: Options
    memory: MediaMemory | None = None

    @property
    def draws_pictures(self) -> bool:
        """Whether the writer makes pictures, so that the answers may contain image tokens."""
        return self.options.draws_pictures

    @property
    def is_guided(self) -> bool:
        """Whether each prompt has a second row without the prompt, for guidance."""
        return self.draws_pictures and self.options.guidance != 1

    def decoder(self) -> Decoder:
        """The decoding method; for a writer of pictures, one whose random numbers are those of texts and codes.

        Raises:
            RecipeError: pictures are wanted, but the decoding method or the model cannot write any.
        """
        end_id = self.processor.tokenizer.end_id
        text: Decoder = self.options.decoding.build(end_id=end_id)
        if not self.draws_pictures:
            return text

        tokens = self.processor.layout.image_tokens
        if tokens is None:
            raise RecipeError(
                "generate: the writer makes pictures, but the model has no image tokens; train a model with "
                "model.image_tokenizer, or use the writer text."
            )
        if 0 < self.options.max_tokens < tokens.most:
            raise RecipeError(
                f"generate: max_tokens is {self.options.max_tokens}, but an image takes up to {tokens.most} tokens, so none "
                f"could be drawn; set max_tokens to {tokens.most} or more."
            )
        codes: Decoder = self.options.picture_decoding.build(end_id=end_id)
        check_decoders(text, codes)
        return text if getattr(text, "is_random", True) else codes

    def prefix(self, encoded: Sequence[Encoded]) -> Prefix:
        """Reads the images that precede the prompts; equal images are read only once."""
        firsts: dict[TrunkKey, Encoded] = {}
        for one in encoded:
            firsts.setdefault(one.trunk_key, one)

        prompts = self.processor.prompts(list(firsts.values()), section="trunk")
        batch = with_media(self.model, self.processor, prompts, self.memory)
        numbers = {key: row for row, key in enumerate(firsts)}
        return Prefix(Trunks.read(self.model, batch), numbers)

    def join(
        self,
        session: Session,
        encoded: Sequence[Encoded],
        prefix: Prefix | None = None,
        *,
        packed: bool = True,
    ) -> None:
        """Adds prompts to a session, one per row, with their images unless the images are in `prefix`."""
        prompts = self.processor.prompts(encoded, section="whole" if prefix is None else "rest")
        batch = with_media(self.model, self.processor, prompts, self.memory)
        if prefix is None:
            session.join(batch, packed=packed)
        else:
            session.join(batch, trunks=prefix.trunks, rows=prefix.rows_of(encoded), packed=packed)

    def answer(
        self, encoded: Sequence[Encoded], wanted: _Wanted, prefix: Prefix | None, budget: Budget
    ) -> list[Prediction]:
        """Generates and scores the predictions of one batch.

        Args:
            encoded: Prompts.
            wanted: What to generate and to score for these prompts.
            prefix: Images that have already been read; None if there are none.
            budget: Limits of what may be read at once.
        """
        texts, limits = wanted.texts, wanted.limits
        is_writing = limits[0].max_tokens > 0
        if self.model.language_model.form == "classify":
            batch = with_media(self.model, self.processor, self.processor.prompts(encoded), self.memory)
            found = classified(self.model, batch, self.processor.answers, texts, write=is_writing)
            return [_stopped(one, limit) for one, limit in zip(found, limits, strict=True)]

        # Read the prompts. Do not pack them if there are texts to score, because texts cannot continue packed prompts.
        tokenizer = self.processor.tokenizer
        decoder: Decoder = self.options.decoding.build(end_id=tokenizer.end_id)
        rows = [one for one in encoded for _ in range(decoder.width)]
        session = Session(self.model, with_images=self.draws_pictures and is_writing)
        self.join(session, rows, prefix, packed=not any(texts))

        # Score the texts first, because generating uses up the session.
        likelihoods = judged(self.processor, session, texts, decoder.width, budget)
        if not is_writing:
            return [replace(_NOTHING, likelihoods=each) for each in likelihoods]

        if self.draws_pictures:
            said = self._drawn(session, encoded, wanted, decoder)
        else:
            made = written(
                session, decoder, wanted.draws, limits, end_id=tokenizer.end_id, tokenizer=tokenizer
            )
            writer: Writer = self.options.writer.build(tokenizer=tokenizer)
            said = [
                _prediction(writer, text, limit, one.sample)
                for text, limit, one in zip(made, limits, encoded, strict=True)
            ]
        if not any(texts):
            return said
        return [replace(one, likelihoods=each) for one, each in zip(said, likelihoods, strict=True)]

    def _drawn(
        self, session: Session, encoded: Sequence[Encoded], wanted: _Wanted, text: Decoder
    ) -> list[Prediction]:
        """Generates texts and pictures for the prompts of a session."""
        tokens, tokenizer = self.processor.layout.image_tokens, self.processor.tokenizer
        assert tokens is not None  # ensured by `decoder`
        if any(limit.stop for limit in wanted.limits):
            raise DataError("generate: stop texts cannot end answers with pictures; remove stop.")

        if self.is_guided:
            bare = [self.processor.encode(one.sample.without_prompt(), with_target=False) for one in encoded]
            self.join(session, bare)
        drawing = PictureSession(
            session, tokens, [limit.max_tokens for limit in wanted.limits], guidance=self.options.guidance
        )
        codes: Decoder = self.options.picture_decoding.build(end_id=tokenizer.end_id)
        decoder = PictureDecoder(text, codes, drawing)
        made = written(drawing, decoder, wanted.draws, wanted.limits, end_id=tokenizer.end_id)

        image_tokenizer = self.model.image_tokenizer
        writer: Writer = self.options.writer.build(
            tokenizer=tokenizer, image_tokenizer=image_tokenizer, image_tokens=tokens
        )
        return [
            _completed(writer, writer.write(text.ids, text.total), one.sample)
            for text, one in zip(made, encoded, strict=True)
        ]


def _prediction(writer: Writer, text: Written, limits: Limits, sample: Sample) -> Prediction:
    """The writer's prediction for a generated text, which ends before the first stop text."""
    made = _stopped(writer.write(text.ids, text.total), limits)
    if limits.stop and text.has_ended:
        made = replace(made, finish="stop")
    return _completed(writer, made, sample)


def _completed(writer: Writer, prediction: Prediction, sample: Sample) -> Prediction:
    """The prediction with what depends on its prompt."""
    return writer.complete(prediction, sample) if isinstance(writer, Completing) else prediction


def _stopped(prediction: Prediction, limits: Limits) -> Prediction:
    """Cuts a prediction's text before its first stop text."""
    if not limits.stop or prediction.finish == "none":
        return prediction
    text = before_stop(prediction.text, limits.stop)
    return prediction if text == prediction.text else replace(prediction, text=text, finish="stop")
