"""Prompts to answers: each picture is encoded once, its questions share it, and rows that are done leave the batch.

``generate`` answers many samples, and says how likely given texts are as their answers; ``stream`` gives one answer piece by
piece.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.answers.writers import text
from sightweave.core.batch import Batch, TokenSequence
from sightweave.core.cache import Cache, Shared
from sightweave.core.config import config, one_of
from sightweave.core.device import side_by_side
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Likelihood, Medium, Prediction, Sample
from sightweave.data.inputs import media as media_loader
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import Prompts, pictures, text_tokens
from sightweave.data.inputs.template import Encoded, TrunkKey
from sightweave.data.inputs.tiles import Tile
from sightweave.data.inputs.tokenizer import StreamDecoder
from sightweave.models.nn.fast_decoding import FastDecoding
from sightweave.models.vlm import VLM
from sightweave.programs.budget import Budget, Shape, halves, or_none


@config
class Options:
    """Options for generating answers."""

    max_tokens: NonNegativeInt = 96
    """Maximum tokens per answer, including the end token; 0 generates nothing and only scores given texts."""
    decoding: Annotated[Any, one_of("answers.decoding")] = greedy.Config()
    """Decoding method: a kind in ``answers/decoding``, or its Config."""
    seed: int = 0
    """Random seed for sampling; with it a sample's answer depends on the sample alone, whatever it is batched with."""
    batch_size: PositiveInt = 256
    """Maximum samples in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum tokens in a batch, padding and answers included. None derives it from free memory. It changes no answer."""


class MediaMemory:
    """A cache of image embeddings, for callers that show the same images to the same model again.

    Entries are keyed by the `Medium` object and not by its key, which may name another image in another call. The oldest
    entries are dropped when the cache is full. Tiles are not cached: each call cuts them into new objects.

    Args:
        max_bytes: Size of all embeddings together.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.max_bytes = max_bytes
        self._held: dict[Medium, Tensor] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return MediaMemory, (self.max_bytes,)  # a copy starts empty

    def get(self, medium: Medium) -> Tensor | None:
        """Its embeddings Q D, or None where they are not cached."""
        return self._held.get(medium)

    def keep(self, media: Sequence[Medium], embeddings: Tensor) -> None:
        """Caches embeddings I Q D, those of one image after another."""
        with self._lock:
            for medium, made in zip(media, embeddings, strict=True):
                size = made.numel() * made.element_size()
                if isinstance(medium.source, Tile) or medium in self._held or size > self.max_bytes:
                    continue
                self._held[medium] = made.clone()
                self._bytes += size
                while self._bytes > self.max_bytes:
                    oldest = self._held.pop(next(iter(self._held)))
                    self._bytes -= oldest.numel() * oldest.element_size()


@torch.inference_mode()
def generate(
    model: VLM,
    processor: Processor,
    samples: Sequence[Sample],
    options: Options | None = None,
    texts: Sequence[Sequence[str]] = (),
    *,
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
        progress: Told the number of answers that are new, perhaps from another thread, but never from two at once.
        memory: Keeps the embeddings of images for later calls with the same model; None keeps none.

    Raises:
        DataError: not one list of texts per sample.
        BackendError: a single prompt needs more memory than there is.
    """
    options = options or Options()
    if texts and len(texts) != len(samples):
        raise DataError(
            f"generate: {len(texts)} list(s) of texts for {len(samples)} sample(s); give one for each, in order."
        )
    was_training = model.training
    model.eval()
    try:
        # Where nothing is written and nothing judged, nothing is read.
        asked = [n for n in range(len(samples)) if options.max_tokens or (texts and texts[n])]
        encoded = {n: processor.encode(samples[n], with_target=False) for n in asked}
        decoder: Decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
        draws = _draws(decoder, options.seed, samples)
        answers = [_NOTHING] * len(samples)
        device = next(model.parameters()).device
        lock = threading.Lock()

        budget = _budget(model, options, batches=torch.get_num_threads() if device.type == "cpu" else 1)

        def lengths(n: int, shares: bool) -> tuple[int, int]:
            trunk, prompt = len(encoded[n].trunk), len(encoded[n].prompt)
            return trunk + prompt + options.max_tokens, prompt if shares else trunk + prompt

        def answer_room(room: _Room) -> None:
            prefix = None
            if room.shares:
                those = [encoded[n] for n in room.numbers]
                prefix = or_none(lambda: _read_prefix(model, processor, those, device, memory))
                if prefix is None:  # there was no memory for it
                    budget.halve()
                    for half in room.halves(encoded):
                        answer_room(half)
                    return
            order = room.order(encoded)
            # Texts are judged by the whole model, so prompts that have none are not read and answered that slower way.
            judged = [n for n in order if texts and texts[n]]
            others = [n for n in order if not (texts and texts[n])]
            for some in (judged, others):
                for chunk in budget.batches(some, lambda n: lengths(n, room.shares), decoder.width):
                    answer_chunk(chunk, prefix)

        def answer_chunk(chunk: list[int], prefix: _Prefix | None) -> None:
            judged = [tuple(texts[n]) if texts else () for n in chunk]
            mine = draws.at(0, _rows_of(chunk, decoder.width))
            those = [encoded[n] for n in chunk]
            made = or_none(
                lambda: _answer(model, processor, those, options, mine, judged, prefix, memory, budget)
            )
            if made is None:
                if not budget.halve() and len(chunk) == 1:
                    raise _too_large(those[0], options)
                for half in halves(chunk):
                    answer_chunk(half, prefix)
                return
            with lock:  # rooms may be answered side by side
                for index, prediction in zip(chunk, made, strict=True):
                    answers[index] = prediction
                if progress is not None:
                    progress(len(chunk))

        if progress is not None and len(asked) < len(samples):
            progress(len(samples) - len(asked))
        rooms = _rooms(model, encoded, options.batch_size, budget)
        for _ in side_by_side(answer_room, rooms, device):
            pass
        return answers
    finally:
        model.train(was_training)


