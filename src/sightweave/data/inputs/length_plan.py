"""The length plan: what training will do with all samples, computed from image headers before any image is decoded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.collate import Bundle, bundle, pack
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded
from sightweave.data.inputs.too_long import Policy, TooLong, encoded_length, fit

_EXAMPLES = 5
"""Maximum number of examples for each reason."""
_REASONS_SHOWN = 3
"""Maximum number of reasons that the text names."""
_BITS = 10
"""Leading bits of a length that are kept: up to 1,023 tokens, every length has its own bin."""


@dataclass(frozen=True, slots=True)
class Example:
    """A sample that is left out."""

    id: str
    tokens: int | None
    """Number of tokens before any shortening; None if they could not be counted."""
    limit: int
    """Maximum number of tokens."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The samples that are left out for one reason."""

    count: int
    examples: tuple[Example, ...]
    """The first five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What training will do with the samples of a dataset, counted before it starts; made by `plan`."""

    samples: int
    """Samples that were counted."""
    kept: int
    """Samples that training uses, including shortened ones."""
    dropped: Mapping[str, Dropped]
    """Samples left out, by reason: ``too_long`` (``error`` under that policy), ``empty_answer``, or an error code."""
    turns_dropped: int
    """Kept samples that lose turns."""
    images_shrunk: int
    """Kept samples whose images are cut into fewer tiles."""
    text_tokens: int
    """Text tokens of the kept samples, after shortening."""
    image_tokens: int
    """Media tokens of the kept samples; an image counts once for each sample that contains it."""
    percentiles: Mapping[str, int]
    """Percentiles ``50``, ``90``, ``99`` and ``max`` of the tokens of a sample before any shortening. Exact up to 1,023,
    and rounded up by less than 0.2 % above that; ``max`` is exact. Empty if no sample could be counted."""
    longest_id: str
    """Id of the first sample with ``max`` tokens."""
    padded_share: float | None
    """Fraction of slots that hold a token, with one row per bundle, padded to the longest of its microstep; None if no
    sample is kept."""
    packed_share: float | None
    """The same fraction with the bundles of a microstep packed into rows of `pack_to` tokens; None if nothing is packed."""
    max_length: int
    """Maximum tokens of a sample."""
    policy: Policy
    """What happens to a longer sample."""
    pack_to: int | None
    """Row length in tokens for packing."""
    groups: int
    """Images whose samples were counted."""
    total: int | None
    """Number of images in total; None if unknown."""
    is_partial: bool
    """Whether only part of the data was counted."""

    def to_text(self) -> str:
        """At most six lines for a terminal."""
        lines = [f"{self.samples:,} samples, {self.kept:,} kept{self._left_out()}"]

        if self.is_partial:
            lines.append(self._extrapolated())
        if self.percentiles:
            half, most, longest = (self.percentiles[name] for name in ("50", "99", "max"))
            tokens = f"tokens: half up to {half:,}, 99 % up to {most:,}, longest {longest:,} ({_shown(self.longest_id)})"
            kept = self.text_tokens + self.image_tokens
            share = (
                f"; {_percent(self.image_tokens / kept)} of them image tokens" if self.image_tokens else ""
            )
            lines.append(tokens + share)

        if self.turns_dropped or self.images_shrunk:
            what = "without their oldest turns" if self.turns_dropped else "use fewer image tiles"
            lines.append(f"shortened: {self.turns_dropped or self.images_shrunk:,} {what} (train.too_long)")
        if self.padded_share is not None:
            lines.append(self._rows(self.padded_share))
        if "error" in self.dropped:
            lines.append("training stops at the first sample that is too long (train.too_long: error)")
        return "lengths: " + "\n         ".join(lines)

    def _left_out(self) -> str:
        if not self.dropped:
            return ""

        named = sorted(self.dropped.items(), key=lambda item: -item[1].count)
        words = []
        for reason, dropped in named[:_REASONS_SHOWN]:
            if reason in ("too_long", "error"):
                first = dropped.examples[0]
                example = f"{_shown(first.id)}: {first.tokens:,}"
                fate = "" if reason == "error" else " dropped"
                words.append(f"{dropped.count:,} over {self.max_length:,} tokens{fate} ({example})")
            else:
                words.append(f"{dropped.count:,} with {reason}")

        rest = [dropped.count for _, dropped in named[_REASONS_SHOWN:]]
        if rest:
            words.append(f"{sum(rest):,} for {len(rest)} more reasons")
        return "; " + ", ".join(words)

    def _extrapolated(self) -> str:
        if self.total is None:
            return f"counted on {self.groups:,} images only"
        about = round(self.samples * self.total / max(1, self.groups))
        return f"counted on {self.groups:,} of {self.total:,} images: about {about:,} samples in total"

    def _rows(self, padded: float) -> str:
        if self.packed_share is None or self.pack_to is None:
            return f"rows: {_percent(padded)} filled if padded (train.stages.N.pack_to packs them)"
        packed = f"{_percent(self.packed_share)} if packed to {self.pack_to:,} (train.stages.N.pack_to)"
        return f"rows: {_percent(padded)} filled if padded; {packed}"

    def to_json(self) -> dict[str, Any]:
        """Everything as dicts, lists, texts and numbers."""
        plain = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

        dropped = {}
        for reason, one in self.dropped.items():
            examples = [dataclasses.asdict(example) for example in one.examples]
            dropped[reason] = {"count": one.count, "examples": examples}

        plain["dropped"] = dropped
        return plain | {"percentiles": dict(self.percentiles)}


