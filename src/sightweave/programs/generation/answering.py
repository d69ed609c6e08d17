"""Many samples -> predictions: in rooms that share pictures, in batches that fit into memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.answers.writers._base import Writer
from sightweave.core.device import side_by_side
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded, TrunkKey
from sightweave.models.vlm import VLM
from sightweave.programs.budget import Budget, Shape, halves, or_none
from sightweave.programs.generation.classifying import classified
from sightweave.programs.generation.draws import draws_of
from sightweave.programs.generation.likelihood import judged
from sightweave.programs.generation.options import Options
from sightweave.programs.generation.pictures import MediaMemory, with_pictures
from sightweave.programs.generation.rooms import Room, rooms_of
from sightweave.programs.generation.session import Session, Trunks
from sightweave.programs.generation.stopping import Limits, before_stop
from sightweave.programs.generation.writing import Written, written

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
    """Answers all samples, in their order, and judges texts as their answers: pictures and prompts are read once for both.

    Args:
        model: In evaluation mode is best; it is put there and back.
        processor: The model's own.
        samples: Prompts; their targets are not looked at.
        options: Length and method.
        texts: For each sample those whose likelihood is wanted; empty means none for any.
        limits: Of each sample, in the place of those in `options`; empty means those for all.
        progress: Told the number of answers that are new, perhaps from another thread, but never from two at once.
        memory: Keeps the embeddings of images for later calls with the same model; None keeps none.

    Raises:
        DataError: not one list of texts or not one limit per sample.
        BackendError: a single prompt needs more memory than there is.
    """
    options = options or Options()
    if texts and len(texts) != len(samples):
        raise DataError(
            f"generate: {len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each, in order."
        )
    if limits and len(limits) != len(samples):
        raise DataError(
            f"generate: {len(limits)} limit(s) for {len(samples)} sample(s); give one for each, in order."
        )
    limits = limits or [options.limits] * len(samples)
    was_training = model.training
    model.eval()
    try:
        # Where nothing is written and nothing judged, nothing is read.
        asked = [n for n in range(len(samples)) if limits[n].max_tokens or (texts and texts[n])]
        if progress is not None and len(asked) < len(samples):
            progress(len(samples) - len(asked))

        device = next(model.parameters()).device
        decoder: Decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
        answering = _Answering(
            reader=Reader(model, processor, options, memory),
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


def _budget(model: VLM, options: Options, *, batches: int) -> Budget:
    """What a batch may hold; `batches` of them are worked on at the same time."""
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
    """One call of `generate`: what is asked, and what was answered so far. Where memory runs out, halves follow."""

    reader: Reader
    encoded: Mapping[int, Encoded]
    """The prompts, by the number of their sample."""
    texts: Sequence[Sequence[str]]
    limits: Sequence[Limits]
    """Of each sample."""
    width: int
    """Rows of a prompt."""
    draws: Draws
    budget: Budget
    progress: Callable[[int], None] | None
    answers: dict[int, Prediction] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def room(self, room: Room) -> None:
        """Answers the prompts of a room, whose pictures are read first where they share them."""
        prefix = None
        if room.shares:
            those = [self.encoded[n] for n in room.numbers]
            prefix = or_none(lambda: self.reader.prefix(those))
            if prefix is None:  # there was no memory for it
                self.budget.halve()
                for half in room.halves(self.encoded):
                    self.room(half)
                return

        for alike in self._alike(room.order(self.encoded)):
            for chunk in self.budget.batches(alike, lambda n: self._lengths(n, room.shares), self.width):
                self.chunk(chunk, prefix)

    def _alike(self, order: Sequence[int]) -> list[list[int]]:
        """Prompts that may be answered together, in their order.

        Texts are judged by the whole model, so prompts that have none are not read and answered that slower way. Beam search
        needs prompts with one maximum of tokens.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for number in order:
            is_judged = bool(self.texts and self.texts[number])
            most = self.limits[number].max_tokens
            kind = (not is_judged, most == 0, most if self.width > 1 else 0)
            groups.setdefault(kind, []).append(number)
        return [groups[kind] for kind in sorted(groups)]

    def _lengths(self, number: int, shares: bool) -> tuple[int, int]:
        """Tokens of a prompt with its answer, and those of them that are read at once."""
        trunk, prompt = len(self.encoded[number].trunk), len(self.encoded[number].prompt)
        return trunk + prompt + self.limits[number].max_tokens, prompt if shares else trunk + prompt

    def chunk(self, numbers: list[int], prefix: Prefix | None) -> None:
        """Answers some prompts of a room together."""
        texts = [tuple(self.texts[n]) if self.texts else () for n in numbers]
        those = [self.encoded[n] for n in numbers]
        limits = [self.limits[n] for n in numbers]
        draws = self.draws.select(_rows_of(numbers, self.width))
        made = or_none(lambda: self.reader.answer(those, draws, texts, limits, prefix, self.budget))
        if made is None:
            if not self.budget.halve() and len(numbers) == 1:
                raise _too_large(those[0], limits[0])
            for half in halves(numbers):
                self.chunk(half, prefix)
            return

        with self.lock:  # rooms may be answered side by side
            self.answers.update(zip(numbers, made, strict=True))
            if self.progress is not None:
                self.progress(len(numbers))


