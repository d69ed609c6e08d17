"""Prompts to answers: each picture is encoded once, its questions share it, and rows that are done leave the batch.

``generate`` answers many samples, and says how likely given texts are as their answers; ``stream`` gives one answer piece by
piece.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from sightweave.answers.decoding import greedy
from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.answers.writers import text
from sightweave.core.batch import Batch, Media, MediaEmbeddings, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config, one_of
from sightweave.core.device import side_by_side
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Medium, Prediction, Sample
from sightweave.data.inputs.collate import stretch_rows, token_sequence
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded, Stretch
from sightweave.data.inputs.tokenizer import StreamDecoder
from sightweave.models.nn.fast_decoding import FastDecoding
from sightweave.models.vlm import VLM


@config
class Options:
    """How long to write, and how to choose."""

    max_tokens: NonNegativeInt = 96
    """Tokens of an answer at most, the end token included; 0 writes nothing and only judges."""
    decoding: Annotated[Any, one_of("answers.decoding")] = greedy.Config()
    """A kind in ``answers/decoding``, or its Config."""
    seed: int = 0
    """Random seed for sampling; with it a sample's answer depends on the sample alone, whatever it is batched with."""
    batch_size: PositiveInt = 256
    """Samples at once."""


@torch.inference_mode()
def generate(
    model: VLM,
    processor: Processor,
    samples: Sequence[Sample],
    options: Options | None = None,
    texts: Sequence[Sequence[str]] = (),
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Answers all samples, in their order, and judges texts as their answers: pictures and prompts are read once for both.

    Args:
        model: In evaluation mode is best; it is put there and back.
        processor: The model's own.
        samples: Prompts; their targets are not looked at.
        options: Length and method.
        texts: For each sample those whose likelihood is wanted; empty means none for any.
        progress: Told the number of answers that are new.

    Raises:
        DataError: not one list of texts per sample.
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
        encoded = {n: processor.encode(samples[n]) for n in asked}
        # Samples of a picture stay together, so that it is encoded once.
        order = sorted(asked, key=lambda n: _trunk_key(encoded[n]))
        decoder: Decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
        draws = Draws.of(options.seed, map(_name, samples), width=decoder.width)
        answers = [_NOTHING] * len(samples)
        chunks = [order[i : i + options.batch_size] for i in range(0, len(order), options.batch_size)]
        device = next(model.parameters()).device

        def answer(chunk: list[int]) -> list[Prediction]:
            judged = [tuple(texts[n]) if texts else () for n in chunk]
            mine = draws.at(0, _rows_of(chunk, decoder.width))
            return _answer(model, processor, [encoded[n] for n in chunk], options, mine, judged)

        if progress is not None and len(asked) < len(samples):
            progress(len(samples) - len(asked))
        for chosen, made in zip(chunks, side_by_side(answer, chunks, device), strict=True):
            for index, prediction in zip(chosen, made, strict=True):
                answers[index] = prediction
            if progress is not None:
                progress(len(chosen))
        return answers
    finally:
        model.train(was_training)


def stream(model: VLM, processor: Processor, sample: Sample, options: Options | None = None) -> Iterator[str]:
    """One answer in pieces of whole characters; joined they are what `generate` gives."""
    options = options or Options()
    was_training = model.training
    model.eval()
    try:
        encoded = [processor.encode(sample)]
        if model.language_model.form == "classify":
            yield _classify(model, processor, encoded)[0].text
            return
        decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
        draws = Draws.of(options.seed, [_name(sample)], width=decoder.width)
        if decoder.width > 1:  # a beam is known only at its end
            yield _answer(model, processor, encoded, options, draws)[0].text
            return
        state = _start(model, processor, encoded, decoder.width, options.max_tokens)
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


def _name(sample: Sample) -> list[str]:
    """What identifies a prompt: its id, its texts and the names of its pictures, but not its answer."""
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()
    name = [sample.id]
    for part in parts:
        name += (
            ["medium", part.content.key] if isinstance(part.content, Medium) else [part.role, part.content]
        )
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


def _trunk_key(encoded: Encoded) -> tuple[str, ...]:
    return tuple(medium.key for medium in encoded.trunk_media)


@torch.inference_mode()
def _answer(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    options: Options,
    draws: Draws,
    texts: Sequence[Sequence[str]] = (),
) -> list[Prediction]:
    if model.language_model.form == "classify":
        return _classify(model, processor, encoded, texts, write=options.max_tokens > 0)
    writer = text.Config().build(tokenizer=processor.tokenizer)
    decoder: Decoder = options.decoding.build(end_id=processor.tokenizer.end_id)
    state = _start(model, processor, encoded, decoder.width, options.max_tokens)
    judged = _judge(model, processor, state, texts, decoder.width, options.batch_size)
    if not options.max_tokens:
        return [replace(_NOTHING, likelihoods=each) for each in judged]
    end_id = processor.tokenizer.end_id
    ids, totals, lengths = _decode(model, state, decoder, draws, end_id, options.max_tokens)
    best = decoder.best(totals, lengths).tolist()
    said = [writer.write(ids[row][: int(lengths[row])].tolist(), float(totals[row])) for row in best]
    return [replace(one, likelihoods=each) for one, each in zip(said, judged, strict=True)]


_NOTHING = Prediction("", finish="none")
_LOGITS = 1 << 26
"""Logits that are held at once while texts are judged: 256 MB in fp32."""


@torch.inference_mode()
def _judge(
    model: VLM,
    processor: Processor,
    state: _State,
    texts: Sequence[Sequence[str]],
    width: int,
    batch_size: int,
) -> list[tuple[Likelihood, ...]]:
    """How likely each prompt's texts are, fed behind the prompts that were just read; `state` stays as it is.

    The first token's probability is known already; of the others each is predicted by the one before it.
    """
    count = len(state.logits) // width
    if not any(texts):
        return [()] * count
    tokenizer = processor.tokenizer
    rows = [number * width for number, each in enumerate(texts) for _ in each]
    targets = [[*tokenizer.encode(one), tokenizer.end_id] for each in texts for one in each]
    totals = [0.0] * len(targets)
    order = sorted(range(len(targets)), key=lambda i: len(targets[i]))
    while order:
        longest = len(targets[order[0]])
        fit = max(1, min(batch_size, _LOGITS // (state.logits.shape[-1] * longest)))
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
        stretches = [Stretch(ids, [-1] * len(ids), [1] * len(ids), [False] * len(ids)) for ids in fed if ids]
        going = torch.tensor([n for n, ids in enumerate(fed) if ids], device=device)
        starts = state.positions[chosen[going]].tolist()
        made = stretch_rows(stretches, starts, [()] * len(stretches))
        tokens = token_sequence(made, processor.tokenizer.pad_id).to(device)
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
            going = (~is_done[alive]).nonzero().squeeze(1)
            # Worth the copy of the cache only where many rows are done.
            if len(going) <= 0.75 * len(alive):
                alive, chosen = alive[going], chosen[going]
                state = replace(state, cache=state.cache.select(going), positions=state.positions[going])
                draws = draws.at(step, going)
        state = _step(model, state, chosen, fast)
    return ids, totals, lengths


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
    zeros = torch.zeros_like(ids)[:, None]
    tokens = TokenSequence(
        ids=ids[:, None],
        labels=zeros,
        positions=state.positions[:, None],
        item=zeros - 1,
        ar=zeros + 1,
        segment=zeros,
        branch=zeros,
        valid=zeros == 0,
        plain=True,
    )
    if fast is not None:
        hidden = model.fusion.input(model.language_model.embed(tokens.ids), tokens, None, state.cache)
        logits = fast(hidden[:, 0], state.positions, state.cache)
    else:
        at = torch.arange(len(ids), device=ids.device)
        logits = model(Batch(target=tokens), cache=state.cache, at=at).logits
    return _State(logits, state.cache, state.positions + 1)


@torch.inference_mode()
def _start(
    model: VLM, processor: Processor, encoded: Sequence[Encoded], width: int, max_tokens: int
) -> _State:
    """Reads pictures and prompts; `width` rows for each prompt."""
    device = next(model.parameters()).device
    layout = processor.layout
    encoded = [one for one in encoded for _ in range(width)]
    trunks = {_trunk_key(one): one for one in encoded}
    is_causal = layout.form == "causal"
    if is_causal and layout.in_sequence and len(trunks) < len(encoded) and _shareable(encoded):
        return _start_shared(model, processor, encoded, max_tokens, device)
    batch = _prompt_batch(model, processor, encoded, device)
    assert batch.target is not None
    cache = Cache(len(batch.target.ids), capacity=batch.target.ids.shape[1] + max_tokens)
    return _read(model, batch, cache)


def _start_shared(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    max_tokens: int,
    device: torch.device,
) -> _State:
    """Each picture's marks are read once; every one of its prompts continues from there."""
    trunks: dict[tuple[str, ...], Encoded] = {}
    for one in encoded:
        trunks.setdefault(_trunk_key(one), one)
    number = {key: index for index, key in enumerate(trunks)}
    firsts = list(trunks.values())
    prefix = _rows_batch(model, processor, firsts, [one.trunk for one in firsts], device)
    assert prefix.target is not None
    longest = prefix.target.ids.shape[1] + max(len(one.prompt) for one in encoded) + max_tokens
    cache = Cache(len(firsts), capacity=longest)
    model(prefix, cache=cache, at=torch.zeros(0, dtype=torch.int64, device=device))
    cache = cache.select(torch.tensor([number[_trunk_key(one)] for one in encoded], device=device))
    starts = [one.trunk.span for one in encoded]
    prompts = stretch_rows([one.prompt for one in encoded], starts, [()] * len(encoded))
    tokens = token_sequence(prompts, processor.tokenizer.pad_id).to(device)
    return _read(model, Batch(target=tokens), cache)


def _shareable(encoded: Sequence[Encoded]) -> bool:
    return all(one.trunk_media and not one.branch_media for one in encoded)


def _prompt_batch(
    model: VLM, processor: Processor, encoded: Sequence[Encoded], device: torch.device
) -> Batch:
    """Whole prompts, one a row, ending with the token that asks the model to speak."""
    batch = _rows_batch(
        model, processor, encoded, [_joined(one.trunk, one.prompt) for one in encoded], device
    )
    if processor.layout.form != "encoder_decoder":
        return batch
    asked = Stretch([processor.tokenizer.begin_id], [-1], [1], [False])
    rows = stretch_rows([asked] * len(encoded), [0] * len(encoded), [()] * len(encoded))
    target = token_sequence(rows, processor.tokenizer.pad_id).to(device)
    return replace(batch, source=batch.target, target=target)


def _joined(first: Stretch, second: Stretch) -> Stretch:
    return Stretch(
        first.ids + second.ids,
        first.item + second.item,
        first.ar + second.ar,
        first.learn + second.learn,
        first.step + second.step,
    )


def _rows_batch(
    model: VLM,
    processor: Processor,
    encoded: Sequence[Encoded],
    stretches: Sequence[Stretch],
    device: torch.device,
) -> Batch:
    """One stretch a row with its pictures, each picture encoded once however many rows show it."""
    unique: dict[str, int] = {}
    media: list[Medium] = []
    shown: list[int] = []
    row: list[int] = []
    items: list[list[int]] = []
    for index, one in enumerate(encoded):
        numbers = []
        for medium in one.trunk_media + one.branch_media:
            if medium.key not in unique:
                unique[medium.key] = len(media)
                media.append(medium)
            numbers.append(len(shown))
            shown.append(unique[medium.key])
            row.append(index)
        items.append(numbers)
    tokens = token_sequence(
        stretch_rows(stretches, [0] * len(stretches), items), processor.tokenizer.pad_id
    ).to(device)
    if not media:
        return Batch(target=tokens)
    zeros = torch.zeros(len(media), dtype=torch.int64, device=device)
    pixels = processor.pixels(media).to(device)
    if shown == list(range(len(media))):
        where = torch.tensor(row, device=device)
        return Batch(target=tokens, media={"image": Media(pixels, where, zeros, zeros)})
    once = model(Batch(target=None, media={"image": Media(pixels, zeros, zeros, zeros)})).media
    return Batch(target=tokens, embeddings=_spread(once, shown, row, len(media)))


def _spread(media: MediaEmbeddings, shown: Sequence[int], row: Sequence[int], count: int) -> MediaEmbeddings:
    """Embeddings of `count` pictures, laid out again for each row that shows one."""
    device = media.embeddings.device
    per_medium = media.embeddings.reshape(count, -1, media.embeddings.shape[-1])[
        torch.tensor(shown, device=device)
    ]
    each = per_medium.shape[1]
    item = torch.arange(len(shown), device=device).repeat_interleave(each)
    rows = torch.tensor(row, device=device).repeat_interleave(each)
    zeros = torch.zeros_like(item)
    return MediaEmbeddings(per_medium.flatten(0, 1), item=item, row=rows, segment=zeros, branch=zeros)


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
) -> list[Prediction]:
    """The likeliest answer of the list; its log-probability is that of the answer among all.

    A text that is not in the list has no probability.
    """
    device = next(model.parameters()).device
    batch = _prompt_batch(model, processor, encoded, device)
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
