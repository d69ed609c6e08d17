"""The result of an export: how the answers of the target program compare with Sightweave's own."""

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
"""Maximum number of tokens of the answers that are compared."""
TOLERANCE = 1e-3
"""Largest difference of two fp32 logits that other kernels may cause, as a share of the largest logit; a wrong part
causes a difference a thousand times larger."""
_TINY = 1e-12
"""Smallest denominator of a share, for the case that every logit is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The comparison of one sample in both programs."""

    id: str
    largest: float
    """Largest difference between two logits, over all text positions."""
    ours: str
    """Greedy answer of Sightweave."""
    theirs: str
    """Greedy answer of the other program."""
    lead: float
    """Largest lead of our best token over their token, in logits along their answer: 0 if their answer is greedy for
    us, infinite if it was cut short."""
    scale: float = 1.0
    """Magnitude of our largest logit; differences are compared as a share of it."""

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
    """Compares one sample in both programs.

    Args:
        model: The model in fp32 on the CPU.
        processor: The model's own processor.
        sample: The sample with its prompt.
        largest: Largest difference between two logits that the caller has found.
        ours: Our greedy answer.
        said: Ids of their answer, at least one and at most `ANSWER_TOKENS`, with the end token if it was reached.
        theirs: Their logits T V for each of these ids, if known.
    """
    prompt, batch = processor.encode(sample), processor.batch([sample])
    assert batch.target is not None  # batches of samples always have targets

    count = len(prompt.trunk) + len(prompt.prompt)
    ids = torch.tensor([list(said)])

    # Compute our logits along their answer.
    batch.target = extended(first(batch.target, count), ids)
    logits = model(batch, at=torch.arange(count - 1, count - 1 + len(said))).logits
    leads = logits.max(-1).values - logits.gather(-1, ids.T)[:, 0]

    differences = [torch.tensor(largest)]
    if theirs is not None:
        differences.append((logits - theirs.float()).abs().max())

    broke_off = len(said) < ANSWER_TOKENS and said[-1] != processor.tokenizer.end_id
    return Compared(
        id=sample.id,
        largest=float(torch.stack(differences).max()),  # torch's max propagates NaN
        ours=ours.text,
        # Decode both answers here, because decoders differ on bytes that form no character.
        theirs=processor.tokenizer.decode(list(said)),
        lead=math.inf if broke_off else float(leads.max()),
        scale=float(logits.abs().max()),
    )


def up_to_end(ids: Sequence[int], end: int) -> list[int]:
    """The ids of an answer without the padding after its end token."""
    found = list(ids)
    return found[: found.index(end) + 1] if end in found else found


def with_longer(processor: Processor, samples: Sequence[Sample]) -> list[Sample]:
    """The samples, followed by one with a longer prompt than any of them, so that all others are padded in a batch."""
    lengths: dict[int, Sample] = {}
    for sample in samples:
        encoded = processor.encode(sample)
        lengths[len(encoded.trunk) + len(encoded.prompt)] = sample
    if not lengths:
        return []
    return [*samples, longer(lengths[max(lengths)])]


def longer(sample: Sample) -> Sample:
    """A copy of the sample with a longer prompt: its last user turn is repeated.

    Adding the copy to a batch forces padding of every prompt that is not longer than the original.
    """
    at = len(sample.parts)
    while at and sample.parts[at - 1].role == "assistant":
        at -= 1

    said = [part for part in sample.parts[:at] if part.role == "user" and isinstance(part.content, str)]
    more = said[-1] if said else Part("user", "what ?")
    parts = (*sample.parts[:at], more, *sample.parts[at:])
    return dataclasses.replace(sample, id=f"{sample.id} and longer", parts=parts)


def first(tokens: TokenSequence, count: int) -> TokenSequence:
    """The first tokens of each row."""
    names = [one.name for one in dataclasses.fields(tokens) if one.name != "plain"]
    return dataclasses.replace(tokens, **{name: getattr(tokens, name)[:, :count] for name in names})


def extended(tokens: TokenSequence, ids: Tensor) -> TokenSequence:
    """Continues rows without padding by further text tokens (int64 B S)."""

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
    """The folder that was written, and the comparison with the program that reads it."""

    folder: Path
    layout: str
    program: str
    """Name and version of the program that loaded the folder; empty if none could."""
    compared: tuple[Compared, ...] = ()
    """Comparison of each sample alone."""
    batched: tuple[Compared, ...] = ()
    """Comparison of the same samples in batches of different prompt lengths; empty if the program reads one prompt at a
    time."""
    note: str = ""
    """Reason why nothing was compared, and how to get a comparison."""

    @property
    def _all(self) -> tuple[Compared, ...]:
        return self.compared + self.batched

    @property
    def largest(self) -> float | None:
        """Largest difference between two logits over all samples; None if nothing was compared."""
        return max((one.largest for one in self._all), default=None)

    @property
    def largest_share(self) -> float | None:
        """Largest difference between two logits as a share of the largest logit; None if nothing was compared."""
        return max((one.share for one in self._all), default=None)

    @property
    def equal_answers(self) -> int:
        """Number of samples with the same greedy answer in both programs, alone and in a batch."""
        other = {one.id for one in self._all if one.ours != one.theirs}
        return sum(one.id not in other for one in self.compared)

    def to_plain(self) -> dict[str, Any]:
        """The result as plain data."""
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
        """The result as one or two lines for a terminal."""
        what = f"{self.folder}: {self.layout}"
        if not self.compared:
            return f"{what}; {self.note}"

        count, equal = len(self.compared), self.equal_answers
        ways = ", alone and in batches of unequal prompts" if self.batched else ""
        summary = (
            f"{what}, loaded in {self.program}\n{count} samples{ways}: the largest logit difference is "
            f"{self.largest:.2g} ({self.largest_share:.2g} of the largest logit), {equal} of {count} greedy answers are "
            "equal"
        )
        if equal == count:
            return summary

        lead = max(one.lead for one in self._all)
        return f"{summary}; the others diverge where our two best tokens are within {lead:.2g} of each other"

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Checks that the other program gives the same logits and answers as Sightweave.

        Where our two best tokens are closer than rounding, either is a greedy answer.

        Args:
            tolerance: Largest difference of two logits that rounding may cause, as a share of the largest logit.

        Raises:
            ExportError: logits differ by more than rounding, or an answer differs; the message names the worst sample.
        """
        ways = {"": self.compared, " in a batch of unequal prompts": self.batched}
        for way, found in ways.items():
            if found:
                self._check(found, way, tolerance)

    def _check(self, found: Sequence[Compared], way: str, tolerance: float) -> None:
        worst = max(found, key=lambda one: math.inf if math.isnan(one.share) else one.share)
        if not worst.share <= tolerance:  # so that NaN fails too
            raise ExportError(
                f"{self.folder}: in {self.program} the logits of sample {worst.id!r}{way} differ by {worst.largest:.3g} "
                f"(rounding gives up to {tolerance * worst.scale:.2g}, {tolerance:g} of the largest). The folder was kept "
                "for inspection; do not use it."
            )

        other = [one for one in found if not one.lead_share <= tolerance]
        if other:
            worst = max(other, key=lambda one: one.lead)
            raise ExportError(
                f"{self.folder}: {self.program} answers sample {worst.id!r}{way} with {worst.theirs!r}, but "
                f"Sightweave answers {worst.ours!r}, whose logit leads by {worst.lead:.3g} (rounding gives up to "
                f"{tolerance * worst.scale:.2g}, {tolerance:g} of the largest); {len(other)} of {len(found)} "
                "differ in this way. The folder was kept for inspection; do not use it."
            )