def _budget(model: VLM, options: Options, *, batches: int = 1) -> Budget:
    """What a batch may hold; `batches` of them are worked on at the same time."""
    device = next(model.parameters()).device
    return Budget(
        Shape.of(model.language_model),
        device,
        rows=options.batch_size,
        tokens=options.max_batch_tokens,
        batches=batches,
    )


def _too_large(one: Encoded, options: Options) -> BackendError:
    length = len(one.trunk) + len(one.prompt)
    return BackendError(
        f"out of memory on sample {one.sample.id!r} alone ({length} tokens, max_tokens {options.max_tokens}); "
        "free some memory, shorten the prompt, or lower max_tokens."
    )


def stream(model: VLM, processor: Processor, sample: Sample, options: Options | None = None) -> Iterator[str]:
    """One answer in pieces of whole characters; joined they are what `generate` gives."""
    options = options or Options()
    was_training = model.training
    model.eval()
    try:
        encoded = [processor.encode(sample, with_target=False)]
        if model.language_model.form == "classify":
            yield _classify(model, processor, encoded)[0].text
            return
        decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
        draws = _draws(decoder, options.seed, [sample])
        if decoder.width > 1:  # a beam is known only at its end
            yield _answer(model, processor, encoded, options, draws)[0].text
            return
        state = _start(model, processor, encoded, decoder.width)
        fast = _fast(model)
        pieces = StreamDecoder(processor.tokenizer)
        is_done = torch.zeros(1, dtype=torch.bool, device=state.logits.device)
        for step in range(options.max_tokens):
            token = int(decoder.choose(state.logits, is_done, draws.at(step)).ids)
            if token == processor.tokenizer.end_id:
                break
            if piece := pieces.push(token):
                yield piece
            state = _step(model, state, torch.tensor([token], device=state.logits.device), fast)
        if rest := pieces.close():
            yield rest
    finally:
        model.train(was_training)


@torch.inference_mode()
def write(model: VLM, batch: Batch, options: Options, *, end_id: int) -> list[list[int]]:
    """Ids of an answer behind each row of a batch of prompts, with the end where it came to one.

    Args:
        model: In evaluation mode; it writes texts.
        batch: Whole prompts, padded on the right.
        options: Length and method.
        end_id: What ends an answer.
    """
    assert batch.target is not None  # prompts are tokens
    decoder: Decoder = options.decoding.build(end_id=end_id)
    draws = Draws.of(options.seed, _names(batch), width=decoder.width)
    count, length = batch.target.ids.shape
    state = _read(model, batch, Cache(count, capacity=length + options.max_tokens))
    rows = torch.arange(count, device=state.logits.device).repeat_interleave(decoder.width)
    state = _State(state.logits[rows], state.cache.select(rows), state.positions[rows])
    ids, totals, lengths = _decode(model, state, decoder, draws, end_id, options.max_tokens)
    return [ids[row, : int(lengths[row])].tolist() for row in decoder.best(totals, lengths).tolist()]


