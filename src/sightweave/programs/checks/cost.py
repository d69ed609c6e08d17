"""A forecast of memory and time for one step of each stage; this check never fails."""

from __future__ import annotations

import copy
import itertools
import time

from sightweave.models.adapters import quantization
from sightweave.models.loss import training_loss
from sightweave.models.parts import choose_parts, named_parts
from sightweave.programs.checks._base import Finding, Subject

_ADAM = 2
"""Number of values that AdamW stores for each weight."""


def check(subject: Subject) -> Finding:
    """Times a small step here and counts bytes; the time of a step is assumed proportional to its number of images."""
    told = []
    for stage in subject.stages:
        model = copy.deepcopy(subject.model)
        for part, form in subject.quantized.items():
            quantization.quantize(named_parts(model)[part], form, where=part)
        choose_parts(model, stage.parts, stage.lora)
        weights = sum(v.nbytes for v in itertools.chain(model.parameters(), model.buffers()))
        training = sum(p.nbytes for p in model.parameters() if p.requires_grad)
        batch = subject.stage_batch(stage)
        for _ in range(2):  # the first step also warms up
            began = time.perf_counter()
            loss = training_loss(model(batch), batch, region_weight=stage.word_weight)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            seconds = time.perf_counter() - began
        shown = sum(len(media.row) for media in batch.media.values())
        seconds *= stage.batch_size * stage.gradient_accumulation_steps / shown
        state = weights + training * (1 + _ADAM)
        told.append(
            f"{stage.name}: about {seconds:.2g} s per step, {state / 2**20:.0f} MiB for weights and optimizer"
        )
    return Finding(state="pass" if told else "skip", measured="; ".join(told) or "no stage")