def plan(
    groups: Iterable[Sequence[Sample]],
    processor: Processor,
    *,
    policy: Policy,
    max_length: int,
    pack_to: int | None = None,
    pictures: int = 8,
    limit: int = 20_000,
    total: int | None = None,
) -> Plan:
    """Counts what training would do with samples, in one pass and with little memory; no image is decoded.

    Args:
        groups: All samples of one image each, in an order like that of training: how well rows are filled depends on
            which images are in the same microstep.
        processor: Converts samples to tokens.
        policy: What happens to a sample that is too long; under ``error`` it is counted, and nothing is raised.
        max_length: Maximum tokens of a sample.
        pack_to: Row length in tokens to pack into; None plans no packing.
        pictures: Groups per microstep; those without usable samples are skipped, as in training.
        limit: Maximum number of samples to count.
        total: Number of groups in total; None takes the length of `groups`, if it has one.

    Raises:
        ValueError: A number is not positive.
    """
    numbers = {"max_length": max_length, "pack_to": pack_to, "pictures": pictures, "limit": limit}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"plan: {name} must be above 0 (got {number}).")
    if total is None and isinstance(groups, Sized):
        total = len(groups)

    tally = _Tally(processor, policy, max_length, pack_to, pictures)
    is_partial = False
    for group in groups:
        room = limit - tally.samples
        is_partial = len(group) > room
        if not is_partial or room:
            tally.add(group[:room])
        if is_partial:
            break

    return tally.finish(total=total, is_partial=is_partial)


@dataclass
class _Slots:
    """Slots in the rows of microsteps, and how many of them hold a token."""

    filled: int = 0
    places: int = 0

    def add(self, rows: Sequence[Sequence[Bundle]], form: str) -> None:
        for lengths in _row_lengths(rows, form):
            self.filled += sum(lengths)
            self.places += len(lengths) * max(lengths)

    @property
    def share(self) -> float | None:
        return self.filled / self.places if self.places else None


def _row_lengths(rows: Sequence[Sequence[Bundle]], form: str) -> list[list[int]]:
    """Number of tokens in each row of each sequence of the batch, as `collate` lays them out."""
    prompts, targets = [], []
    for row in rows:
        prompt = target = 0
        for one in row:
            prompt += len(one.encoded[0].trunk)
            for encoded in one.encoded:
                prompt += len(encoded.prompt)
                # The target of an encoder-decoder begins with its own start token.
                target += len(encoded.target) + (form == "encoder_decoder")
        prompts.append(prompt)
        targets.append(target)

    if form == "classify":
        return [prompts]
    if form == "encoder_decoder":
        return [prompts, targets]
    return [[prompt + target for prompt, target in zip(prompts, targets, strict=True)]]


