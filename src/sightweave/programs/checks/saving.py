"""A model that is saved and loaded gives exactly the same outputs."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch

from sightweave.core import checkpoint
from sightweave.data.inputs.processor import Processor
from sightweave.programs.checks._base import Finding, Subject, samples

NEEDED = "identical bits, identical ids"


def check(subject: Subject) -> Finding:
    """Writes a checkpoint, loads it over other weights, and compares logits and ids."""
    asked = samples(subject.processor)
    batch = subject.batch(asked)
    before = subject.logits(batch)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkpoint"
        checkpoint.write_folder(place, {"model": subject.model.state_dict()}, subject.processor.documents())
        size = sum(file.stat().st_size for file in place.iterdir())
        other = copy.deepcopy(subject.model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1.0)
        checkpoint.load_into(other, place)
        processor = Processor.load(place, allowed=None)
    with torch.inference_mode():
        after = other(batch).logits
    same_ids = all(
        processor.encode(one).prompt.ids == subject.processor.encode(one).prompt.ids for one in asked
    )
    same_bits = torch.equal(before, after.float())
    return Finding(
        state="pass" if same_bits and same_ids else "fail",
        measured=f"{size / 2**20:.1f} MiB, {'equal' if same_bits else 'other'} bits, {'equal' if same_ids else 'other'} ids",
        needed=NEEDED,
    )
