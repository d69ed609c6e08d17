"""A medium of any size has as many tokens as the connector makes embeddings of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from sightweave.core.types import Medium
from sightweave.data.inputs.media._base import Loader
from sightweave.data.inputs.media.image import noise
from sightweave.programs.checks._base import Finding, Subject, ask

_SIZES = 200
_RUN = 16
"""Number of media, out of those whose tokens are counted, that also go through the encoder."""
NEEDED = "equal numbers, and the k-th embedding at the k-th token"


def check(subject: Subject) -> Finding:
    """Counts the tokens of prompts with media of random sizes, and the embeddings of some of these media."""
    processor = subject.processor
    answer = processor.answers[0] if processor.answers else "yes"
    wrong: list[str] = []
    measured = []
    for modality, loader in processor.loaders.items():
        counts: set[int] = set()
        for number, (size, medium) in enumerate(_media(modality, loader)):
            if number >= _RUN and not processor.layout.in_sequence:
                break
            sample = ask("size", medium, "what ?", answer=answer)
            encoded = processor.encode(sample)
            marks = sum(item >= 0 for item in encoded.trunk.item + encoded.prompt.item)
            counts.add(marks)

            if number < _RUN:
                batch = subject.batch([sample])
                with torch.inference_mode():
                    media = subject.model.encoders.embed(batch.media)
                assert media is not None  # the sample has a medium
                expected = len(media.embeddings)
                if processor.layout.in_sequence and marks != expected:
                    wrong.append(f"{size}: {marks} tokens, {expected} embeddings")
            elif (each := processor.num_tokens(medium)) and marks % each:
                wrong.append(f"{size}: {marks} tokens, {each} per {modality}")

        shown = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(min(counts))
        named = "" if modality == "image" else f" of {modality}"
        measured.append(f"{_SIZES} sizes{named}, {shown} tokens each")

    if not wrong and processor.layout.in_sequence:
        wrong += _misplaced(subject, answer)
    if wrong:
        return Finding(state="fail", measured="; ".join(wrong[:3]), needed=NEEDED)
    return Finding(state="pass", measured="; ".join(measured), needed=NEEDED)


def _media(modality: str, loader: Loader) -> Iterator[tuple[str, Medium]]:
    """Yields media of random sizes, with descriptions of these sizes."""
    rng = random.Random(0)
    for number in range(_SIZES):
        if modality == "image":
            width, height = rng.randrange(1, 400), rng.randrange(1, 400)
            yield f"{width} x {height}", noise(number, width, height)
        else:
            medium = loader.example(number)
            yield " x ".join(map(str, loader.size(medium))), medium


def _misplaced(subject: Subject, answer: str) -> list[str]:
    """Finds out whether the fusion puts embeddings exactly at the media tokens, in order; returns the faults."""
    loaders = list(subject.processor.loaders.values())
    shown: list[str | Medium] = [loaders[0].example(1), "what ?"]
    shown += [loader.example(2) for loader in loaders]
    batch = subject.batch([ask("place", *shown, answer=answer)])
    tokens = batch.source or batch.target
    assert tokens is not None  # prompts always have tokens

    model = subject.model
    with torch.inference_mode():
        media = model.encoders.embed(batch.media)
        words = model.language_model.embed(tokens.ids)
        joined = model.fusion.input(words, tokens, media, None)
    assert media is not None  # the prompt shows media
    marks = (tokens.ids == subject.processor.tokenizer.image_id).flatten().nonzero()[:, 0]
    changed = (joined != words).any(-1).flatten().nonzero()[:, 0]

    if not torch.equal(marks, changed):
        return [f"image tokens at {marks.tolist()[:6]} ..., embeddings at {changed.tolist()[:6]} ..."]
    if not torch.equal(joined.flatten(0, 1)[marks], media.embeddings):
        return ["embeddings are in a different order than the image tokens"]
    return []