@dataclass
class _Tally:
    """A plan in progress: counts, a few examples, and the samples of one microstep."""

    processor: Processor
    policy: Policy
    max_length: int
    pack_to: int | None
    pictures: int
    samples: int = 0
    groups: int = 0
    kept: int = 0
    shortened: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    longest: int = -1
    longest_id: str = ""
    histogram: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    padded: _Slots = field(default_factory=_Slots)
    packed: _Slots = field(default_factory=_Slots)
    waiting: list[list[Encoded]] = field(default_factory=list)

    def add(self, group: Sequence[Sample]) -> None:
        """Counts the samples of one image."""
        self.groups += 1
        self.samples += len(group)

        readable: set[str] = set()
        usable: list[Encoded] = []
        for sample in group:
            encoded = self._fitted(sample, readable)
            if encoded is not None:
                usable.append(encoded)

        for encoded in usable:
            marks = sum(item >= 0 for item in encoded.trunk.item + encoded.prompt.item)
            self.image_tokens += marks
            self.text_tokens += encoded_length(encoded) - marks

        self.kept += len(usable)
        if usable:
            self.waiting.append(usable)
        if len(self.waiting) == self.pictures:
            self._microstep()

    def _fitted(self, sample: Sample, readable: set[str]) -> Encoded | None:
        if not sample.target.strip():
            self._drop("empty_answer", sample, None)
            return None
        try:
            self._read_headers(sample, readable)
            encoded = self.processor.encode(sample)
        except DataError as error:
            self._drop(str(getattr(error, "code", type(error).__name__)), sample, None)
            return None

        length = encoded_length(encoded)
        self.histogram[_bin(length)] += 1
        if length > self.longest:
            self.longest, self.longest_id = length, sample.id
        if length <= self.max_length:
            return encoded

        if self.policy in ("drop_turn", "shrink_image"):
            shorter = fit(sample, self.processor, self.policy, self.max_length)
            if shorter is not None:
                self.shortened += 1
                return shorter
        self._drop("error" if self.policy == "error" else TooLong.code, sample, length)
        return None

    def _read_headers(self, sample: Sample, readable: set[str]) -> None:
        """Raises if training could not open a medium that is not known to be `readable`; with tiles, encoding checks."""
        for medium in sample.media:
            if medium.identity in readable or medium.modality not in self.processor.loaders:
                continue  # encoding says what the model reads
            if medium.modality != "image":
                self.processor.loaders[medium.modality].size(medium)
            elif self.processor.tiles.max_tiles <= 1:
                image_files.probe(medium)
            readable.add(medium.identity)

    def _drop(self, reason: str, sample: Sample, tokens: int | None) -> None:
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(Example(sample.id, tokens, self.max_length))

    def _microstep(self) -> None:
        """Counts the rows of the waiting groups, and drops them."""
        form = self.processor.layout.form
        bundles = bundle(encoded for group in self.waiting for encoded in group)
        self.padded.add([[one] for one in bundles], form)
        if self.pack_to is not None:
            self.packed.add(pack(bundles, self.pack_to), form)
        self.waiting.clear()

    def finish(self, *, total: int | None, is_partial: bool) -> Plan:
        """The plan for everything that was added."""
        if self.waiting:
            self._microstep()
        return Plan(
            samples=self.samples,
            kept=self.kept,
            dropped={
                reason: Dropped(count, tuple(self.examples[reason])) for reason, count in self.counts.items()
            },
            turns_dropped=self.shortened if self.policy == "drop_turn" else 0,
            images_shrunk=self.shortened if self.policy == "shrink_image" else 0,
            text_tokens=self.text_tokens,
            image_tokens=self.image_tokens,
            percentiles=self._percentiles(),
            longest_id=self.longest_id,
            padded_share=self.padded.share,
            packed_share=self.packed.share,
            max_length=self.max_length,
            policy=self.policy,
            pack_to=self.pack_to,
            groups=self.groups,
            total=total,
            is_partial=is_partial or (total is not None and self.groups < total),
        )

    def _percentiles(self) -> dict[str, int]:
        """For each percentage, the shortest length that so many of the samples do not exceed."""
        count, below = self.histogram.total(), 0
        found: dict[str, int] = {}
        for length in sorted(self.histogram):
            below += self.histogram[length]
            for percent in (50, 90, 99):
                if below * 100 >= percent * count:
                    found.setdefault(str(percent), min(length, self.longest))
        return found | {"max": self.longest} if count else {}


def _bin(length: int) -> int:
    """The longest length that is counted together with this one: those that agree in their leading bits."""
    shift = max(0, length.bit_length() - _BITS)
    return (((length >> shift) + 1) << shift) - 1


def _percent(share: float) -> str:
    """Rounded down, so that 100 % means all."""
    return f"{int(share * 100 + 1e-9)} %"


def _shown(name: str) -> str:
    """An id for a terminal: only the end of a long one, and no control characters."""
    name = name if len(name) <= 40 else "..." + name[-37:]
    return name if name.isprintable() else ascii(name)