def distinct(samples: Iterable[Sample], seen: Counter[str] | None = None) -> Iterator[Sample]:
    """The samples, with a number added to ids that came before.

    `generate` tells equal samples of one call apart, so that each is answered by draws of its own. A caller that spreads
    samples over several calls uses this to have them told apart across the calls.

    Args:
        samples: In the order of the calls.
        seen: How often each id came in earlier samples; it is updated.
    """
    seen = Counter() if seen is None else seen
    for sample in samples:
        seen[sample.id] += 1
        number = seen[sample.id]
        yield sample if number == 1 else replace(sample, id=f"{sample.id}#{number}")


def _draws(decoder: Decoder, seed: int, samples: Sequence[Sample]) -> Draws:
    """A stream of random numbers for each row that answers these prompts."""
    if not getattr(decoder, "is_random", True):  # nothing is drawn, so nothing is read for a name
        return Draws(np.zeros(len(samples) * decoder.width, dtype=np.uint64))
    contents: dict[Medium, str] = {}
    return Draws.of(seed, [_name(sample, contents) for sample in samples], width=decoder.width)


def _name(sample: Sample, contents: dict[Medium, str]) -> list[str]:
    """What identifies a prompt: its id, its texts and the contents of its pictures, but not its answer.

    Not the names of the pictures: the same file is drawn for alike from any folder. `contents` holds those known already.
    """
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    name = [sample.id]
    for part in parts:
        if not isinstance(part.content, Medium):
            name += [part.role, part.content]
            continue
        if part.content not in contents:
            contents[part.content] = media_loader.digest(part.content)
        name += ["medium", contents[part.content]]
    return name


def _names(batch: Batch) -> list[list[str]]:
    """The same for rows of a batch: their tokens and pixels."""
    read = batch.source or batch.target
    assert read is not None
    names = [[str(ids[valid].tolist())] for ids, valid in zip(read.ids, read.valid, strict=True)]
    for media in batch.media.values():
        for row, values in zip(media.row.tolist(), media.pixels, strict=True):
            pixels = values.detach().float().cpu().contiguous().numpy()
            names[row].append(hashlib.sha256(pixels.tobytes()).hexdigest())
    return names


def _rows_of(numbers: Sequence[int], width: int) -> Tensor:
    """Rows of prompts, where each prompt has `width` rows."""
    return (torch.tensor(numbers, dtype=torch.int64)[:, None] * width + torch.arange(width)).flatten()


_BATCHES = 4
"""Batches of a room: enough for prompts of a batch to be about as long as one another."""


