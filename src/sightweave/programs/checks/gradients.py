"""Gradients reach every trained part in every stage, and an update changes no other part."""

from __future__ import annotations

import copy

import torch

from sightweave.models.loss import training_loss
from sightweave.models.parts import choose_parts, named_parts
from sightweave.programs.checks._base import Finding, Subject
from sightweave.programs.training.settings import Stage

NEEDED = "a gradient in every trained part, and no change in the others"


def check(subject: Subject) -> Finding:
    """Trains one step of each stage on a copy of the model."""
    told, faults = [], []
    for stage in subject.stages:
        reached, silent, moved = _step(subject, stage)
        told.append(f"{stage.name}: {reached} tensors")
        faults += [f"stage {stage.name}: no gradient reaches {part}" for part in silent]
        faults += [f"stage {stage.name}: {name} is frozen but changes" for name in moved[:3]]

    if not subject.stages:
        return Finding(state="skip", measured="nothing is trained")
    state = "fail" if faults else "pass"
    return Finding(state=state, measured="; ".join(faults or told), needed=NEEDED)  # type: ignore[arg-type]  # one of two


def _step(subject: Subject, stage: Stage) -> tuple[int, list[str], list[str]]:
    """Number of tensors with a gradient, parts without any, and names of frozen weights that an update changed."""
    model = copy.deepcopy(subject.model)
    choose_parts(model, stage.parts, stage.lora)
    batch = subject.stage_batch(stage)
    loss = training_loss(model(batch), batch, region_weight=stage.word_weight, edge_weight=stage.edge_weight)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    # Find the parts that no gradient reaches.
    reached = {id(p) for p in model.parameters() if p.grad is not None and bool(p.grad.any())}
    silent: list[str] = []
    for part in stage.parts:
        own = [p for p in named_parts(model)[part].parameters() if p.requires_grad]
        if own and not any(id(p) in reached for p in own):
            silent.append(part)

    # Find weights that change although they are frozen, or train although their part does not.
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = stage.optimizer.build(model)
    optimizer.step()
    now = dict(model.named_parameters())
    moved = [name for name, before in frozen.items() if not torch.equal(before, now[name])]
    inside: set[int] = set()
    for part in stage.parts:
        inside |= {id(p) for p in named_parts(model)[part].parameters()}
    moved += [name for name, p in now.items() if p.requires_grad and id(p) not in inside]
    return len(reached), silent, moved