def _rows_of(numbers: Sequence[int], width: int) -> Tensor:
    """Rows of prompts, where each prompt has `width` rows."""
    return (torch.tensor(numbers, dtype=torch.int64)[:, None] * width + torch.arange(width)).flatten()


def _too_large(one: Encoded, limits: Limits) -> BackendError:
    length = len(one.trunk) + len(one.prompt)
    return BackendError(
        f"out of memory on sample {one.sample.id!r} alone ({length} tokens, max_tokens {limits.max_tokens}); "
        "free some memory, shorten the prompt, or lower max_tokens."
    )


@dataclass(frozen=True)
class Prefix:
    """Pictures that were read once, for all of their prompts to continue."""

    trunks: Trunks
    number: Mapping[TrunkKey, int]
    """Which trunk holds each text's pictures."""

    def rows_of(self, encoded: Sequence[Encoded]) -> Tensor:
        """int64: the trunk that each row of a batch continues."""
        return torch.tensor([self.number[one.trunk_key] for one in encoded])


@dataclass(frozen=True)
class Reader:
    """Encoded prompts -> a session that has read them -> predictions."""

    model: VLM
    processor: Processor
    options: Options
    memory: MediaMemory | None = None

    def prefix(self, encoded: Sequence[Encoded]) -> Prefix:
        """Reads the pictures in front of prompts, those with the same key once."""
        firsts: dict[TrunkKey, Encoded] = {}
        for one in encoded:
            firsts.setdefault(one.trunk_key, one)
        prompts = self.processor.prompts(list(firsts.values()), section="trunk")
        batch = with_pictures(self.model, self.processor, prompts, self.memory)
        return Prefix(Trunks.read(self.model, batch), {key: row for row, key in enumerate(firsts)})

    def join(
        self,
        session: Session,
        encoded: Sequence[Encoded],
        prefix: Prefix | None = None,
        *,
        packed: bool = True,
    ) -> None:
        """Has a session read one prompt a row, and its pictures where no prefix holds them."""
        prompts = self.processor.prompts(encoded, section="whole" if prefix is None else "rest")
        batch = with_pictures(self.model, self.processor, prompts, self.memory)
        if prefix is None:
            session.join(batch, packed=packed)
        else:
            session.join(batch, trunks=prefix.trunks, rows=prefix.rows_of(encoded), packed=packed)

    def answer(
        self,
        encoded: Sequence[Encoded],
        draws: Draws,
        texts: Sequence[Sequence[str]],
        limits: Sequence[Limits],
        prefix: Prefix | None,
        budget: Budget,
    ) -> list[Prediction]:
        """Predictions of one batch.

        Args:
            encoded: Prompts.
            draws: Random numbers of each row.
            texts: Those to judge, of each prompt.
            limits: Of each prompt; either all of them allow tokens or none does.
            prefix: Pictures that were read before.
            budget: What may be read at once.
        """
        end_id, writes = self.processor.tokenizer.end_id, limits[0].max_tokens > 0
        if self.model.language_model.form == "classify":
            batch = with_pictures(self.model, self.processor, self.processor.prompts(encoded), self.memory)
            found = classified(self.model, batch, self.processor.answers, texts, write=writes)
            return [_stopped(one, each) for one, each in zip(found, limits, strict=True)]

        # What is judged is read behind the prompts, and cannot be behind packed ones.
        decoder: Decoder = self.options.decoding.build(end_id=end_id)
        rows = [one for one in encoded for _ in range(decoder.width)]
        session = Session(self.model)
        self.join(session, rows, prefix, packed=not any(texts))
        likelihoods = judged(self.processor, session, texts, decoder.width, budget)
        if not writes:
            return [replace(_NOTHING, likelihoods=each) for each in likelihoods]

        tokenizer = self.processor.tokenizer
        made = written(session, decoder, draws, limits, end_id=end_id, tokenizer=tokenizer)
        writer: Writer = self.options.writer.build(tokenizer=tokenizer)
        said = [_prediction(writer, one, each) for one, each in zip(made, limits, strict=True)]
        if not any(texts):
            return said
        return [replace(one, likelihoods=each) for one, each in zip(said, likelihoods, strict=True)]


def _prediction(writer: Writer, text: Written, limits: Limits) -> Prediction:
    """What the writer makes of a text, up to the first stop text."""
    made = _stopped(writer.write(text.ids, text.total), limits)
    return replace(made, finish="stop") if limits.stop and text.has_ended else made


def _stopped(prediction: Prediction, limits: Limits) -> Prediction:
    """A prediction whose text ends in front of the first stop text."""
    if not limits.stop or prediction.finish == "none":
        return prediction
    text = before_stop(prediction.text, limits.stop)
    return prediction if text == prediction.text else replace(prediction, text=text, finish="stop")
