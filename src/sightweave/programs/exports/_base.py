"""What every export gives back: how its answers compare with ours, in the program that it was made for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sightweave.core.batch import TokenSequence
from sightweave.core.errors import ExportError
from sightweave.core.types import Part, Prediction, Sample
from sightweave.data.inputs.collate import IGNORE
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM

ANSWER_TOKENS = 32
"""Of the answers that are compared, at most."""
TOLERANCE = 1e-3
"""Largest difference of two logits in fp32 that other kernels may make, as a share of the largest logit; a wrong part
makes one a thousand times that."""
_TINY = 1e-12
"""What a share is taken of where every logit is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One sample in both programs."""

    id: str
    largest: float
    """Largest difference between two logits, over all places of text."""
    ours: str
    """Our greedy answer."""
    theirs: str
    lead: float
    """Along their answer, the largest lead of our best token over the one that they took: 0 where it is greedy for us,
    infinite where it broke off."""
    scale: float = 1.0
    """Our largest logit, without its sign: a difference is judged as a share of it."""

    @property
    def share(self) -> float:
        """The largest difference as a share of the largest logit."""
        return self.largest / max(self.scale, _TINY)

    @property
    def lead_share(self) -> float:
        """The largest lead as a share of the largest logit."""
        return self.lead / max(self.scale, _TINY)


@torch.inference_mode()
def compared(
    model: VLM,
    processor: Processor,
    sample: Sample,
    *,
    largest: float,
    ours: Prediction,
    said: Sequence[int],
    theirs: Tensor | None = None,
) -> Compared:
    """One sample in both programs.

    Args:
        model: In fp32 on the CPU.
        processor: The model's own.
        sample: With its prompt.
        largest: Largest difference between two logits that was found elsewhere.
        ours: Our greedy answer.
        said: Ids of theirs, one at least and `ANSWER_TOKENS` at most, its end included where it came to one.
        theirs: Their logits T V when they wrote each of these ids, where they are known.
    """
    prompt, batch = processor.encode(sample), processor.batch([sample])
    assert batch.target is not None  # a batch of samples has targets
    count = len(prompt.trunk) + len(prompt.prompt)
    ids = torch.tensor([list(said)])
    batch.target = extended(first(batch.target, count), ids)
    logits = model(batch, at=torch.arange(count - 1, count - 1 + len(said))).logits
    leads = logits.max(-1).values - logits.gather(-1, ids.T)[:, 0]
    differences = [torch.tensor(largest)]
    if theirs is not None:
        differences.append((logits - theirs.float()).abs().max())

    broke_off = len(said) < ANSWER_TOKENS and said[-1] != processor.tokenizer.end_id
    return Compared(
        id=sample.id,
        largest=float(torch.stack(differences).max()),  # torch hands on what is no number
        ours=ours.text,
        # Both answers become text here: decoders differ over bytes that make no character.
        theirs=processor.tokenizer.decode(list(said)),
        lead=math.inf if broke_off else float(leads.max()),
        scale=float(logits.abs().max()),
    )


def up_to_end(ids: Sequence[int], end: int) -> list[int]:
    """The ids of an answer without the padding behind its end."""
    found = list(ids)
    return found[: found.index(end) + 1] if end in found else found


def with_longer(processor: Processor, samples: Sequence[Sample]) -> list[Sample]:
    """The samples, and behind them one whose prompt is longer than that of any, so that the others are padded."""
    lengths: dict[int, Sample] = {}
    for sample in samples:
        encoded = processor.encode(sample)
        lengths[len(encoded.trunk) + len(encoded.prompt)] = sample
    return [*samples, longer(lengths[max(lengths)])] if lengths else []


def longer(sample: Sample) -> Sample:
    """The sample with a longer prompt: what its user says last is said twice.

    Beside it in a batch, the prompt of every sample that is no longer than the given one is padded.
    """
    at = len(sample.parts)
    while at and sample.parts[at - 1].role == "assistant":
        at -= 1
    said = [part for part in sample.parts[:at] if part.role == "user" and isinstance(part.content, str)]
    more = said[-1] if said else Part("user", "what ?")
    parts = (*sample.parts[:at], more, *sample.parts[at:])
    return dataclasses.replace(sample, id=f"{sample.id} and longer", parts=parts)


def first(tokens: TokenSequence, count: int) -> TokenSequence:
    """The first tokens of every row."""
    names = [one.name for one in dataclasses.fields(tokens) if one.name != "plain"]
    return dataclasses.replace(tokens, **{name: getattr(tokens, name)[:, :count] for name in names})


def extended(tokens: TokenSequence, ids: Tensor) -> TokenSequence:
    """Rows without padding, and text after them (int64 B S) that goes on where they end."""

    def more(values: Tensor, added: Tensor | int) -> Tensor:
        return torch.cat((values, torch.zeros_like(ids, dtype=values.dtype) + added), 1)

    return dataclasses.replace(
        tokens,
        ids=more(tokens.ids, ids),
        labels=more(tokens.labels, IGNORE),
        positions=more(tokens.positions, tokens.positions[:, -1:] + 1 + torch.arange(ids.shape[1])),
        item=more(tokens.item, -1),
        ar=more(tokens.ar, 1),
        segment=more(tokens.segment, tokens.segment[:, -1:]),
        branch=more(tokens.branch, tokens.branch[:, -1:]),
        valid=torch.cat((tokens.valid, torch.ones_like(ids, dtype=torch.bool)), 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and what its own program says of it."""

    folder: Path
    layout: str
    program: str
    """The program that opened it, with its version; empty where none could."""
    compared: tuple[Compared, ...] = ()
    """Each sample by itself."""
    batched: tuple[Compared, ...] = ()
    """The same samples in batches of prompts of unequal lengths; empty where the program reads one prompt at a time."""
    note: str = ""
    """Why nothing was compared, and how to."""

    @property
    def _all(self) -> tuple[Compared, ...]:
        return self.compared + self.batched

    @property
    def largest(self) -> float | None:
        """Largest difference between two logits of all samples; None where none was compared."""
        return max((one.largest for one in self._all), default=None)

    @property
    def largest_share(self) -> float | None:
        """Largest difference between two logits as a share of the largest logit; None where none was compared."""
        return max((one.share for one in self._all), default=None)

    @property
    def equal_answers(self) -> int:
        """Samples with the same greedy answer, in a batch too."""
        other = {one.id for one in self._all if one.ours != one.theirs}
        return sum(one.id not in other for one in self.compared)

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder),
            "layout": self.layout,
            "program": self.program,
            "samples": len(self.compared),
            "batched_samples": len(self.batched),
            "largest_difference": self.largest,
            "largest_share": self.largest_share,
            "equal_answers": self.equal_answers,
            "note": self.note,
        }

    def to_text(self) -> str:
        """One or two lines for a terminal."""
        what = f"{self.folder}: {self.layout}"
        if not self.compared:
            return f"{what}; {self.note}"
        count, equal = len(self.compared), self.equal_answers
        ways = ", alone and in batches of unequal prompts" if self.batched else ""
        told = (
            f"{what}, loaded in {self.program}\n{count} samples{ways}: the largest logit difference is "
            f"{self.largest:.2g} ({self.largest_share:.2g} of the largest logit), {equal} of {count} greedy answers are "
            "equal"
        )
        if equal == count:
            return told
        lead = max(one.lead for one in self._all)
        return f"{told}; the others diverge where our two best tokens are within {lead:.2g} of each other"

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Fails where the other program does not say what we say.

        Where our two best tokens are nearer to each other than rounding, either is a greedy answer.

        Args:
            tolerance: Largest difference of two logits that rounding explains, as a share of the largest logit.

        Raises:
            ExportError: logits that differ by more than rounding, or another answer; the worst sample is named.
        """
        ways = {"": self.compared, " in a batch of unequal prompts": self.batched}
        for way, found in ways.items():
            if found:
                self._check(found, way, tolerance)

    def _check(self, found: Sequence[Compared], way: str, tolerance: float) -> None:
        worst = max(found, key=lambda one: math.inf if math.isnan(one.share) else one.share)
        if not worst.share <= tolerance:  # not a number fails too
            raise ExportError(
                f"{self.folder}: in {self.program} the logits of sample {worst.id!r}{way} differ by {worst.largest:.3g} "
                f"(rounding gives up to {tolerance * worst.scale:.2g}, {tolerance:g} of the largest). The folder was kept "
                "for inspection; do not use it."
            )
        if other := [one for one in found if not one.lead_share <= tolerance]:
            worst = max(other, key=lambda one: one.lead)
            raise ExportError(
                f"{self.folder}: {self.program} answers sample {worst.id!r}{way} with {worst.theirs!r}, but "
                "Sightweave answers "
                f"{worst.ours!r}, whose logit leads by {worst.lead:.3g} (rounding gives up to "
                f"{tolerance * worst.scale:.2g}, {tolerance:g} of the largest); {len(other)} of {len(found)} differ so. "
                "The folder was kept for inspection; do not use it."
            )