@dataclass(frozen=True)
class _Room:
    """Prompts whose pictures are read together, before one batch of them after another is answered."""

    numbers: list[int]
    """Of samples; those with the same pictures are neighbours."""
    shares: bool
    """Whether the pictures stand in front of the prompts and are read on their own, once for all of them."""

    def order(self, encoded: Mapping[int, Encoded]) -> list[int]:
        """The numbers; where their pictures were read before, those of prompts of about the same length are neighbours."""
        if not self.shares:
            return self.numbers
        # Python's sort is stable: prompts on one picture stay neighbours.
        return sorted(self.numbers, key=lambda n: len(encoded[n].prompt))

    def halves(self, encoded: Mapping[int, Encoded]) -> list[_Room]:
        """Two rooms of half of the pictures each; where there is one picture, a room that does not read it beforehand."""
        keys = list(dict.fromkeys(encoded[n].trunk_key for n in self.numbers))
        if len(keys) == 1:
            return [_Room(self.numbers, shares=False)]
        first = set(keys[: len(keys) // 2])
        one = [n for n in self.numbers if encoded[n].trunk_key in first]
        other = [n for n in self.numbers if encoded[n].trunk_key not in first]
        return [_Room(one, shares=True), _Room(other, shares=True)]


def _rooms(model: VLM, encoded: Mapping[int, Encoded], batch_size: int, budget: Budget) -> list[_Room]:
    """All prompts in rooms; a room has at most `batch_size` pictures that fit into memory, each of which is encoded once."""
    groups: dict[TrunkKey, list[int]] = {}
    for number, one in encoded.items():
        groups.setdefault(one.trunk_key, []).append(number)
    can_share = model.layout.form == "causal" and model.layout.in_sequence
    rooms: list[_Room] = []
    for shares in (True, False):
        chosen = [
            groups[key]
            for key in sorted(groups)
            if shares == (can_share and _shareable([encoded[n] for n in groups[key]]))
        ]
        longest = max((len(encoded[n].trunk) for group in chosen for n in group[:1]), default=0)
        most = min(batch_size, budget.rows(longest, longest)) if shares and chosen else batch_size
        rooms += _packed(chosen, shares, batch_size, most)
    return rooms


def _packed(
    groups: Sequence[Sequence[int]], shares: bool, batch_size: int, most_pictures: int
) -> list[_Room]:
    """Groups one after another into rooms; a large group is cut."""
    if not shares:
        every = [number for group in groups for number in group]
        return [_Room(every[i : i + batch_size], False) for i in range(0, len(every), batch_size)]
    rooms: list[_Room] = []
    numbers: list[int] = []
    pictures = 0
    for group in groups:
        rest = list(group)
        while rest:
            space = _BATCHES * batch_size - len(numbers)
            numbers, rest, pictures = numbers + rest[:space], rest[space:], pictures + 1
            if pictures == most_pictures or len(numbers) == _BATCHES * batch_size:
                rooms.append(_Room(numbers, pictures < len(numbers)))
                numbers, pictures = [], 0
    return [*rooms, _Room(numbers, pictures < len(numbers))] if numbers else rooms


@torch.inference_mode()
def _answer(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    options: Options,
    draws: Draws,
    texts: Sequence[Sequence[str]] = (),
    prefix: _Prefix | None = None,
    memory: MediaMemory | None = None,
    budget: Budget | None = None,
) -> list[Prediction]:
    if model.language_model.form == "classify":
        return _classify(model, processor, encoded, texts, write=options.max_tokens > 0, memory=memory)
    writer = text.Config().build(tokenizer=processor.tokenizer)
    decoder: Decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
    state = _start(model, processor, encoded, decoder.width, prefix, memory, is_judged=any(texts))
    budget = budget or _budget(model, options)
    judged = _judge(model, processor, state, texts, decoder.width, budget)
    if not options.max_tokens:
        return [replace(_NOTHING, likelihoods=each) for each in judged]
    end_id = processor.tokenizer.end_id
    ids, totals, lengths = _decode(model, state, decoder, draws, end_id, options.max_tokens)
    best = decoder.best(totals, lengths).tolist()
    said = [writer.write(ids[row][: int(lengths[row])].tolist(), float(totals[row])) for row in best]
    return [replace(one, likelihoods=each) if each else one for one, each in zip(said, judged, strict=True)]


_NOTHING = Prediction("", finish="none")
_ROOM = 16
"""Tokens that a cache makes room for behind prompts; most answers are shorter, and room that stays empty costs time."""
_LOGITS = 1 << 26
"""Logits that are held at once while texts are judged: 256 MB in fp32."""


@torch.inference_mode()
def _judge(
    model: VLM,
    processor: Processor,
    state: _State,
    texts: Sequence[Sequence[str]],
    width: int,
    budget: Budget,
) -> list[tuple[Likelihood, ...]]:
    """How likely each prompt's texts are, fed behind the prompts that were just read; `state` stays as it is.

    The first token's probability is known already; of the others each is predicted by the one before it.
    """
    count = len(state.logits) // width
    if not any(texts):
        return [()] * count
    tokenizer = processor.tokenizer
    rows = [number * width for number, each in enumerate(texts) for _ in each]
    targets = [tokenizer.answer_ids(one) for each in texts for one in each]
    totals = [0.0] * len(targets)
    order = sorted(range(len(targets)), key=lambda i: len(targets[i]))
    while order:
        longest = len(targets[order[0]])
        # Each text continues a copy of its prompt's keys and values.
        fit = budget.rows(state.cache.longest + longest, longest)
        fit = max(1, min(fit, _LOGITS // (state.logits.shape[-1] * longest)))
        chunk, order = order[:fit], order[fit:]
        for index, value in zip(chunk, _totals(model, processor, state, rows, targets, chunk), strict=True):
            totals[index] = value
    found = iter([Likelihood(total, len(ids)) for total, ids in zip(totals, targets, strict=True)])
    return [tuple(next(found) for _ in each) for each in texts]


def _totals(
    model: VLM,
    processor: Processor,
    state: _State,
    rows: Sequence[int],
    targets: Sequence[Sequence[int]],
    chunk: Sequence[int],
) -> list[float]:
    """Summed log-probabilities of some texts, each behind its row of the state."""
    device = state.logits.device
    chosen = torch.tensor([rows[i] for i in chunk], device=device)
    first = torch.tensor([targets[i][0] for i in chunk], device=device)
    sums = state.logits[chosen].float().log_softmax(-1).gather(1, first[:, None])[:, 0].double()
    fed = [list(targets[i][:-1]) for i in chunk]
    if any(fed):
        going = torch.tensor([n for n, ids in enumerate(fed) if ids], device=device)
        starts = state.positions[chosen[going]].tolist()
        tokens = processor.continuations([ids for ids in fed if ids], starts).to(device)
        after = [id_ for n in going.tolist() for id_ in targets[chunk[n]][1:]]
        at = tokens.valid.flatten().nonzero()[:, 0]
        logits = model(Batch(target=tokens), cache=state.cache.select(chosen[going]), at=at).logits
        each = logits.float().log_softmax(-1).gather(1, torch.tensor(after, device=device)[:, None])[:, 0]
        row = going[at // tokens.ids.shape[1]]
        sums.index_add_(0, row, each.double())
    return [float(value) for value in sums]


@dataclass
class _State:
    """Where a batch of texts stands."""

    logits: Tensor
    """B V: of the token to choose next."""
    cache: Cache
    positions: Tensor
    """int64 B: position of that token."""


def _decode(
    model: VLM, state: _State, decoder: Decoder, draws: Draws, end_id: int, max_tokens: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids B T, summed log-probabilities B and lengths B of all rows."""
    rows, device = len(state.logits), state.logits.device
    ids = torch.full((rows, max_tokens), end_id, dtype=torch.int64, device=device)
    totals = torch.zeros(rows, device=device)
    lengths = torch.zeros(rows, dtype=torch.int64, device=device)
    is_done = torch.zeros(rows, dtype=torch.bool, device=device)
    alive = torch.arange(rows, device=device)  # rows of ids that the state still works on
    some_done = False
    fast = _fast(model)
    for step in range(max_tokens):
        choice = decoder.choose(state.logits, is_done[alive] if some_done else is_done, draws.at(step))
        if choice.rows is not None:  # beams: texts move between rows
            ids, totals, lengths, is_done = (x[choice.rows] for x in (ids, totals, lengths, is_done))
            state = replace(
                state, cache=state.cache.select(choice.rows), positions=state.positions[choice.rows]
            )
        ended = choice.ids == end_id
        if not some_done and not bool(ended.any()):  # all go on: the usual step, kept short
            ids[:, step] = choice.ids
            totals += choice.logprobs
            lengths += 1
            if step + 1 == max_tokens:
                break
            state = _step(model, state, choice.ids, fast)
            continue
        some_done = True
        fresh = ~is_done[alive]
        ids[alive, step] = torch.where(fresh, choice.ids, end_id)
        totals[alive] += torch.where(fresh, choice.logprobs, 0.0)
        lengths[alive] += fresh
        is_done[alive] |= ended
        if step + 1 == max_tokens or bool(is_done.all()):
            break
        chosen = choice.ids
        if choice.rows is None:
            going = ~is_done[alive]
            # Moving rows of the cache costs about what a step of as many does.
            if int(going.sum()) <= _ENOUGH * len(alive):
                kept = _closed_up(going)
                alive, chosen = alive[kept], chosen[kept]
                state.cache.keep(kept)
                state = replace(state, positions=state.positions[kept])
                draws = draws.at(step, kept)
        state = _step(model, state, chosen, fast)
    return ids, totals, lengths


_ENOUGH = 0.85
"""Rows that are done leave the batch when no more than this share of it goes on."""


def _closed_up(going: Tensor) -> Tensor:
    """Numbers of the rows that go on: each in its place, and the last ones in the gaps of those that are done."""
    count = int(going.sum())
    kept = torch.arange(count, device=going.device)
    kept[~going[:count]] = going[count:].nonzero()[:, 0] + count
    return kept


@torch.inference_mode()
def _fast(model: VLM) -> FastDecoding | None:
    """The shorter way for single tokens, where the language model has one and no fusion acts between its blocks."""
    return None if "layer" in model.fusion.places else model.language_model.fast_decoding()


@torch.inference_mode()
def _step(model: VLM, state: _State, ids: Tensor, fast: FastDecoding | None = None) -> _State:
    """Feeds one token to each row."""
    if fast is not None and model.fusion.in_sequence:  # nothing is left to fuse
        hidden = model.language_model.embed(ids[:, None])
        return _State(fast(hidden[:, 0], state.positions, state.cache), state.cache, state.positions + 1)
    tokens = text_tokens(ids[:, None], state.positions[:, None], plain=True)
    if fast is not None:
        hidden = model.fusion.input(model.language_model.embed(tokens.ids), tokens, None, state.cache)
        logits = fast(hidden[:, 0], state.positions, state.cache)
    else:
        at = torch.arange(len(ids), device=ids.device)
        logits = model(Batch(target=tokens), cache=state.cache, at=at).logits
    return _State(logits, state.cache, state.positions + 1)


@torch.inference_mode()
def _start(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    width: int,
    prefix: _Prefix | None = None,
    memory: MediaMemory | None = None,
    *,
    is_judged: bool = False,
) -> _State:
    """Reads prompts, and their pictures where no `prefix` was read before; `width` rows for each prompt.

    Texts to judge are read by the whole model, which needs a cache of the plain kind.
    """
    device = next(model.parameters()).device
    rows = [one for one in encoded for _ in range(width)]
    prompts = processor.prompts(rows, section="rest" if prefix else "whole").to(device)
    if prompts.media or model.layout.form != "causal":
        batch = _with_media(model, processor, prompts, memory)
        assert batch.target is not None
        return _read(model, batch, Cache(len(rows), capacity=batch.target.ids.shape[1] + _ROOM))

    # Text alone, behind a prefix or behind nothing.
    tokens = prompts.tokens
    if prefix is None:
        state = None if is_judged else _read_fast(model, tokens, None)
        return state or _read(
            model, Batch(target=tokens), Cache(len(rows), capacity=len(tokens.ids[0]) + _ROOM)
        )
    group = prefix.rows_of(encoded, width)
    if not is_judged and prefix.shared is not None:
        state = _read_fast(model, tokens, prefix.shared.select(group))
        if state is not None:
            return state
    return _read(model, Batch(target=tokens), prefix.cache.select(group.to(device)))


def _read_fast(model: VLM, tokens: TokenSequence, shared: Shared | None) -> _State | None:
    """Prompts read the shorter way, where there is one: without padding, and without copies of what rows share."""
    fast = _fast(model)
    if fast is None or not tokens.plain or not model.fusion.in_sequence or not fast.fits(tokens.ids, shared):
        return None
    cache = Cache(len(tokens.ids), capacity=tokens.ids.shape[1] + _ROOM)
    cache.shared = shared
    row, slot = tokens.valid.nonzero(as_tuple=True)
    hidden = model.language_model.embed(tokens.ids[tokens.valid][None])[0]
    positions = tokens.positions[tokens.valid]
    logits = fast.read(hidden, positions, row, slot, cache)
    last = tokens.valid.sum(1).cumsum(0) - 1
    return _State(logits, cache, positions[last] + 1)


@dataclass(frozen=True)
class _Prefix:
    """Pictures that were read once, for all of their prompts to continue."""

    cache: Cache
    number: Mapping[TrunkKey, int]
    """Row of the cache for each text's pictures."""
    shared: Shared | None
    """The same for fast decoding; None where the rows differ in length, or on another device than the CPU."""

    def rows_of(self, encoded: Sequence[Encoded], width: int) -> Tensor:
        """int64: the row that each row of a batch continues."""
        rows = [self.number[one.trunk_key] for one in encoded for _ in range(width)]
        return torch.tensor(rows)


@torch.inference_mode()
def _read_prefix(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    device: torch.device,
    memory: MediaMemory | None,
) -> _Prefix:
    """Reads the pictures in front of prompts."""
    trunks: dict[TrunkKey, Encoded] = {}
    for one in encoded:
        trunks.setdefault(one.trunk_key, one)
    firsts = list(trunks.values())
    prompts = processor.prompts(firsts, section="trunk").to(device)
    batch = _with_media(model, processor, prompts, memory)
    assert batch.target is not None
    cache = Cache(len(firsts), capacity=batch.target.ids.shape[1])
    model(batch, cache=cache, at=torch.zeros(0, dtype=torch.int64, device=device))
    shared = None
    if cache.uniform and _fast(model) is not None:
        shared = Shared.of(cache, torch.arange(len(firsts)))
    return _Prefix(cache, {key: index for index, key in enumerate(trunks)}, shared)


def _shareable(encoded: Sequence[Encoded]) -> bool:
    return all(one.trunk_media and not one.branch_media for one in encoded)


def _with_media(model: VLM, processor: Processor, prompts: Prompts, memory: MediaMemory | None) -> Batch:
    """Prompts with the embeddings of their pictures, each picture encoded once however many rows show it."""
    if not prompts.media:
        return prompts.batch()
    device = prompts.tokens.ids.device
    return prompts.batch(_embedded(model, processor, prompts.media, device, memory))


def _embedded(
    model: VLM,
    processor: Processor,
    media: Sequence[Medium],
    device: torch.device,
    memory: MediaMemory | None,
) -> Tensor:
    """I Q D: embeddings of pictures, those that the memory does not hold encoded now, some at a time."""
    known = [None if memory is None else memory.get(medium) for medium in media]
    new = [medium for medium, held in zip(media, known, strict=True) if held is None]
    made: Iterator[Tensor] = iter(())
    if new:
        pixels = processor.pixels(new)
        per_picture = pixels[0].numel()
        some = torch.split(pixels, max(1, _PIXELS // per_picture))
        parts = [_encoded(model, part.to(device)) for part in some]
        embeddings = parts[0] if len(parts) == 1 else torch.cat(parts)
        if memory is not None:
            memory.keep(new, embeddings)
        if len(new) == len(media):
            return embeddings
        made = iter(embeddings)
    return torch.stack([next(made) if held is None else held for held in known])


_PIXELS = 1 << 23
"""Pixel values that are encoded at once, 32 MB in fp32; an encoder's activations are some dozen times as large."""


def _encoded(model: VLM, pixels: Tensor) -> Tensor:
    """I Q D: embeddings of pictures (I C H W)."""
    found = model(Batch(target=None, media=pictures(pixels))).media
    return found.embeddings.reshape(len(pixels), -1, found.embeddings.shape[-1])  # type: ignore[no-any-return]  # nn.Module calls are untyped


def _read(model: VLM, batch: Batch, cache: Cache) -> _State:
    """Feeds whole prompts and stands at the last token of each."""
    assert batch.target is not None
    valid = batch.target.valid
    lengths = valid.sum(1)
    rows = torch.arange(len(valid), device=valid.device)
    at = rows * valid.shape[1] + lengths - 1
    logits = model(batch, cache=cache, at=at).logits
    last = batch.target.positions[rows, lengths - 1]
    return _State(logits, cache, last + 1)


@torch.inference_mode()
def _classify(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    texts: Sequence[Sequence[str]] = (),
    *,
    write: bool = True,
    memory: MediaMemory | None = None,
) -> list[Prediction]:
    """The likeliest answer of the list; its log-probability is that of the answer among all.

    A text that is not in the list has no probability.
    """
    device = next(model.parameters()).device
    batch = _with_media(model, processor, processor.prompts(encoded).to(device), memory)
    assert batch.target is not None
    width = batch.target.ids.shape[1]
    at = torch.arange(len(encoded), device=device) * width + batch.target.valid.sum(1) - 1
    logprobs = model(batch, at=at).logits.float().log_softmax(-1)
    best, index = logprobs.max(-1)
    places = {answer: number for number, answer in enumerate(processor.answers)}

    def likelihood(row: int, text: str) -> Likelihood:
        return Likelihood(float(logprobs[row, places[text]]) if text in places else -math.inf, 1)

    judged = [tuple(likelihood(row, one) for one in each) for row, each in enumerate(texts)] or [()] * len(
        encoded
    )
    said = [
        Prediction(text=processor.answers[int(i)], logprob=float(p), tokens=1) if write else _NOTHING
        for i, p in zip(index, best, strict=True)
    ]
    return [replace(one, likelihoods=each) for one, each in zip(said, judged, strict=True)]
