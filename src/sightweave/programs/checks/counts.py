"""As many tokens stand for a picture as the connector makes embeddings, whatever the picture's size."""

from __future__ import annotations

import random

import torch

from sightweave.programs.checks._base import Finding, Subject, ask, picture

_SIZES = 200
_RUN = 16
"""Pictures that go through the encoder, out of those whose tokens are counted."""
NEEDED = "equal numbers, and the k-th embedding at the k-th token"


def check(subject: Subject) -> Finding:
    """Counts tokens of prompts with pictures of random sizes, and embeddings of some of them."""
    rng = random.Random(0)
    processor, model = subject.processor, subject.model
    answer = processor.answers[0] if processor.answers else "yes"
    wrong: list[str] = []
    counts: set[int] = set()
    for number in range(_SIZES):
        width, height = rng.randrange(1, 400), rng.randrange(1, 400)
        sample = ask("size", picture(number, width, height), "what ?", answer=answer)
        if number >= _RUN and not processor.layout.in_sequence:
            break
        encoded = processor.encode(sample)
        marks = sum(item >= 0 for item in encoded.trunk.item + encoded.prompt.item)
        if number < _RUN:
            batch = subject.batch([sample])
            with torch.inference_mode():
                made = model.encoders["image"](batch.media["image"])
            expected = len(made.embeddings)
            if processor.layout.in_sequence and marks != expected:
                wrong.append(f"{width} x {height}: {marks} tokens, {expected} embeddings")
        elif marks % max(1, processor.layout.tokens_per_image):
            wrong.append(f"{width} x {height}: {marks} tokens, {processor.layout.tokens_per_image} per image")
        counts.add(marks)
    if not wrong and processor.layout.in_sequence:
        wrong += _misplaced(subject, answer)
    if wrong:
        return Finding(state="fail", measured="; ".join(wrong[:3]), needed=NEEDED)
    shown = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(min(counts))
    return Finding(state="pass", measured=f"{_SIZES} sizes, {shown} tokens each", needed=NEEDED)


def _misplaced(subject: Subject, answer: str) -> list[str]:
    """Whether what the fusion puts into the text stands exactly on the image tokens, in order."""
    batch = subject.batch([ask("place", picture(1), "what ?", picture(2), answer=answer)])
    tokens = batch.source or batch.target
    assert tokens is not None  # a prompt has tokens
    model = subject.model
    with torch.inference_mode():
        media = model.encoders["image"](batch.media["image"])
        words = model.language_model.embed(tokens.ids)
        joined = model.fusion.input(words, tokens, media, None)
    marks = (tokens.ids == subject.processor.tokenizer.image_id).flatten().nonzero()[:, 0]
    changed = (joined != words).any(-1).flatten().nonzero()[:, 0]
    if not torch.equal(marks, changed):
        return [f"image tokens at {marks.tolist()[:6]} ..., embeddings at {changed.tolist()[:6]} ..."]
    if not torch.equal(joined.flatten(0, 1)[marks], media.embeddings):
        return ["embeddings are in a different order than the image tokens"]
    return []
